"""Renders the operator's picture of the cluster as series at each scrape, so that a deleted object's series end with it."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import TypeVar

from prometheus_client.metrics_core import Metric as Family

from trainyard.admission.vitals import Vitals
from trainyard.api.inference_service import InferenceService
from trainyard.api.queue import Queue
from trainyard.api.sight import View
from trainyard.api.training_job import TrainingJob
from trainyard.metrics.of_inference_services import inference_service_samples
from trainyard.metrics.of_ledgers import ledger_samples
from trainyard.metrics.of_nodes import node_samples
from trainyard.metrics.of_operator import Backlog, Cache, EventCounts, operator_samples, unobserved_samples
from trainyard.metrics.of_queues import queue_samples
from trainyard.metrics.of_scheduling import scheduling_samples
from trainyard.metrics.of_training_jobs import training_job_samples
from trainyard.metrics.picture import Picture
from trainyard.metrics.sample import CAP, Sample, families
from trainyard.runtime.clock import Clock
from trainyard.scheduling.snapshot import Workload
from trainyard.training.observed import Report
from trainyard.workloads.world import World

log = logging.getLogger(__name__)
T = TypeVar("T")

_PATIENCE_SECONDS = 8.0
"""A scrape waits this long for a busy event loop; Prometheus itself gives up after ten."""
Reports = Callable[[str], Report | None]
"""The newest report of the job with this uid."""
Views = Callable[[], Mapping[str, View]]
"""Of the namespaces to which the operator is confined."""


class WorldCollector:
    """Register it with the operator's registry. What it reads belongs to the event loop in which it is made."""

    def __init__(
        self,
        world: World,
        clock: Clock,
        leader: Callable[[], bool],
        *,
        pod: str = "",
        backlog: Backlog | None = None,
        caches: Mapping[str, Cache] | None = None,
        ours: Mapping[str, Cache] | None = None,
        events: EventCounts | None = None,
        reports: Reports = lambda _uid: None,
        vitals: Vitals | None = None,
        views: Views = dict,
        workloads: Callable[[], Iterable[Workload]] = tuple,
        cap: int = CAP,
    ) -> None:
        """caches: all of them, by resource; ours: those of our kinds, by kind; workloads: what has or wants a place."""
        self._world, self._clock, self._leader, self._pod = world, clock, leader, pod
        self._backlog, self._caches, self._ours = backlog, caches or {}, ours or {}
        self._events, self._reports, self._vitals, self._views, self._cap = events, reports, vitals, views, cap
        self._workloads = workloads
        self._loop = _running_loop()

    def describe(self) -> list[Family]:
        """Nothing: the world is still empty when this is registered. A test sees to it that no name is used twice."""
        return []

    def collect(self) -> Iterator[Family]:
        """All families that have a series. May be called in a thread: the world is then copied in its event loop."""
        if not self._leader():  # a standby knows as much, and would tell everything twice
            return families(self._in_its_loop(self._operator), self._cap)
        picture = self._in_its_loop(self._look)
        parts = (
            iter(picture.operator),
            unobserved_samples(picture),
            queue_samples(picture),
            node_samples(picture.snapshot, picture.now),
            training_job_samples(picture),
            ledger_samples(picture),
            inference_service_samples(picture),
            scheduling_samples(self._vitals) if self._vitals is not None else iter(()),
        )
        return families(chain.from_iterable(_guarded(part) for part in parts), self._cap)

    def _in_its_loop(self, look: Callable[[], T]) -> T:
        loop = self._loop
        if loop is None or loop is _running_loop():
            return look()

        async def there() -> T:
            return look()

        return asyncio.run_coroutine_threadsafe(there(), loop).result(_PATIENCE_SECONDS)

    def _look(self) -> Picture:
        world, now = self._world, self._clock.now()
        jobs = tuple(each for each in world.of_kind("TrainingJob") if isinstance(each, TrainingJob))
        services = tuple(each for each in world.of_kind("InferenceService") if isinstance(each, InferenceService))
        uids = [*(job.metadata.uid for job in jobs), *(service.metadata.uid for service in services)]
        return Picture(
            now=now,
            jobs=jobs,
            services=services,
            pods={uid: pods for uid in uids if (pods := world.pods.of(uid))},
            reports={job.metadata.uid: report for job in jobs if (report := self._reports(job.metadata.uid))},
            queues={each.metadata.name: each.status for each in world.of_kind("Queue") if isinstance(each, Queue)},
            stored={kind: tuple(cache.store.values()) for kind, cache in self._ours.items()},
            snapshot=world.snapshot(self._workloads()),
            operator=self._operator(),
        )

    def _operator(self) -> tuple[Sample, ...]:
        found = operator_samples(
            self._pod,
            self._leader(),
            self._caches,
            self._backlog,
            self._events,
            self._views(),
            self._clock.monotonic(),
        )
        return tuple(found)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _guarded(part: Iterator[Sample]) -> Iterator[Sample]:
    """An object that cannot be rendered costs the rest of its part, not the whole scrape."""
    try:
        yield from part
    except Exception:
        log.exception("a part of the metrics could not be rendered")
