"""The scheduler's last word on each workload, until the object's own status shows it.

A decision belongs to one attempt of one object: after the place was given back, an old decision means nothing.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from trainyard.scheduling.snapshot import Admit, Decision, Evict, Preempt, Resize, Verdict, Wait, WorkloadKey
from trainyard.workloads.times import REFRESH_SECONDS, distance, retell_seconds

Token = tuple[WorkloadKey, str, int]
"""Workload, uid, attempt (or serial)."""


class _Standing(NamedTuple):
    """A decision as it was put. The words of one who waits change in place, so that a long line is told the news at no cost."""

    decision: Decision
    attempt: int
    verdict: Verdict | None


class Decisions:
    """Shared by the scheduler's shell, which puts decisions, and the controllers, which make them durable and drop them."""

    def __init__(self) -> None:
        self._standing: dict[WorkloadKey, _Standing] = {}
        self._acting: set[WorkloadKey] = set()
        """Those for which it is more than a word to somebody who waits."""
        self._asked: set[WorkloadKey] = set()
        """Those that hold a place and may be asked something."""

    def put(self, decision: Decision, attempt: int) -> float | None:
        """Remember a decision. Returns seconds until a controller should look; None if there is nothing new to tell.

        Soon if the decision is another; a little later if somebody who waits came much nearer to the front; and the later the farther
        behind if only the arithmetic is another.
        """
        verdict = decision.verdict if isinstance(decision, Wait) else None
        old = self._standing.get(decision.key)
        if old is not None and old.decision is decision and old.verdict is verdict and old.attempt == attempt:
            return None
        new = self._standing[decision.key] = _Standing(decision, attempt, verdict)
        if not isinstance(decision, Wait):
            self._acting.add(decision.key)
        elif self._acting:
            self._acting.discard(decision.key)
        if isinstance(decision, Evict):
            self._asked.add(decision.key)
        if old is None or old.attempt != attempt or _gist(old) != _gist(new):
            return 0.0
        if not isinstance(old.decision, Wait) or not isinstance(decision, Wait):
            return None
        if distance(decision.position) < distance(old.decision.position):
            return REFRESH_SECONDS
        same = old.verdict == verdict and old.decision.position == decision.position
        return None if same else retell_seconds(decision.position)

    def of(self, key: WorkloadKey, uid: str, attempt: int) -> Decision | None:
        """The standing decision for that attempt of that object."""
        found = self._standing.get(key)
        if found is None or found.attempt != attempt or found.decision.uid != uid:
            return None
        return found.decision

    def acting(self) -> tuple[WorkloadKey, ...]:
        """Workloads whose place the standing decision changes; some of them may be gone."""
        return tuple(self._acting)

    def drop(self, key: WorkloadKey) -> None:
        """The decision is durable, or void."""
        self._standing.pop(key, None)
        self._acting.discard(key)

    def void(self, asked: Iterable[WorkloadKey]) -> None:
        """Who was asked to make way, and is not asked any more. Another place to go on in stands until it is taken."""
        if not self._asked:
            return
        for key in self._asked.difference(asked):
            if key in self._standing and isinstance(self._standing[key].decision, Evict):
                self.drop(key)
            self._asked.discard(key)

    def keep_only(self, keys: Collection[WorkloadKey]) -> None:
        """Forget workloads that are gone; what is said of them means nothing, it only takes room."""
        if len(self._standing) > len(keys):
            self._standing = {key: self._standing[key] for key in keys if key in self._standing}
            self._acting.intersection_update(self._standing)


def _gist(standing: _Standing) -> tuple[object, ...]:
    decision = standing.decision
    match decision:
        case Admit() | Resize():
            return (decision.uid, decision.assignment)
        case Preempt():
            return (decision.uid, decision.assignment, tuple(each.key for each in decision.victims))
        case Evict():
            return (decision.uid, decision.by, decision.by_uid, decision.drained, decision.goes_on)
    return (decision.uid, standing.verdict and standing.verdict.reason)
