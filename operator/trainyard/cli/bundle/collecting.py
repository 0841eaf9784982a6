"""What goes into a bundle, read with the user's own rights. No Secret is read but the public part of the endpoint's certificate."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trainyard.api.names import GROUP
from trainyard.cli.api_server import ApiServer
from trainyard.cli.backup.document import MEMORY
from trainyard.cli.bundle.archive import Bundle
from trainyard.cli.bundle.mentions import in_events, in_log
from trainyard.cli.doctor.finding import Report
from trainyard.cli.doctor.gathering import metrics_of
from trainyard.cli.doctor.seen import Installation
from trainyard.cluster.errors import ClusterError
from trainyard.cluster.resources import EVENTS, PODS, Object
from trainyard.workloads.understood import KINDS

_LINES = 20_000
"""Of a log."""
_EVENTS = 5_000
_OBJECTS = 5_000
"""Of a kind: those that changed last."""
_OPERATOR_KINDS = ("Deployment", "Lease", "PriorityClass", "ServiceMonitor", "PodMonitor")


def collect(server: ApiServer, seen: Installation, report: Report, bundle: Bundle) -> None:
    """Fill the bundle. What cannot be read is left out and said so. Raises CliError, Unreachable."""
    events, logs = _events(server, seen, bundle), _logs(server, seen, bundle)
    bundle.meet(in_events(events, seen.system))
    for log in logs.values():
        bundle.meet(in_log(log, seen.system))
    bundle.add("doctor.json", report.model_dump(by_alias=True, mode="json"))
    bundle.add("versions.json", _versions(seen))
    for kind in (*KINDS, "Pod"):
        _objects(bundle, kind, seen.of_kind(kind))
    for kind in _OPERATOR_KINDS:
        if seen.of_kind(kind):
            bundle.add(f"operator/{kind.lower()}s.json", list(seen.of_kind(kind)))
    bundle.add("nodes.json", [_node(each) for each in seen.of_kind("Node")])
    bundle.add("namespaces.json", [_labelled(each) for each in seen.of_kind("Namespace")])
    bundle.add("events.json", events)
    for path, log in logs.items():
        bundle.add_text(path, log)
    _series(server, seen, bundle)
    for each in seen.unread:
        bundle.leave_out(each.what, each.why)
    bundle.leave_out("Secrets", "never read, but for the public part of the endpoint's certificate")
    bundle.leave_out("logs of training and serving", "they belong to users: ask them")
    bundle.leave_out(
        f"ConfigMaps {', '.join(MEMORY)}", "they are in `trainyard backup`; statuses have the last incidents"
    )
    bundle.leave_out("addresses of nodes", "not needed")


def _versions(seen: Installation) -> dict[str, Any]:
    crds = {
        each["metadata"]["name"]: each["metadata"].get("generation")
        for each in seen.of_kind("CustomResourceDefinition")
    }
    ends = seen.certificate.ends.isoformat() if seen.certificate else None
    return {"kubernetes": seen.version, "groups": sorted(seen.groups), "crds": crds, "certificateEnds": ends}


def _objects(bundle: Bundle, kind: str, found: Iterable[Object]) -> None:
    newest = sorted(found, key=_changed, reverse=True)
    bundle.add(f"objects/{kind.lower()}s.json", newest[:_OBJECTS])
    if len(newest) > _OBJECTS:
        bundle.leave_out(f"{len(newest) - _OBJECTS} more {kind}s", f"{_OBJECTS} are enough")


def _changed(obj: Object) -> int:
    version = str(obj["metadata"].get("resourceVersion", ""))
    return int(version) if version.isdecimal() else 0


def _node(node: Object) -> Object:
    """What the scheduler looks at."""
    status = node.get("status") or {}
    kept: Mapping[str, Any] = {name: status.get(name) for name in ("allocatable", "capacity", "conditions", "nodeInfo")}
    return {
        **_labelled(node),
        "spec": {
            "taints": (node.get("spec") or {}).get("taints"),
            "unschedulable": (node.get("spec") or {}).get("unschedulable"),
        },
        "status": kept,
    }


def _labelled(obj: Object) -> Object:
    meta = obj["metadata"]
    return {"metadata": {name: meta.get(name) for name in ("name", "labels", "creationTimestamp")}}


def _events(server: ApiServer, seen: Installation, bundle: Bundle) -> list[Object]:
    """About our objects, the pods that we made, and nodes, the newest first."""
    ours = _Ours.of(seen)
    try:
        found = [each for each in server.items(EVENTS.path()) if ours.holds(each)]
    except ClusterError as error:
        bundle.leave_out("events", error.message)
        return []
    found.sort(key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or ""), reverse=True)
    if len(found) > _EVENTS:
        bundle.leave_out(f"{len(found) - _EVENTS} older events", f"{_EVENTS} are enough")
    return found[:_EVENTS]


@dataclass(frozen=True, slots=True)
class _Ours:
    """Which events are about what is ours: others' pods are nobody's business here."""

    nodes: frozenset[str]
    pods: frozenset[tuple[str, str]]
    """With their namespaces, as the owners."""
    owners: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, seen: Installation) -> "_Ours":
        return cls(
            frozenset(name for _, name in _places(seen, "Node")),
            _places(seen, "Pod"),
            _places(seen, "TrainingJob") | _places(seen, "InferenceService"),
        )

    def holds(self, event: Object) -> bool:
        about = event.get("involvedObject") or {}
        source = str((event.get("source") or {}).get("component") or event.get("reportingComponent") or "")
        if str(about.get("apiVersion", "")).startswith(GROUP) or "trainyard" in source:
            return True
        name = str(about.get("name", ""))
        match about.get("kind"):
            case "Node":
                return name in self.nodes
            case "Pod":
                return self._is_pod(str(about.get("namespace", "")), name)
        return False

    def _is_pod(self, namespace: str, name: str) -> bool:
        """Whether it is there, or has the name of one that was: that begins with its owner's."""
        parts = name.split("-")
        beginnings = ("-".join(parts[:count]) for count in range(1, len(parts)))
        return (namespace, name) in self.pods or any((namespace, each) in self.owners for each in beginnings)


def _places(seen: Installation, kind: str) -> frozenset[tuple[str, str]]:
    metas = (each["metadata"] for each in seen.of_kind(kind))
    return frozenset((str(meta.get("namespace", "")), str(meta["name"])) for meta in metas)


def _logs(server: ApiServer, seen: Installation, bundle: Bundle) -> dict[str, str]:
    """Those of the operator's pods, and of the containers before, by where they go in the bundle."""
    found = {}
    for pod in (each["metadata"]["name"] for each in seen.operator_pods()):
        for path, query in ((f"logs/{pod}.log", {}), (f"logs/{pod}.previous.log", {"previous": "true"})):
            asked = {"container": "operator", "tailLines": str(_LINES), "timestamps": "true", **query}
            try:
                found[path] = "\n".join(server.lines(f"{PODS.path(seen.system, pod)}/log", asked)) + "\n"
            except ClusterError as error:
                bundle.leave_out(path, error.message)
    return found


def _series(server: ApiServer, seen: Installation, bundle: Bundle) -> None:
    """Metrics of the operator's pods."""
    for pod in (each["metadata"]["name"] for each in seen.operator_pods()):
        try:
            bundle.add_text(f"metrics/{pod}.prom", metrics_of(server, seen.system, pod))
        except ClusterError as error:
            bundle.leave_out(f"metrics/{pod}.prom", error.message)
