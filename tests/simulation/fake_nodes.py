"""The machines behind the fake API server: a scheduler that binds Pods, kubelets that run them, and Deployments.

They see and change the storage directly, so the faults of the operator's connection do not touch them. What a Pod
does is decided by `FakeKubelet.behave`, by default from annotations (below); a Pod without them runs until deleted.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from kubernetes.utils.quantity import parse_quantity

from tests.simulation.fake_api import FakeApi
from tests.simulation.fake_storage import copy_of
from trainyard.cluster.resources import DEPLOYMENTS, NODES, PODS, Object, Resource

RUN_SECONDS = "sim/run-seconds"
"""Annotation: the Pod ends after so many seconds of running."""
EXIT_CODE = "sim/exit-code"
"""Annotation: with this code (0); the phase follows from it."""
EXIT_MESSAGE = "sim/exit-message"
"""Annotation: and with this termination message."""

_ENDED = {"Succeeded", "Failed"}


def node(name: str, gpus: int = 8, *, labels: dict[str, str] | None = None, **resources: str) -> Object:
    """A ready Node. resources: further ones, such as cpu="64"."""
    amounts = {"cpu": "128", "memory": "1Ti", "pods": "110", "nvidia.com/gpu": str(gpus)} | resources
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name} | (labels or {})},
        "spec": {},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    }


def requests_of(pod: Object) -> Counter[str]:
    """What a Pod asks of a node, in thousandths."""
    total: Counter[str] = Counter({"pods": 1000})
    for container in pod["spec"].get("containers") or []:
        resources = container.get("resources") or {}
        for name, amount in ((resources.get("limits") or {}) | (resources.get("requests") or {})).items():
            total[name] += int(parse_quantity(amount) * Decimal(1000))
    return total


def pinned_to(pod: Object) -> set[str] | None:
    """Nodes that the Pod's required affinity on metadata.name allows; None for all."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    names: set[str] = set()
    for term in required.get("nodeSelectorTerms") or []:
        for field in term.get("matchFields") or []:
            if field["key"] == "metadata.name" and field["operator"] == "In":
                names |= set(field["values"])
    return names or None


class FakeScheduler:
    """Binds pending Pods to a node that fits: pinned ones to theirs, others to the first."""

    def __init__(self, api: FakeApi, seconds: float = 0.05) -> None:
        self.paused = False
        self._api = api
        self._seconds = seconds
        self._due = False
        api.storage.listeners.append(self._on_change)

    def _on_change(self, resource: Resource, _old: Object | None, new: Object | None) -> None:
        unbound = resource == PODS and new is not None and not new["spec"].get("nodeName")
        freed = resource == PODS and (new is None or new.get("status", {}).get("phase") in _ENDED)
        if (unbound or freed or resource == NODES) and not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(self._seconds, self.bind_all)

    def bind_all(self) -> None:
        """Bind whatever fits now."""
        self._due = False
        if self.paused:
            return
        pods = [stored.obj for stored in self._api.storage.select(PODS, lambda _: True)]
        nodes = {stored.obj["metadata"]["name"]: stored.obj for stored in self._api.storage.select(NODES, _usable)}
        free = {name: _free(candidate) for name, candidate in nodes.items()}
        for pod in pods:
            if pod["spec"].get("nodeName") in free and pod["status"].get("phase") not in _ENDED:
                free[pod["spec"]["nodeName"]].subtract(requests_of(pod))
        for pod in pods:
            waits = not pod["spec"].get("nodeName") and not pod["metadata"].get("deletionTimestamp")
            if waits and not pod["spec"].get("schedulingGates") and pod["status"].get("phase") == "Pending":
                self._bind(pod, nodes, free)

    def _bind(self, pod: Object, nodes: dict[str, Object], free: dict[str, Counter[str]]) -> None:
        pinned = pinned_to(pod)
        needs = requests_of(pod)
        selector = (pod["spec"].get("nodeSelector") or {}).items()
        for name in free if pinned is None else sorted(pinned & free.keys()):
            labels = nodes[name]["metadata"].get("labels") or {}
            if selector <= labels.items() and all(amount <= free[name][kind] for kind, amount in needs.items()):
                free[name].subtract(needs)
                self._edit(pod, partial(_bound, name=name))
                return
        self._edit(pod, _unschedulable)

    def _edit(self, pod: Object, change: Callable[[Object], None]) -> None:
        self._api.edit(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], change)


def _bound(pod: Object, name: str) -> None:
    pod["spec"]["nodeName"] = name
    pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "True"}]


def _unschedulable(pod: Object) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node fits"}
    pod["status"]["conditions"] = [condition]


def _usable(candidate: Object) -> bool:
    return is_ready(candidate) and not candidate["spec"].get("unschedulable")


def _free(candidate: Object) -> Counter[str]:
    offers = candidate["status"]["allocatable"]
    return Counter({name: int(parse_quantity(amount) * 1000) for name, amount in offers.items()})


def is_ready(candidate: Object) -> bool:
    """Whether a Node's Ready condition is True."""
    conditions = candidate.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a Pod does on its node; times in seconds."""

    start: float = 1.0
    """From binding to Running."""
    run: float | None = None
    """From Running to its end; None: until deleted."""
    exit_code: int = 0
    message: str = ""
    """Termination message."""
    stop: float = 0.5
    """From a deletion to the end, at most the grace period."""
    ready: bool = True


def annotated(pod: Object) -> Behaviour:
    """The behaviour that a Pod's annotations ask for."""
    notes = pod["metadata"].get("annotations") or {}
    run = notes.get(RUN_SECONDS)
    return Behaviour(
        run=None if run is None else float(run),
        exit_code=int(notes.get(EXIT_CODE, "0")),
        message=notes.get(EXIT_MESSAGE, ""),
    )


class FakeKubelet:
    """Runs the Pods of all nodes. `down` holds nodes whose kubelet is dead: nothing on them starts, ends or goes."""

    def __init__(self, api: FakeApi, behave: Callable[[Object], Behaviour] = annotated) -> None:
        self.behave = behave
        self.down: set[str] = set()
        self._api = api
        self._addresses = 0
        api.verbs.kubelet = True
        api.storage.listeners.append(self._on_change)

    def stop_node(self, name: str) -> None:
        """The node dies: NotReady, and its Pods stay as they are."""
        self.down.add(name)
        self._api.edit(NODES, None, name, lambda obj: _set_ready(obj, "Unknown", "NodeStatusUnknown"))

    def start_node(self, name: str) -> None:
        """The node is back, and catches up with deletions."""
        self.down.discard(name)
        self._api.edit(NODES, None, name, lambda obj: _set_ready(obj, "True", "KubeletReady"))
        for pod in self._api.all(PODS):
            if pod["spec"].get("nodeName") == name and pod["metadata"].get("deletionTimestamp"):
                self._later(0.1, self._gone, pod)

    def finish(self, namespace: str, name: str, exit_code: int = 0, message: str = "") -> None:
        """End a running Pod now."""
        pod = self._api.get(PODS, namespace, name)
        if pod is not None:
            self._end(pod, exit_code, message)

    def _on_change(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        if resource != PODS or new is None or not new["spec"].get("nodeName"):
            return
        before = old or {"metadata": {}, "spec": {}}
        deleted = new["metadata"].get("deletionTimestamp")
        if deleted and deleted != before["metadata"].get("deletionTimestamp"):
            grace = float(new["metadata"].get("deletionGracePeriodSeconds", 30))
            self._later(min(self.behave(new).stop, grace), self._gone, new)
        elif not before["spec"].get("nodeName") and new["status"].get("phase") == "Pending":
            self._later(self.behave(new).start, self._start, new)

    def _start(self, pod: Object) -> None:
        if not self._reachable(pod, "Pending"):
            return
        behaviour = self.behave(pod)
        self._addresses += 1
        address = f"10.{self._addresses >> 16 & 255}.{self._addresses >> 8 & 255}.{self._addresses & 255}"
        now = self._api.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")

        def running(obj: Object) -> None:
            ready = "True" if behaviour.ready else "False"
            obj["status"] |= {
                "phase": "Running",
                "podIP": address,
                "podIPs": [{"ip": address}],
                "startTime": now,
                "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready}],
                "containerStatuses": _containers(obj, {"running": {"startedAt": now}}, ready=behaviour.ready),
            }

        self._edit(pod, running)
        if behaviour.run is not None:
            self._later(behaviour.run, lambda obj: self._end(obj, behaviour.exit_code, behaviour.message), pod)

    def _end(self, pod: Object, exit_code: int, message: str) -> None:
        if not self._reachable(pod, "Running", "Pending"):
            return
        reason = "Error" if exit_code else "Completed"
        now = self._api.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        state = {"terminated": {"exitCode": exit_code, "reason": reason, "message": message, "finishedAt": now}}

        def ended(obj: Object) -> None:
            obj["status"] |= {
                "phase": "Failed" if exit_code else "Succeeded",
                "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
                "containerStatuses": _containers(obj, state, ready=False),
            }

        self._edit(pod, ended)

    def _gone(self, pod: Object) -> None:
        stored = self._api.storage.find(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        if stored is not None and pod["spec"]["nodeName"] not in self.down:
            same = copy_of(stored.obj)
            if same["metadata"]["uid"] == pod["metadata"]["uid"]:
                self._api.verbs.finish_deletion(PODS, stored)

    def _reachable(self, pod: Object, *phases: str) -> bool:
        """Whether this very Pod is still there in one of these phases and its kubelet lives."""
        current = self._api.get(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        if current is None or current["metadata"]["uid"] != pod["metadata"]["uid"]:
            return False
        return current["status"].get("phase") in phases and pod["spec"]["nodeName"] not in self.down

    def _edit(self, pod: Object, change: Callable[[Object], None]) -> None:
        self._api.edit(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], change)

    @staticmethod
    def _later(seconds: float, action: Callable[[Object], None], pod: Object) -> None:
        asyncio.get_running_loop().call_later(seconds, action, pod)


class FakeDeployments:
    """Says that every Deployment has its replicas ready a moment after it asked for them."""

    def __init__(self, api: FakeApi, seconds: float = 1.0) -> None:
        self._api = api
        self._seconds = seconds
        api.storage.listeners.append(self._on_change)

    def _on_change(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        if resource == DEPLOYMENTS and new is not None and (old is None or old["spec"] != new["spec"]):
            asyncio.get_running_loop().call_later(self._seconds, self._settle, new)

    def _settle(self, deployment: Object) -> None:
        metadata = deployment["metadata"]
        if self._api.get(DEPLOYMENTS, metadata["namespace"], metadata["name"]) is not None:
            self._api.edit(DEPLOYMENTS, metadata["namespace"], metadata["name"], _available)


def _available(deployment: Object) -> None:
    replicas = deployment["spec"].get("replicas", 1)
    counts = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), replicas)
    deployment["status"] = counts | {"observedGeneration": deployment["metadata"]["generation"]}


def _set_ready(obj: Object, status: str, reason: str) -> None:
    others = [condition for condition in obj["status"]["conditions"] if condition["type"] != "Ready"]
    obj["status"]["conditions"] = [*others, {"type": "Ready", "status": status, "reason": reason}]


def _containers(pod: Object, state: Object, *, ready: bool) -> list[Object]:
    names = [container["name"] for container in pod["spec"].get("containers") or []]
    return [{"name": name, "ready": ready, "restartCount": 0, "state": state} for name in names]
