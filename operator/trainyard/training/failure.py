"""Why an attempt ended, in one place: what each end of a pod means, and whether a restart can help."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from trainyard.training.observed import Observed
from trainyard.workloads.pod_state import PodState


class Consequence(Enum):
    """What follows from the end of a pod."""

    FAIL = auto()  # a restart would end the same way
    RESTART = auto()  # counts against maxRestarts
    DISRUPTION = auto()  # not the program's fault: restart without counting it as a failure
    UNDO = auto()  # the place was wrong: give it back, keep the place in the queue


@dataclass(frozen=True, slots=True)
class Ended:
    """The first end that decides about the attempt."""

    consequence: Consequence
    cause: str
    node: str = ""


TERMINAL_EXITS = {64: "the configuration is wrong", 65: "the data is wrong"}
STOPPED_ON_REQUEST = 75


def how_ended(observed: Observed, pods: Iterable[PodState]) -> Ended | None:
    """What ended the current attempt, worst first; None while nothing did."""
    ends = [end for pod in pods if (end := _end_of(pod, observed.lost_nodes))]
    return min(ends, key=lambda end: end.consequence.value, default=None)


def _end_of(pod: PodState, lost: frozenset[str]) -> Ended | None:
    if pod.node in lost and not pod.finished:
        return Ended(Consequence.DISRUPTION, f"node {pod.node} of {pod.name} is gone or not ready", pod.node)
    if pod.refused_by_node:
        return Ended(Consequence.UNDO, f"node {pod.node} refused {pod.name}: {pod.message or pod.reason}", pod.node)
    if pod.exit is not None and pod.exit.code in TERMINAL_EXITS:
        return Ended(
            Consequence.FAIL,
            f"{pod.name} ended with exit code {pod.exit.code}, {TERMINAL_EXITS[pod.exit.code]}: {_words(pod)}",
        )
    if pod.deleting_since is not None and not pod.finished:
        return Ended(Consequence.DISRUPTION, f"{pod.name} was deleted by somebody else")
    if pod.phase != "Failed":
        return None
    if pod.reason in ("Evicted", "NodeShutdown", "Terminated", "NodeLost") or pod.exit is None:
        return Ended(Consequence.DISRUPTION, f"{pod.name}: {pod.reason or 'lost'}: {pod.message}", pod.node)
    if pod.exit.code == STOPPED_ON_REQUEST:
        return Ended(Consequence.DISRUPTION, f"{pod.name} was asked to stop and wrote a checkpoint")
    return Ended(
        Consequence.RESTART,
        f"{pod.name} ended with exit code {pod.exit.code} ({pod.exit.reason}): {_words(pod)}",
        pod.node,
    )


def _words(pod: PodState) -> str:
    if pod.exit is None:
        return pod.message
    return str(
        pod.exit.report.get("cause") or pod.exit.message or pod.message or "it said nothing; see its log"
    ).strip()[:700]
