"""The scheduler's last word on each workload, until the object's own status shows it.

A decision belongs to one attempt of one object: after the place was given back, an old decision means nothing.
"""

from collections.abc import Iterable

from trainyard.scheduling.snapshot import Admit, Decision, Evict, Preempt, Resize, WorkloadKey

Token = tuple[WorkloadKey, str, int]
"""Workload, uid, attempt (or serial)."""


class Decisions:
    """Shared by the scheduler's shell, which puts decisions, and the controllers, which make them durable and drop them."""

    def __init__(self) -> None:
        self._standing: dict[WorkloadKey, tuple[Decision, int]] = {}

    def put(self, decision: Decision, attempt: int) -> bool:
        """Remember a decision. True when a controller should look: it differs in more than numbers."""
        old = self._standing.get(decision.key)
        self._standing[decision.key] = (decision, attempt)
        return old is None or old[1] != attempt or _gist(old[0]) != _gist(decision)

    def of(self, key: WorkloadKey, uid: str, attempt: int) -> Decision | None:
        """The standing decision for that attempt of that object."""
        found = self._standing.get(key)
        if found is None or found[1] != attempt or found[0].uid != uid:
            return None
        return found[0]

    def drop(self, key: WorkloadKey) -> None:
        """The decision is durable, or void."""
        self._standing.pop(key, None)

    def void(self, asked: Iterable[WorkloadKey]) -> None:
        """What those that hold a place were asked to do, and are not asked any more."""
        still = set(asked)
        for key, (decision, _) in list(self._standing.items()):
            if isinstance(decision, Evict | Resize) and key not in still:
                del self._standing[key]

    def keep_only(self, keys: Iterable[WorkloadKey]) -> None:
        """Forget workloads that are gone."""
        alive = set(keys)
        self._standing = {key: value for key, value in self._standing.items() if key in alive}


def _gist(decision: Decision) -> tuple[object, ...]:
    match decision:
        case Admit() | Resize():
            return (decision.uid, decision.assignment)
        case Preempt():
            return (decision.uid, decision.assignment, tuple(each.key for each in decision.victims))
        case Evict():
            return (decision.uid, decision.by, decision.by_uid, decision.drained, decision.goes_on)
    return (decision.uid, decision.verdict.reason)
