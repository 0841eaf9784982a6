"""Checks of the operator itself: its kinds, process, leadership, certificate, rights, and who watches it."""

from collections.abc import Iterator
from datetime import timedelta
from functools import cache

from trainyard import __version__
from trainyard.api.crds import KINDS, crd
from trainyard.api.names import GROUP, OPERATOR_LEASE, OPERATOR_TLS, PRIORITY_CLASS
from trainyard.cli.doctor.finding import Finding, note, problem, shown, warning
from trainyard.cli.doctor.seen import Installation, name_of, time_of
from trainyard.cluster.resources import Object

_INSTALL = "helm upgrade --install trainyard helm/trainyard --namespace trainyard-system --create-namespace"
_LEASE_LATE = timedelta(seconds=30)
"""Twice as long as it lasts."""
_CERTIFICATE_LATE = timedelta(days=5)
"""It is renewed ten days before its end."""
_SKEW = timedelta(seconds=10)
_OFTEN = 3
MONITORS = ("ServiceMonitor", "PodMonitor")
VIOLATIONS = "trainyard_invariant_violations_total"


def kinds_stand(seen: Installation) -> Iterator[Finding]:
    """Each CustomResourceDefinition is there, established, and of this version."""
    if not seen.knows("CustomResourceDefinition"):
        return
    there = {each["metadata"]["name"]: each for each in seen.of_kind("CustomResourceDefinition")}
    for model in KINDS:
        name = f"{model.plural}.{GROUP}"
        found = there.get(name)
        if found is None:
            yield problem(name, "there is no such CustomResourceDefinition", f"no {model.__name__} can exist", _INSTALL)
        elif not _established(found):
            yield problem(
                name,
                "the API server does not serve it",
                f"no {model.__name__} can be read or written",
                f"kubectl describe crd {name}",
            )
        elif _schema(found) != _own_schema(model.plural):
            yield warning(
                name,
                f"its schema is not that of Trainyard {__version__}, which this command is of",
                "fields that only one of them knows are dropped without a word",
                f"bring chart and command to one version; the chart brings its kinds along: {_INSTALL}",
            )


@cache
def _own_schema(plural: str) -> object:
    """As this version has it: it takes a while to make."""
    return next(_schema(crd(each)) for each in KINDS if each.plural == plural)


def _established(found: Object) -> bool:
    told = (found.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in told)


def _schema(found: Object) -> object:
    """Of the stored version, without what the API server writes out."""
    version: Object = next((each for each in found["spec"]["versions"] if each.get("storage")), {})
    return _plain((version.get("schema") or {}).get("openAPIV3Schema"))


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each not in (None, {}, [])}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def operator_runs(seen: Installation) -> Iterator[Finding]:
    """A Deployment whose pods run."""
    if not seen.knows("Deployment"):
        return
    deployment = seen.operator_deployment()
    if deployment is None:
        yield problem(
            f"operator in {seen.system}",
            "there is no Deployment of the operator in this namespace",
            "jobs wait for ever, and nobody looks after those that run",
            f"name its namespace with --system-namespace, or install it: {_INSTALL}",
        )
        return
    name, status = name_of(deployment), deployment.get("status") or {}
    wanted, there = deployment["spec"].get("replicas", 1), status.get("replicas", 0)
    if not wanted:
        yield problem(
            name,
            "it is scaled to zero",
            "nothing starts and nothing is looked after",
            f"kubectl -n {seen.system} scale deployment {deployment['metadata']['name']} --replicas 1",
        )
    elif not status.get("readyReplicas") or there < wanted:
        yield problem(
            name,
            f"{status.get('readyReplicas', 0)} of its {wanted} pods are ready",
            "without a ready pod nothing is decided",
            f"kubectl -n {seen.system} describe pods -l app.kubernetes.io/component=operator, and their logs",
        )
    version = deployment["metadata"].get("labels", {}).get("app.kubernetes.io/version", "")
    if version and version != __version__:
        yield note(
            name,
            f"it is of version {version}, this command of {__version__}",
            "answers may lack what the other does not know",
            f"pip install 'trainyard[cli]=={version}'",
        )
    for pod in seen.operator_pods():
        restarts = sum(each.get("restartCount", 0) for each in (pod.get("status") or {}).get("containerStatuses") or ())
        if restarts >= _OFTEN:
            yield warning(
                name_of(pod),
                f"it was started again {restarts} times",
                "each start costs half a minute in which nothing is decided",
                f"kubectl -n {seen.system} logs {pod['metadata']['name']} --previous",
            )


def somebody_leads(seen: Installation) -> Iterator[Finding]:
    """The Lease is held, by a pod that there is, and renewed."""
    if not seen.knows("Lease"):
        return
    lease = seen.lease()
    holder = str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")
    if lease is None or not holder:
        yield problem(
            f"Lease {seen.system}/{OPERATOR_LEASE}",
            "nobody leads" if lease else "there is none: no operator ever led here",
            "only a leader decides",
            f"kubectl -n {seen.system} logs -l app.kubernetes.io/component=operator: what keeps it from the Lease?",
        )
        return
    renewed = time_of(lease["spec"].get("renewTime"))
    now = seen.server_time or seen.now
    if renewed is None or now - renewed > _LEASE_LATE:
        ago = f"{(now - renewed).total_seconds():.0f} s ago" if renewed else "never"
        yield problem(
            name_of(lease),
            f"{holder} renewed it {ago}; it lasts 15 s",
            "the leader is gone or cut off from the API server, and nobody takes over",
            f"kubectl -n {seen.system} get pods -o wide; an operator that runs says in its log why it does not lead",
        )
    elif renewed - now > _SKEW:
        yield _clocks(f"pod {holder}", (renewed - now).total_seconds())
    pods = {each["metadata"]["name"] for each in seen.operator_pods()}
    if pods and holder not in pods:
        yield warning(
            name_of(lease),
            f"{holder} leads, which is no pod of this installation",
            "two installations, or a process on somebody's machine, share one Lease",
            "end the one that should not be there",
        )


def nobody_else_leads(seen: Installation) -> Iterator[Finding]:
    """Queues, flavors and nodes are the cluster's: two operators would both write and place on them, whatever their namespaces."""
    now = seen.server_time or seen.now
    others = sorted(
        str(each["metadata"]["namespace"])
        for each in seen.leases()
        if each["metadata"]["namespace"] != seen.system
        and each["spec"].get("holderIdentity")
        and (renewed := time_of(each["spec"].get("renewTime"))) is not None
        and now - renewed <= _LEASE_LATE
    )
    if others:
        yield problem(
            "operators",
            f"another one leads in {shown(others)}",
            "both write the status of every queue and place jobs on the same nodes, each without knowing of the other's",
            "uninstall one of them, and name all namespaces in operator.namespaces of the other",
        )


def namespaces_are_served(seen: Installation) -> Iterator[Finding]:
    """Where the operator is confined to namespaces: they exist, and jobs stand in no others."""
    served = seen.served()
    if not served:
        return
    there = {each["metadata"]["name"] for each in seen.of_kind("Namespace")}
    if seen.knows("Namespace") and (missing := [each for each in served if each not in there]):
        yield problem(
            "operator.namespaces",
            f"there is no namespace {shown(missing)}",
            "the operator waits for it, and the next upgrade of the chart fails",
            "create it, then upgrade the chart, which makes the Role in it; or take it out of operator.namespaces",
        )
    elsewhere = [
        name_of(each)
        for kind in ("TrainingJob", "InferenceService")
        for each in seen.of_kind(kind)
        if each["metadata"].get("namespace") not in served
    ]
    if elsewhere:
        yield warning(
            "operator.namespaces",
            f"{len(elsewhere)} objects stand in namespaces that the operator does not look after: {shown(elsewhere)}",
            "nobody sees them, and they wait for ever without a reason",
            "name their namespaces in operator.namespaces, or delete them",
        )


def clocks_agree(seen: Installation) -> Iterator[Finding]:
    """Of this machine and the API server; leaders and nodes are compared where they say a time."""
    if seen.server_time is not None and abs(seen.now - seen.server_time) > _SKEW:
        yield _clocks("this machine", (seen.now - seen.server_time).total_seconds())


def _clocks(whose: str, seconds: float) -> Finding:
    return warning(
        "clocks",
        f"that of {whose} is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the API server's",
        "ages, deadlines and certificates are judged wrongly",
        "let a time service (chrony, ntpd) set both",
    )


def certificate_lasts(seen: Installation) -> Iterator[Finding]:
    """The endpoint's certificate is renewed in time."""
    found = seen.certificate
    if found is None:
        return
    about, left = f"Secret {seen.system}/{OPERATOR_TLS}", found.ends - seen.now
    if left < timedelta():
        yield problem(
            about,
            f"the endpoint's certificate ended {found.ends:%Y-%m-%d %H:%M}Z",
            "no trainer and no gateway gets through to the operator, and no command with --server",
            "the leader renews it: see its log; deleting the Secret makes it make a new authority, which running pods do not know",
        )
    elif left < _CERTIFICATE_LATE:
        yield warning(
            about,
            f"the endpoint's certificate ends {found.ends:%Y-%m-%d %H:%M}Z and was not renewed",
            "then no trainer and no gateway gets through to the operator",
            "the leader renews it ten days before: see its log for what keeps it from that",
        )


def rights_suffice(seen: Installation) -> Iterator[Finding]:
    """The API server lets the operator do what it does."""
    if seen.refused:
        yield problem(
            "rights of the operator",
            f"its account may not {shown(list(seen.refused))}",
            "what it may not do is tried again and again, and never done",
            f"bring the chart's roles back (rbac.create=true): {_INSTALL}",
        )


def priority_class_stands(seen: Installation) -> Iterator[Finding]:
    """With which kube-scheduler leaves our pods alone."""
    if not seen.knows("PriorityClass"):
        return
    found = next((each for each in seen.of_kind("PriorityClass") if each["metadata"]["name"] == PRIORITY_CLASS), None)
    if found is None:
        yield problem(
            f"PriorityClass {PRIORITY_CLASS}",
            "there is none",
            "the API server refuses every pod of a job",
            f"bring it back with the chart: {_INSTALL}",
        )
    elif found.get("preemptionPolicy") != "Never":
        yield warning(
            f"PriorityClass {PRIORITY_CLASS}",
            f"its preemptionPolicy is {found.get('preemptionPolicy', 'PreemptLowerPriority')}",
            "kube-scheduler evicts pods behind Trainyard's back",
            f"kubectl delete priorityclass {PRIORITY_CLASS}, then {_INSTALL}",
        )


def promises_hold(seen: Installation) -> Iterator[Finding]:
    """The operator's auditor counted nothing."""
    count = seen.metrics.get(VIOLATIONS, 0.0)
    if count:
        yield problem(
            "auditor",
            f"{count:.0f} findings of broken promises ({VIOLATIONS})",
            "only a fault of Trainyard breaks them",
            "kubectl get events -A names the objects; trainyard bundle, and file an issue with it",
        )


def somebody_watches(seen: Installation) -> Iterator[Finding]:
    """Prometheus reads the metrics, as far as can be told."""
    if not seen.knows("Deployment") or any(seen.of_kind(kind) for kind in MONITORS):
        return
    deployment = seen.operator_deployment()
    template = (deployment or {}).get("spec", {}).get("template", {}).get("metadata", {})
    if deployment is not None and template.get("annotations", {}).get("prometheus.io/scrape") != "true":
        yield note(
            "metrics",
            "no ServiceMonitor, PodMonitor or annotation tells Prometheus to scrape the operator",
            "alerts and dashboards have no data, unless Prometheus finds it in another way",
            "metrics.serviceMonitor.enabled=true of the chart, or examples/monitoring/prometheus.yml",
        )
