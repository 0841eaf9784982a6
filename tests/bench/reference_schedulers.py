"""Schedulers to compare ours with, which count GPUs and know nothing of nodes: FIFO, strict priority, EASY with true durations.

They are what a textbook would do with the same jobs, and give a bound rather than a rival: a job starts as soon as enough GPUs are
free anywhere, and EASY sees the future. All take jobs that fit the cluster and return the second at which each starts. In one
second ends come first, then submissions, then starts.
"""

import heapq
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Jobs:
    """Jobs in order of submission; all arrays are (jobs,)."""

    submitted: Seconds
    """Seconds since the start of the trace, not falling."""
    duration: Seconds
    """Seconds that each runs once started, at least 1."""
    gpus: NDArray[np.int64]
    queue: NDArray[np.int64]
    """Index into `queues`."""
    queues: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.submitted)

    def that_fit(self, capacity: int) -> "Jobs":
        """Without those that ask for more GPUs than there are, which would wait for ever."""
        fits = self.gpus <= capacity
        return Jobs(self.submitted[fits], self.duration[fits], self.gpus[fits], self.queue[fits], self.queues)


def fifo(jobs: Jobs, capacity: int) -> Seconds:
    """Starts if jobs start in order of submission and a job that does not fit holds up everybody behind it."""
    starts = np.zeros(len(jobs), dtype=np.int64)
    ends: list[tuple[int, int]] = []
    free, now = capacity, 0
    for index, (submitted, duration, gpus) in enumerate(_rows(jobs)):
        now = max(now, submitted)
        while ends and (ends[0][0] <= now or free < gpus):
            end, released = heapq.heappop(ends)
            free += released
            now = max(now, end)
        free -= gpus
        starts[index] = now
        heapq.heappush(ends, (now + duration, gpus))
    return starts


def strict_priority(jobs: Jobs, capacity: int, guaranteed: NDArray[np.int64]) -> Seconds:
    """Starts if a job that stays within its queue's guarantee goes before one that does not, then the older; the first blocks the rest.

    The trace has no priorities; what a queue was promised stands for them. guaranteed: (queues,) GPUs. Within a queue the
    order is that of submission.
    """
    starts = np.zeros(len(jobs), dtype=np.int64)
    rows = _rows(jobs)
    queue_of = [int(each) for each in jobs.queue]
    promised = [int(each) for each in guaranteed]
    waiting: list[deque[int]] = [deque() for _ in promised]
    used = [0] * len(promised)
    ends: list[tuple[int, int]] = []
    free, arrived, heads = capacity, 0, 0
    while arrived < len(jobs) or heads:
        now = _next_moment(ends, rows[arrived][0] if arrived < len(jobs) else None)
        while ends and ends[0][0] <= now:
            _, index = heapq.heappop(ends)
            free += rows[index][2]
            used[queue_of[index]] -= rows[index][2]
        while arrived < len(jobs) and rows[arrived][0] <= now:
            waiting[queue_of[arrived]].append(arrived)
            arrived += 1
        while True:
            ready = [
                (used[queue] + rows[line[0]][2] > promised[queue], line[0])
                for queue, line in enumerate(waiting)
                if line
            ]
            heads = len(ready)
            if not ready or rows[(index := min(ready)[1])][2] > free:
                break
            queue = queue_of[index]
            waiting[queue].popleft()
            free -= rows[index][2]
            used[queue] += rows[index][2]
            starts[index] = now
            heapq.heappush(ends, (now + rows[index][1], index))
    return starts


def easy_backfill(jobs: Jobs, capacity: int) -> Seconds:
    """Starts if the oldest gets a reservation and others may go before it if they do not delay it, true durations known.

    Source: Lifka, The ANL/IBM SP Scheduling System, JSSPP 1995. The reservation needs no renewal: since durations are exact,
    its time holds until it is used.
    """
    starts = np.full(len(jobs), -1, dtype=np.int64)
    rows = _rows(jobs)
    ends: list[tuple[int, int]] = []
    free, arrived, head = capacity, 0, 0
    reserved_for, shadow, extra = -1, 0, 0
    line = _Line(jobs)
    while head < len(jobs):
        now = _next_moment(ends, rows[arrived][0] if arrived < len(jobs) else None)
        while ends and ends[0][0] <= now:
            free += heapq.heappop(ends)[1]
        while arrived < len(jobs) and rows[arrived][0] <= now:
            line.append(arrived)
            arrived += 1
        while head < arrived and (starts[head] >= 0 or rows[head][2] <= free):
            if starts[head] < 0:
                _start(head, now, rows[head], starts, ends)
                free -= rows[head][2]
            head += 1
        if head == arrived or free == 0:
            continue
        if reserved_for != head:
            reserved_for = head
            shadow, extra = _shadow(ends, free, rows[head][2])
        for index in line.candidates(head, starts, free, shadow - now, extra):
            _, duration, gpus = rows[index]
            in_time = now + duration <= shadow
            if gpus > free or not (in_time or gpus <= extra):
                continue
            _start(index, now, rows[index], starts, ends)
            free -= gpus
            extra -= 0 if in_time else gpus
    return starts


class _Line:
    """Jobs that came and may still wait, in order, as arrays that are cleared of started ones now and then."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._waiting = np.empty(len(jobs), dtype=np.int64)
        self._count = 0
        self._started = 0

    def append(self, index: int) -> None:
        self._waiting[self._count] = index
        self._count += 1

    def candidates(self, head: int, starts: Seconds, free: int, longest: int, extra: int) -> list[int]:
        """Those behind the head that would do if they were the only ones, in order."""
        line = self._waiting[: self._count]
        line = line[(line > head) & (starts[line] < 0)]
        self._waiting[: len(line)], self._count = line, len(line)
        gpus = self._jobs.gpus[line]
        would_do = (gpus <= free) & ((self._jobs.duration[line] <= longest) | (gpus <= extra))
        return [int(each) for each in line[would_do]]


def _rows(jobs: Jobs) -> list[tuple[int, int, int]]:
    """(submitted, duration, gpus) of each, as plain integers, which are faster one by one."""
    return list(zip(jobs.submitted.tolist(), jobs.duration.tolist(), jobs.gpus.tolist(), strict=True))


def _next_moment(ends: list[tuple[int, int]], submission: int | None) -> int:
    """When something happens next: somebody ends or somebody comes."""
    if not ends:
        assert submission is not None, "jobs wait while the cluster is empty"
        return submission
    return ends[0][0] if submission is None else min(ends[0][0], submission)


def _start(index: int, now: int, row: tuple[int, int, int], starts: Seconds, ends: list[tuple[int, int]]) -> None:
    starts[index] = now
    heapq.heappush(ends, (now + row[1], row[2]))


def _shadow(ends: list[tuple[int, int]], free: int, needed: int) -> tuple[int, int]:
    """When the head can start at the latest, and how many GPUs are then left over."""
    for position, (end, released) in enumerate(ordered := sorted(ends)):
        free += released
        last_of_second = position + 1 == len(ordered) or ordered[position + 1][0] > end
        if free >= needed and last_of_second:
            return end, free - needed
    msg = f"a job asks for {needed} GPUs, the cluster has {free}"
    raise ValueError(msg)
