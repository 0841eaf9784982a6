"""How the operator itself is doing: leadership, caches and backlogs, read when somebody asks."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from trainyard.api.sight import View
from trainyard.metrics import definitions as d
from trainyard.metrics.picture import Object, Picture
from trainyard.metrics.sample import Sample
from trainyard.workloads.keys import Key


class Cache(Protocol):
    """A cache of `cluster.informer`, as far as it is measured."""

    synced: asyncio.Event
    repaired: int

    @property
    def last_activity(self) -> float: ...

    @property
    def store(self) -> Mapping[Any, Object]: ...


class Backlog(Protocol):
    """The `runtime.work_queue.WorkQueue` of our objects, as far as it is measured."""

    def waiting(self) -> Iterable[tuple[Key, float]]: ...


class EventCounts(Protocol):
    """A `cluster.events.EventRecorder`, as far as it is measured."""

    dropped: int


def operator_samples(
    pod: str,
    leads: bool,
    caches: Mapping[str, Cache],
    backlog: Backlog | None,
    events: EventCounts | None,
    views: Mapping[str, View],
    monotonic: float,
) -> Iterator[Sample]:
    """caches: by resource. views: of the namespaces to which it is confined. monotonic: seconds on the clock that the caches use."""
    yield Sample(d.LEADER, (pod,), float(leads))
    for resource, cache in sorted(caches.items()):
        yield Sample(d.CACHE_OBJECTS, (resource,), len(cache.store))
        yield Sample(d.CACHE_REPAIRED, (resource,), cache.repaired)
        if cache.synced.is_set():
            yield Sample(d.WATCH_AGE, (resource,), max(0.0, monotonic - cache.last_activity))
    if leads:  # a standby reads nothing
        for namespace, view in views.items():
            yield Sample(d.NAMESPACE_VIEW, (namespace, view.value), 1)
    if backlog is not None:
        yield from _backlog(backlog)
    if events is not None:
        yield Sample(d.EVENTS_DROPPED, (), events.dropped)


def _backlog(backlog: Backlog) -> Iterator[Sample]:
    depth, oldest = Counter[str](), dict.fromkeys(d.RECONCILED, 0.0)
    for key, seconds in backlog.waiting():
        depth[key.kind] += 1
        oldest[key.kind] = max(oldest[key.kind], seconds)
    for kind in d.RECONCILED:
        yield Sample(d.QUEUE_DEPTH, (kind,), depth[kind])
        yield Sample(d.QUEUE_AGE, (kind,), oldest[kind])


def unobserved_samples(picture: Picture) -> Iterator[Sample]:
    """By kind. What is being deleted changes for the last time, and nobody describes that."""
    for kind, objects in picture.stored.items():
        yield Sample(d.UNOBSERVED, (kind,), sum(map(_unobserved, objects)))


def _unobserved(obj: Object) -> bool:
    meta = obj["metadata"]
    described = (obj.get("status") or {}).get("observedGeneration") or 0
    return described < meta.get("generation", 0) and not meta.get("deletionTimestamp")
