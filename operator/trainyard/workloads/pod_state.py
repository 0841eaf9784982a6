"""What a pod of ours is doing, read from the API server's object. Pure; nothing else interprets a pod's status."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from trainyard.api.names import ATTEMPT_LABEL, FLAVOR_LABEL, INDEX_LABEL, ROLE_LABEL
from trainyard.nodes.times import parse
from trainyard.workloads.identity import labels_of

KUBELET_REFUSALS = (
    "OutOf",
    "UnexpectedAdmissionError",
    "NodeAffinity",
    "Preempting",
    "NodePorts",
    "TopologyAffinity",
    "SMTAlignment",
)
"""Beginnings of `status.reason` with which a kubelet turns a bound pod away: the place was wrong, not the program."""

_FAULTY_REFUSALS = ("UnexpectedAdmissionError",)
"""Of those, what may be the node's fault, as when its device plugin does not answer; the others tell of who is there."""
_SENT_AWAY = ("Preempting", "NodeShutdown", "Terminated")
"""With which a kubelet makes room for a more urgent pod, or shuts down in order."""
_TERMINATED_OR_KILLED = (128 + 15, 128 + 9)


@dataclass(frozen=True, slots=True)
class Exit:
    """How the main container ended."""

    code: int
    reason: str
    message: str
    finished_at: datetime | None

    @property
    def report(self) -> Mapping[str, Any]:
        """The termination message as our agent writes it; empty when it is somebody else's text."""
        try:
            report = json.loads(self.message)
        except ValueError:
            return {}
        return report if isinstance(report, dict) else {}


@dataclass(frozen=True, slots=True)
class PodState:
    """One pod of ours."""

    name: str
    uid: str
    role: str
    index: int
    attempt: int
    node: str
    phase: str
    ready: bool
    created: datetime
    """By the API server's clock."""
    scheduled: datetime | None = None
    """When kube-scheduler bound it, if the API server says so."""
    started: datetime | None = None
    """When its main container began to run, also after that has ended."""
    deleting_since: datetime | None = None
    address: str = ""
    flavor: str = ""
    reason: str = ""
    message: str = ""
    unschedulable: str = ""
    waiting: str = ""
    restarts: int = 0
    exit: Exit | None = None
    last_exit: Exit | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    first_look: datetime | None = None

    @property
    def seen(self) -> datetime:
        """Since when we know it, by our own clock if we saw it come: the two may be minutes apart."""
        return self.first_look or self.created

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def bound(self) -> bool:
        return bool(self.node)

    @property
    def running(self) -> bool:
        return self.phase == "Running" and self.deleting_since is None

    @property
    def refused_by_node(self) -> bool:
        """The kubelet turned it away; no container ran."""
        return self.phase == "Failed" and self.exit is None and self.reason.startswith(KUBELET_REFUSALS)

    @property
    def ended_by_deletion(self) -> bool:
        """Somebody deleted or evicted it, and its program ended of the signal that came with it."""
        exit_ = self.exit
        signalled = exit_ is not None and exit_.code in _TERMINATED_OR_KILLED and exit_.reason != "OOMKilled"
        return self.deleting_since is not None and self.finished and signalled

    @property
    def blameless(self) -> bool:
        """That it is not there any more, or never was, says nothing of its node: it was sent away, or others had taken its place."""
        sent_away = self.reason.startswith(_SENT_AWAY) or (self.deleting_since is not None and not self.finished)
        taken = not self.bound or (self.refused_by_node and not self.reason.startswith(_FAULTY_REFUSALS))
        return sent_away or taken or self.ended_by_deletion


def _number(label: str) -> int:
    """A number that we wrote into a label; 0 for what somebody else may have put there."""
    return int(label) if label.isascii() and label.isdecimal() else 0


def pod_state(pod: Mapping[str, Any], container: str, first_look: datetime | None = None) -> PodState:
    """Read `pod`, whose main container is named `container` and which was first seen then."""
    metadata, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    labels = labels_of(pod)
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    main: Mapping[str, Any] = next(
        (each for each in status.get("containerStatuses", ()) if each["name"] == container), {}
    )
    now_state = main.get("state", {})
    scheduled = conditions.get("PodScheduled", {})
    return PodState(
        name=metadata["name"],
        uid=metadata["uid"],
        role=labels.get(ROLE_LABEL, ""),
        index=_number(labels.get(INDEX_LABEL, "")),
        attempt=_number(labels.get(ATTEMPT_LABEL, "")),
        flavor=labels.get(FLAVOR_LABEL, ""),
        node=spec.get("nodeName", ""),
        phase=status.get("phase", "Pending"),
        ready=conditions.get("Ready", {}).get("status") == "True",
        created=parse(metadata.get("creationTimestamp")) or datetime.fromtimestamp(0, UTC),
        scheduled=parse(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None,
        started=parse((now_state.get("running") or now_state.get("terminated") or {}).get("startedAt")),
        deleting_since=parse(metadata.get("deletionTimestamp")),
        address=status.get("podIP", ""),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        unschedulable=scheduled.get("message", "") if scheduled.get("status") == "False" else "",
        waiting=_waiting(now_state.get("waiting", {})),
        restarts=int(main.get("restartCount", 0)),
        exit=_exit(now_state.get("terminated")),
        last_exit=_exit(main.get("lastState", {}).get("terminated")),
        annotations=metadata.get("annotations", {}),
        first_look=first_look,
    )


def _waiting(state: Mapping[str, str]) -> str:
    reason, message = state.get("reason", ""), state.get("message", "")
    return f"{reason}: {message}" if message else reason


def _exit(state: Mapping[str, Any] | None) -> Exit | None:
    if not state:
        return None
    return Exit(
        int(state.get("exitCode", -1)),
        state.get("reason", ""),
        state.get("message", ""),
        parse(state.get("finishedAt")),
    )
