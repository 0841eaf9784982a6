"""How the operator itself is doing: leadership, caches and backlogs, read when somebody asks."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Protocol

from trainyard.metrics import definitions as d
from trainyard.metrics.sample import Sample


class Cache(Protocol):
    """A cache of `cluster.informer`, as far as it is measured."""

    synced: asyncio.Event
    last_activity: float
    repaired: int

    @property
    def store(self) -> Sized: ...


class Backlog(Protocol):
    """A `runtime.work_queue.WorkQueue`, as far as it is measured."""

    name: str

    @property
    def depth(self) -> int: ...

    @property
    def oldest_age(self) -> float: ...


class EventCounts(Protocol):
    """A `cluster.events.EventRecorder`, as far as it is measured."""

    dropped: int


def operator_samples(
    pod: str,
    leads: bool,
    caches: Mapping[str, Cache],
    backlogs: Iterable[Backlog],
    events: EventCounts | None,
    monotonic: float,
) -> Iterator[Sample]:
    """caches: by resource. monotonic: seconds on the clock that the caches use."""
    yield Sample(d.LEADER, (pod,), float(leads))
    for resource, cache in sorted(caches.items()):
        yield Sample(d.CACHE_OBJECTS, (resource,), len(cache.store))
        yield Sample(d.CACHE_REPAIRED, (resource,), cache.repaired)
        if cache.synced.is_set():
            yield Sample(d.WATCH_AGE, (resource,), max(0.0, monotonic - cache.last_activity))
    for backlog in backlogs:
        yield Sample(d.QUEUE_DEPTH, (backlog.name,), backlog.depth)
        yield Sample(d.QUEUE_AGE, (backlog.name,), max(0.0, backlog.oldest_age))
    if events is not None:
        yield Sample(d.EVENTS_DROPPED, (), events.dropped)
