"""What waits, grouped so that equal workloads are asked about once: thousands of equal jobs cost a cycle as much as one.

A `JobClass` holds workloads of one queue, priority and shape, oldest first, that are expected to run about equally long.
Neighbours: `engine` asks classes in order; `checks` says why a class waits.
"""

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainyard.scheduling.quota_tree import Cell, Request
from trainyard.scheduling.snapshot import Verdict, Words, Workload, WorkloadKey

ClassKey = tuple[object, ...]
_STEPS_PER_DOUBLING = 2


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the oldest of a class could not start, as far as the next cycle needs it; `checks` makes words of it."""

    flavors: tuple[str, ...]
    """Flavors on which it failed for want of nodes."""
    shortages: tuple[tuple[Cell, int], ...] = ()
    """Cells of the quota tree of which too little was available, and by how much."""
    kept_for: WorkloadKey | None = None
    """Nodes or quota would do, were they not kept for this one."""
    until: float = 0.0
    """When that one starts at the latest if everybody ends as expected, seconds since 1970."""

    @property
    def of_quota(self) -> bool:
        return bool(self.shortages) or self.kept_for is not None

    @property
    def of_nodes(self) -> bool:
        return bool(self.flavors)


class JobClass:
    """Waiting workloads that get the same answer from the same state."""

    __slots__ = (
        "_heap",
        "_line",
        "flavors",
        "key",
        "members",
        "number",
        "priority",
        "queue",
        "refusal",
        "sample",
        "standing",
        "told_of",
        "words",
    )

    def __init__(self, key: ClassKey, number: int, sample: Workload, priority: int) -> None:
        self.key, self.number, self.sample, self.priority = key, number, sample, priority
        self.queue = sample.queue
        self.members: dict[WorkloadKey, tuple[float, Workload]] = {}
        self._heap: list[tuple[float, WorkloadKey]] = []
        self._line: list[tuple[int, float, WorkloadKey, str, int]] | None = None
        self.standing: Verdict | None = None
        """Why none of them can start whatever else runs."""
        self.refusal: Refusal | None = None
        """Why the oldest could not start when it was last asked about; None if nobody asked since it came."""
        self.words: Words | None = None
        """In which that was told last."""
        self.told_of: tuple[Refusal, int] | None = None
        """What they are about: they are still true of the same refusal at the same version of the root."""
        self.flavors: tuple[tuple[str, Request], ...] = ()
        """Flavors to be tried, best first, each with what it would ask of the quota tree."""

    def __len__(self) -> int:
        return len(self.members)

    def fork(self) -> "JobClass":
        """One with the same members that goes its own way. Thousands of them are forked for one question."""
        twin = JobClass(self.key, self.number, self.sample, self.priority)
        twin.members, twin._heap, twin._line = self.members.copy(), self._heap.copy(), self._line
        twin.standing, twin.refusal, twin.flavors = self.standing, self.refusal, self.flavors
        return twin

    def add(self, workload: Workload) -> None:
        since = workload.created.timestamp()
        self.members[workload.key] = (since, workload)
        self._line = None
        heapq.heappush(self._heap, (since, workload.key))

    def discard(self, key: WorkloadKey) -> None:
        """It waits no longer."""
        self.members.pop(key, None)
        self._line = None

    def head(self) -> tuple[float, Workload]:
        """The oldest, and when it was created (seconds since 1970). The class must not be empty."""
        while True:
            since, key = self._heap[0]
            found = self.members.get(key)
            if found is not None and found[0] == since:
                return found
            heapq.heappop(self._heap)

    def in_order(self) -> list[Workload]:
        """All of them, oldest first."""
        return [each for _, each in sorted(self.members.values(), key=lambda pair: (pair[0], pair[1].key))]

    def line(self) -> list[tuple[int, float, WorkloadKey, str, int]]:
        """(-priority, since, key, uid, number of this class) of each, oldest first: what a queue's line is merged from."""
        if self._line is None:
            self._line = sorted(
                (-self.priority, since, each.key, each.uid, self.number) for since, each in self.members.values()
            )
        return self._line


class Pending:
    """All that waits."""

    def __init__(self) -> None:
        self.classes: dict[ClassKey, JobClass] = {}
        self._where: dict[WorkloadKey, JobClass] = {}
        self._numbers = 0

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, key: WorkloadKey) -> bool:
        return key in self._where

    def __iter__(self) -> Iterator[Workload]:
        return (member for each in self.classes.values() for _, member in each.members.values())

    def fork(self) -> "Pending":
        """The same, going its own way."""
        twin = Pending()
        twins = {each.number: each.fork() for each in self.classes.values()}
        twin.classes = {key: twins[each.number] for key, each in self.classes.items()}
        twin._where = {key: twins[each.number] for key, each in self._where.items()}
        twin._numbers = self._numbers
        return twin

    def add(self, workload: Workload, priority: int) -> JobClass:
        """Take a workload in; `priority` is what its queue lets it have. Returns its class."""
        self.remove(workload.key)
        alone = workload.key if workload.nomination else None
        key = (
            priority,
            about(workload.duration),
            workload.endless,
            workload.blocked,
            workload.shape,
            workload.preemptible,
            alone,
        )
        found = self.classes.get(key)
        if found is None:
            self._numbers += 1
            found = self.classes[key] = JobClass(key, self._numbers, workload, priority)
        found.add(workload)
        self._where[workload.key] = found
        return found

    def remove(self, key: WorkloadKey) -> JobClass | None:
        """Let a workload go; returns the class that it was in."""
        found = self._where.pop(key, None)
        if found is not None:
            found.discard(key)
            if not found.members:
                del self.classes[found.key]
        return found

    def get(self, key: WorkloadKey) -> Workload | None:
        found = self._where.get(key)
        return found.members[key][1] if found else None

    def class_of(self, key: WorkloadKey) -> JobClass | None:
        return self._where.get(key)

    def by_queue(self) -> Mapping[str, list[JobClass]]:
        """Classes of each queue."""
        found: dict[str, list[JobClass]] = {}
        for each in self.classes.values():
            found.setdefault(each.queue, []).append(each)
        return found


def about(seconds: float | None) -> int | None:
    """Two durations with the same answer differ by less than half (a factor of the square root of two)."""
    if seconds is None:
        return None
    return math.ceil(_STEPS_PER_DOUBLING * math.log2(max(seconds, 1e-3)))
