"""Reads what the checks look at, with the user's own rights. What may not be read is noted, and the rest is read all the same."""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families

from trainyard.api.names import GROUP, MANAGED_BY, MANAGED_BY_LABEL, OPERATOR_LEASE, OPERATOR_TLS
from trainyard.cli.api_server import ApiServer, explained
from trainyard.cli.doctor.rights import Question, questions
from trainyard.cli.doctor.seen import OPERATOR, Certificate, Installation, Unread, served_by
from trainyard.cluster.errors import ClusterError, NotFound, Unreachable
from trainyard.cluster.resources import (
    DEPLOYMENTS,
    FLAVORS,
    INFERENCE_SERVICES,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    PRIORITY_CLASSES,
    QUEUES,
    SECRETS,
    SUBJECT_ACCESS_REVIEWS,
    TRAINING_JOBS,
    Object,
    Resource,
)

_CRDS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
_MONITORS = tuple(
    Resource("monitoring.coreos.com", "v1", plural, kind)
    for plural, kind in (("servicemonitors", "ServiceMonitor"), ("podmonitors", "PodMonitor"))
)
_AT_A_TIME = 8
_Found = TypeVar("_Found")


@dataclass(slots=True)
class _Notes:
    """What could not be read."""

    unread: list[Unread] = field(default_factory=list)

    def read(self, what: str, how: Callable[[], _Found]) -> _Found | None:
        """What `how` returns; None where it may not, or cannot."""
        try:
            return how()
        except Unreachable:
            raise
        except ClusterError as error:
            self.unread.append(Unread(what, error.message[:300]))
            return None


def gather(server: ApiServer, now: datetime, system: str) -> Installation:
    """Raises CliError for a cluster that does not answer."""
    try:
        return _gather(server, now, system)
    except Unreachable as error:
        raise explained(error, server) from None


def _gather(server: ApiServer, now: datetime, system: str) -> Installation:
    notes = _Notes()
    server_time = server.time()
    version = notes.read("version of the API server", lambda: server.get("/version")) or {}
    groups = _groups(notes.read("groups of the API server", lambda: server.get("/apis")) or {})
    with _pool() as pool:
        lists = {
            kind: pool.submit(notes.read, f"list of {kind}s", how)
            for kind, how in _lists(server, system, groups).items()
        }
        certificate = pool.submit(notes.read, f"Secret {system}/{OPERATOR_TLS}", lambda: _certificate(server, system))
        objects = {kind: found for kind, task in lists.items() if (found := task.result()) is not None}
        deployment = next(iter(objects.get("Deployment", ())), None)
        refused = pool.submit(notes.read, "rights of the operator", lambda: _refused(server, system, deployment))
        told = notes.read("metrics of the operator", lambda: _metrics(server, objects, system)) or {}
        return Installation(
            now,
            system,
            server_time,
            str(version.get("gitVersion", "")),
            groups,
            objects,
            certificate.result(),
            tuple(refused.result() or ()),
            told,
            tuple(notes.unread),
        )


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Of a cluster that fell silent no more is asked."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        try:
            yield pool
        except Unreachable:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _groups(answer: Object) -> frozenset[str]:
    return frozenset(
        each["groupVersion"] for group in answer.get("groups") or () for each in group.get("versions") or ()
    )


def _lists(server: ApiServer, system: str, groups: frozenset[str]) -> dict[str, Callable[[], list[Object]]]:
    """How each kind is read."""

    def of(resource: Resource, namespace: str | None = None, **selectors: str) -> Callable[[], list[Object]]:
        return lambda: _items(server, resource, namespace, selectors)

    ours = ",".join(f"{key}={value}" for key, value in OPERATOR.items())
    made = {
        "Deployment": of(DEPLOYMENTS, system, labelSelector=ours),
        "Lease": of(LEASES, None, fieldSelector=f"metadata.name={OPERATOR_LEASE}"),
        "PriorityClass": of(PRIORITY_CLASSES),
        "Node": of(NODES),
        "Namespace": of(NAMESPACES),
        "CustomResourceDefinition": lambda: _kinds(server),
        "Pod": lambda: [
            *_items(server, PODS, None, {"labelSelector": f"{MANAGED_BY_LABEL}={MANAGED_BY}"}),
            *_items(server, PODS, system, {"labelSelector": ours}),
        ],
    }
    made |= {each.kind: _known(of(each)) for each in (FLAVORS, QUEUES, TRAINING_JOBS, INFERENCE_SERVICES)}
    if _MONITORS[0].api_version in groups:
        made |= {each.kind: of(each, None, labelSelector="app.kubernetes.io/part-of=trainyard") for each in _MONITORS}
    return made


def _items(server: ApiServer, resource: Resource, namespace: str | None, selectors: Mapping[str, str]) -> list[Object]:
    found = server.items(resource.path(namespace), selectors)
    # Items of a list carry neither.
    return [{"apiVersion": resource.api_version, "kind": resource.kind, **each} for each in found]


def _kinds(server: ApiServer) -> list[Object]:
    """Our own CustomResourceDefinitions."""
    return [each for each in server.items(_CRDS.path()) if each["spec"]["group"] == GROUP]


def _known(how: Callable[[], list[Object]]) -> Callable[[], list[Object]]:
    """A kind that the cluster does not know has no objects: that it is missing is another finding."""

    def read() -> list[Object]:
        try:
            return how()
        except NotFound:
            return []

    return read


def _certificate(server: ApiServer, system: str) -> Certificate | None:
    """Its public part alone; the rest of the Secret is let go at once."""
    try:
        raw = server.get(SECRETS.path(system, OPERATOR_TLS)).get("data", {}).get("tls.crt", "")
    except NotFound:
        return None
    try:
        found = x509.load_pem_x509_certificate(base64.b64decode(raw))
    except ValueError:
        return None
    return Certificate(found.not_valid_after_utc)


def _refused(server: ApiServer, system: str, deployment: Object | None) -> list[str]:
    if deployment is None:
        return []
    name = deployment["spec"]["template"]["spec"].get("serviceAccountName", "default")
    account = f"system:serviceaccount:{system}:{name}"
    asked = tuple(questions(system, served_by(deployment)))
    with _pool() as pool:
        answers = pool.map(lambda each: _allowed(server, system, account, each), asked)
        return [str(each) for each, allowed in zip(asked, answers, strict=True) if not allowed]


def _allowed(server: ApiServer, system: str, account: str, question: Question) -> bool:
    right = question.right
    resource, _, subresource = right.resource.partition("/")
    asked: dict[str, Any] = {"verb": right.verb, "group": right.group, "resource": resource, "subresource": subresource}
    asked |= {"namespace": question.namespace, "name": question.name}
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{system}", "system:authenticated"]
    review = {
        "apiVersion": SUBJECT_ACCESS_REVIEWS.api_version,
        "kind": SUBJECT_ACCESS_REVIEWS.kind,
        "spec": {"user": account, "groups": groups, "resourceAttributes": asked},
    }
    answer = server.post(SUBJECT_ACCESS_REVIEWS.path(), review)
    return bool((answer.get("status") or {}).get("allowed"))


def metrics_of(server: ApiServer, system: str, pod: str) -> str:
    """What the operator's pod tells Prometheus, through the API server. Raises ClusterError."""
    return "\n".join(server.lines(f"{PODS.path(system, f'{pod}:8080')}/proxy/metrics", {})) + "\n"


def leader(objects: Mapping[str, Iterable[Object]]) -> str:
    """Name of the pod that holds the Lease; empty if none does."""
    pods = {each["metadata"]["name"] for each in objects.get("Pod", ())}
    for lease in objects.get("Lease", ()):
        holder = str((lease.get("spec") or {}).get("holderIdentity") or "")
        if holder in pods:
            return holder
    return ""


def _metrics(server: ApiServer, objects: Mapping[str, Iterable[Object]], system: str) -> dict[str, float]:
    pod = leader(objects)
    if not pod:
        return {}
    sums: dict[str, float] = {}
    try:
        for family in text_string_to_metric_families(metrics_of(server, system, pod)):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    except ValueError:
        return {}
    return sums
