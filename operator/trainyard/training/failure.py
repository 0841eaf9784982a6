"""Why an attempt ended, in one place: what each end of a pod means, and whether a restart can help.

A user's rules are asked first, in their order; what they leave open is decided as it always was. Of several pods that ended the
worst decides, and among equals the one that failed first and not in consequence of another. Neighbour: `failure_classes` is the table
that gives a failure its class.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum, auto

from trainyard.api.failure import Failure, FailureAction, FailureClass, FailureRule
from trainyard.training.failure_classes import NODE_REASONS, REMEDIES, classify, last_words
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
    pod: PodState | None = None
    kind: FailureClass = FailureClass.INFRASTRUCTURE
    remedy: str = ""
    """What usually helps; by default that of the class."""
    since: datetime | None = None
    """When it happened, if not when the pod's container ended."""
    blameless: bool = False
    """It says nothing of the node: the pod was sent away, or others had taken its place."""

    @property
    def blamed(self) -> str:
        """The node that it may speak against; empty if it speaks against none."""
        return "" if self.blameless else self.node

    @property
    def happened(self) -> datetime | None:
        exit_ = self.pod.exit if self.pod else None
        return self.since or (exit_.finished_at if exit_ else None)


TERMINAL_EXITS = {64: "the configuration is wrong", 65: "the data is wrong"}
STOPPED_ON_REQUEST = 75
_ACTIONS = {
    FailureAction.FAIL: Consequence.FAIL,
    FailureAction.RESTART: Consequence.RESTART,
    FailureAction.RESTART_UNCOUNTED: Consequence.DISRUPTION,
}
_LONG_AGO = datetime.fromtimestamp(0, UTC)


def how_ended(observed: Observed, pods: Iterable[PodState]) -> Ended | None:
    """What ended the current attempt, worst first; None while nothing did."""
    ends = [end for pod in pods if (end := _end_of(pod, observed))]
    if any(end.consequence is Consequence.DISRUPTION for end in ends) and not observed.job.spec.restart.rules:
        # Whoever talked to the pod that is gone lost the connection, and that is no failure of its own.
        ends = [end for end in ends if (end.consequence, end.kind) != (Consequence.RESTART, FailureClass.NETWORK)]
    worst = min(ends, key=_rank, default=None)
    return replace(worst, blameless=_blameless(worst, observed)) if worst is not None else None


def _blameless(end: Ended, observed: Observed) -> bool:
    pod = end.pod
    if pod is None:
        return False
    departs = pod.node in observed.departing
    if pod.node in observed.lost_nodes and not pod.finished:  # its pods are deleted after a while, too
        return departs
    return pod.blameless or (end.kind is FailureClass.NODE and departs)


def ignored(pod: PodState, observed: Observed) -> bool:
    """Whether the pod failed and the others go on without it."""
    rule = _rule_for(pod, observed)
    return rule is not None and rule.action is FailureAction.IGNORE


def _end_of(pod: PodState, observed: Observed) -> Ended | None:
    own = observed.failure_table
    if pod.node in observed.lost_nodes and not pod.finished:
        cause = f"node {pod.node} of {pod.name} is gone or not ready"
        since = observed.silent_since.get(pod.node)
        return Ended(Consequence.DISRUPTION, cause, pod.node, pod, FailureClass.NODE, since=since)
    if pod.node in observed.leaving and pod.deleting_since is None and not pod.finished:
        cause = f"node {pod.node} of {pod.name} will be gone soon: {observed.leaving[pod.node]}"
        return Ended(Consequence.DISRUPTION, cause, pod.node, pod, FailureClass.NODE)
    if pod.refused_by_node:
        cause = f"node {pod.node} refused {pod.name}: {pod.message or pod.reason}"
        return Ended(Consequence.UNDO, cause, pod.node, pod, FailureClass.NODE)
    if (rule := _rule_for(pod, observed)) is not None:
        if rule.action is FailureAction.IGNORE:
            return None
        words = f"{_how(pod)}; spec.restart.rules say {rule.action.value}"
        return Ended(_ACTIONS[rule.action], words, _blamed(pod, rule.action), pod, *classify(pod, own))
    if pod.exit is not None and pod.exit.code in TERMINAL_EXITS:
        cause = f"{pod.name} ended with exit code {pod.exit.code}, {TERMINAL_EXITS[pod.exit.code]}: {last_words(pod)}"
        return Ended(Consequence.FAIL, cause, "", pod, *classify(pod, own))
    if pod.deleting_since is not None and not pod.finished:
        if observed.job.status.phase == "Suspending":
            cause = f"{pod.name} was still ending when the suspension was lifted"
            return Ended(Consequence.DISRUPTION, cause, kind=FailureClass.PREEMPTED)
        return Ended(Consequence.DISRUPTION, f"{pod.name} was deleted by somebody else", pod=pod)
    if pod.phase != "Failed":
        return None
    if pod.reason in NODE_REASONS or pod.exit is None:
        return Ended(Consequence.DISRUPTION, _how(pod), pod.node, pod, *classify(pod, own))
    if pod.ended_by_deletion:
        return Ended(Consequence.DISRUPTION, f"{pod.name} was deleted by somebody else", pod=pod)
    if pod.exit.code == STOPPED_ON_REQUEST:
        cause = f"{pod.name} was asked to stop and wrote a checkpoint"
        return Ended(Consequence.DISRUPTION, cause, pod=pod, kind=FailureClass.PREEMPTED)
    return Ended(Consequence.RESTART, _how(pod), pod.node, pod, *classify(pod, own))


def _how(pod: PodState) -> str:
    if pod.reason in NODE_REASONS or pod.exit is None:
        return f"{pod.name}: {pod.reason or 'lost'}: {pod.message}"
    return f"{pod.name} ended with exit code {pod.exit.code} ({pod.exit.reason}): {last_words(pod)}"


def _blamed(pod: PodState, action: FailureAction) -> str:
    """The node, if the failure may be its fault: what always fails the job is the program's."""
    return "" if action is FailureAction.FAIL else pod.node


def _rule_for(pod: PodState, observed: Observed) -> FailureRule | None:
    rules = observed.job.spec.restart.rules
    if pod.phase != "Failed" or not rules:
        return None
    kind, _ = classify(pod, observed.failure_table)
    return next((rule for rule in rules if _matches(rule, pod, kind)), None)


def _matches(rule: FailureRule, pod: PodState, kind: FailureClass) -> bool:
    code = pod.exit.code if pod.exit else None
    reasons = {pod.reason, pod.exit.reason if pod.exit else ""}
    return (
        (rule.roles is None or pod.role in rule.roles)
        and (rule.exit_codes is None or code in rule.exit_codes)
        and (rule.classes is None or kind in rule.classes)
        and (rule.reasons is None or not reasons.isdisjoint(rule.reasons))
        and (rule.contains is None or rule.contains.lower() in last_words(pod).lower())
    )


def _rank(end: Ended) -> tuple[int, bool, datetime, bool, int]:
    """The worst first; among equals what is no consequence, what came first, and no lost connection, which others notice too."""
    exit_ = end.pod.exit if end.pod else None
    followed = bool(exit_ and exit_.report.get("consequence"))
    when = (exit_.finished_at if exit_ else None) or _LONG_AGO
    index = end.pod.index if end.pod else 0
    return (end.consequence.value, followed, when, end.kind is FailureClass.NETWORK, index)


def recorded(ended: Ended, before: Failure | None, *, attempt: int, step: int | None, now: datetime) -> Failure | None:
    """The failure as the status keeps it; what it kept before if no pod is to be named. step: the last that was reported."""
    pod = ended.pod
    if pod is None:
        return before
    code = pod.exit.code if pod.exit else None
    known = before is not None and (before.kind, before.role, before.exit_code, before.step)
    again = step is not None and known == (ended.kind, pod.role, code, step)
    return Failure(
        attempt=attempt,
        kind=ended.kind,
        role=pod.role,
        index=pod.index,
        node=pod.node,
        blameless=ended.blameless,
        exit_code=code,
        step=step,
        times=before.times + 1 if before and again else 1,
        message=(last_words(pod) or ended.cause)[:1024],
        remedy=ended.remedy or REMEDIES[ended.kind],
        time=now,
        happened=ended.happened and min(ended.happened, now),
    )
