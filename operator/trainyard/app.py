"""Puts the parts together: caches -> world -> work queue -> controllers, and the scheduler beside them.

The only module that knows every part. It starts no process-wide thing (election, ports, signals, kopf): that is
`process`, so that a simulation runs exactly this on a server in memory.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from trainyard.admission.auditor import Auditor, Finding
from trainyard.admission.following import Following
from trainyard.admission.incident_log import IncidentLog
from trainyard.admission.job_history import JobHistory
from trainyard.admission.memory import Memory
from trainyard.admission.meter import Meter
from trainyard.admission.namespaces import UNSEEN_SECONDS, Namespaces
from trainyard.admission.node_controller import NodeController
from trainyard.admission.overview import OverviewController
from trainyard.admission.places import PlacesOnRecord
from trainyard.admission.scheduler import Scheduler
from trainyard.admission.sighting import sighting
from trainyard.admission.vitals import Vitals
from trainyard.api.failure import FailureRow
from trainyard.api.names import INCIDENTS, INCIDENTS_KEY, OUTCOMES, OUTCOMES_KEY, SYSTEM_NAMESPACE
from trainyard.api.node_health import HealthLevel
from trainyard.api.reasons import Reason
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import ClusterError, Conflict
from trainyard.cluster.events import EventRecorder
from trainyard.inference.board import GatewayBoard
from trainyard.inference.controller import InferenceController
from trainyard.metrics.collector import WorldCollector
from trainyard.metrics.instruments import Metrics
from trainyard.nodes.lemons import Lemons
from trainyard.questions.picture import Picture
from trainyard.runtime.audit_chain import Entry
from trainyard.runtime.clock import Clock
from trainyard.runtime.compute import Compute, in_thread
from trainyard.runtime.memory import give_back
from trainyard.runtime.waiting import unless_stopped
from trainyard.runtime.work_queue import Again, WorkQueue
from trainyard.scheduling.snapshot import Workload
from trainyard.training.controller import TrainingController
from trainyard.training.reports import ReportBoard
from trainyard.training.workload import finished
from trainyard.workloads.applier import Applier
from trainyard.workloads.caches import OURS, Caches
from trainyard.workloads.decisions import Decisions
from trainyard.workloads.kept import identity
from trainyard.workloads.keys import Key
from trainyard.workloads.known_nodes import node_key
from trainyard.workloads.outlook import Outlooks
from trainyard.workloads.pod_template import Surroundings
from trainyard.workloads.world import World

log = logging.getLogger(__name__)

_STALE_SECONDS = 0.2
_KEEP_UP_SECONDS = 5.0
"""A process that stands by looks so often at what changed."""
_FIRST_CYCLE_SECONDS = 30.0
"""What else there is to do waits for the first cycle, and no longer than this."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What the operator stands on."""

    client: ClusterClient
    clock: Clock
    random: Random
    surroundings: Callable[[], Surroundings]
    epoch: Callable[[], int]
    identity: str
    metrics: Metrics
    namespace: str = SYSTEM_NAMESPACE
    namespaces: tuple[str, ...] = ()
    """Those that are looked after; empty: all there are."""
    failure_table: tuple[FailureRow, ...] = ()
    health_level: HealthLevel = HealthLevel.PROPOSE
    compute: Compute = in_thread
    workers: int = 32
    repair_seconds: float = 300.0
    record: Callable[[Entry], None] = lambda _: None
    """Keeps what belongs on record."""
    carbon_grams_per_kwh: float | None = None


class App:
    """One operator: `follow` keeps its picture of the cluster from its start on, `run` acts on it while it leads."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        client, clock, told = ground.client, ground.clock, ground.metrics
        self.world = World(self._unreadable, clock.now, confined=bool(ground.namespaces))
        self.reports, self.gateways, self.decisions = ReportBoard(), GatewayBoard(), Decisions()
        self.queue: WorkQueue[Key] = WorkQueue("objects", clock, ground.random, observer=told.reconciled)
        self.events = EventRecorder(client, clock, "trainyard", ground.identity)
        self.caches = Caches(client, clock, ground.random, ground.namespaces)
        self.sight = self.caches.sight
        self.outlooks, self.vitals = Outlooks(clock, told.missed), Vitals(clock)
        self.incidents, self.lemons = IncidentLog(), Lemons()
        self._memories = (
            Memory(client, self.outlooks, ground.namespace),
            Memory(client, self.lemons, ground.namespace, OUTCOMES, OUTCOMES_KEY),
            Memory(client, self.incidents, ground.namespace, INCIDENTS, INCIDENTS_KEY),
        )
        self.history = JobHistory(
            self.world,
            clock,
            told,
            self.outlooks,
            self.incidents,
            self.lemons,
            lambda node: self.queue.add_after(node_key(node), 0.0),
            self._all_jobs_noticed,
        )
        self.namespaces = Namespaces(self.caches, self._taken_in)
        self.auditor = Auditor(
            lambda: sighting(self.world, self.sight, self._wanted(), clock.now()), clock, self._violated, ground.compute
        )
        self.meter = Meter(self._wanted, self.world.flavors, clock, told, ground.carbon_grams_per_kwh)
        self.scheduler = Scheduler(
            self.world,
            self.decisions,
            self._workloads,
            self.queue.add_after,
            clock,
            (self.outlooks.look, self.vitals.look, self.auditor.decided),
            ground.compute,
            told.cycle,
            told.preempting,
        )
        self.applier = Applier(client, self.world, clock, self, self._learn, ground.record)
        self.training = TrainingController(
            self.world,
            client,
            self.applier,
            clock,
            self.decisions,
            self.reports,
            ground.surroundings,
            self.scheduler.poke,
            self.queue.add_after,
            ground.epoch,
            self.outlooks,
            self.history.changed,
            ground.failure_table,
        )
        self.inference = InferenceController(
            self.world,
            self.applier,
            clock,
            self.decisions,
            self.gateways,
            ground.surroundings,
            self.scheduler.poke,
            ground.epoch,
            self.outlooks,
            told.started,
        )
        following = Following(
            self.world,
            self.caches,
            self.queue.add_after,
            self.scheduler.poke,
            {"TrainingJob": self.training.looks, "InferenceService": self.inference.looks},
            self.training.templates,
            self.history,
            PlacesOnRecord(self.world, ground.record),
            told.has_queue,
            lambda: self._leads,
        )
        for kind, cache in self.caches.all():
            cache.on_change(following.of(kind))
        self.overview = OverviewController(self.world, self.applier, clock, self._wanted)
        self.nodes = NodeController(
            self.world,
            client,
            self.applier,
            clock,
            ground.health_level,
            self._learn,
            following.node_stands,
            told,
            self.lemons,
        )
        self._controllers: Mapping[str, Callable[[Key], Awaitable[Again]]] = {
            "TrainingJob": self.training.reconcile,
            "InferenceService": self.inference.reconcile,
            "Queue": self.overview.reconcile,
            "Flavor": self.overview.reconcile,
            "Node": self.nodes.reconcile,
        }
        self.read = asyncio.Event()
        """Once everything was read."""
        self._leads = False
        self._unread: dict[Key, tuple[dict[str, Any], str]] = {}
        """What cannot be read, and why, until somebody leads who tells of it."""

    async def follow(self) -> None:
        """Read everything and keep up with it until cancelled, so that whoever takes over knows already what is to be done."""
        async with AsyncExitStack() as background:
            for kind, informer in self.caches.informers.items():
                _start(background, informer.run(), f"informer-{kind}")
            if self.sight.namespaces:
                await self.caches.filled()  # it is known then which can be seen
                self.sight.on_change(self.namespaces.sight_changed)
                _start(background, self.namespaces.run(), "sight")
            await asyncio.gather(self.caches.filled(), self._read_ours())
            give_back()
            log.info(
                "caches are filled",
                extra={"objects": {kind: len(cache.store) for kind, cache in self.caches.all()}},
            )
            self.read.set()
            _start(background, self.caches.repair_now_and_then(self.ground.repair_seconds), "repair")
            while True:
                if not self._leads:
                    self._workloads()  # looks at what changed, or all of it would be left for the moment of taking over
                await asyncio.sleep(_KEEP_UP_SECONDS)

    async def _read_ours(self) -> None:
        while True:
            try:
                return await self.caches.repair()
            except (ClusterError, TimeoutError) as error:
                log.warning("our kinds cannot be read; tried again", extra={"error": repr(error)})
                await asyncio.sleep(_KEEP_UP_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, once `follow` has read everything; what is in hand is ended first."""
        if not await unless_stopped(stop, self.read):
            return
        async with AsyncExitStack() as background:
            for memory in self._memories:
                await memory.recall()
            self._take_over()
            _start(background, self.scheduler.run(), "scheduler")
            _start(background, self.auditor.run(), "auditor")
            for memory in self._memories:
                _start(background, memory.run(), "memory")
            _start(background, self.meter.run(), "meter")
            _start(background, self.events.run(), "events")
            _start(background, self._look_at_all(), "backlog")
            self.scheduler.poke()
            await self.queue.run(self.reconcile, workers=self.ground.workers, stop=stop, limit=120)
        for memory in self._memories:
            await memory.save()
        self.applier.settle()
        await self.events.flush()

    def _take_over(self) -> None:
        """From here on what changes is acted upon; what was there before is told of, and looked at."""
        self._leads = True
        for key, (obj, why) in self._unread.items():
            if key in self.world.unreadable:
                self._tell_of_unreadable(key, obj, why)
        self._unread.clear()
        jobs = self.world.training_jobs()
        self.outlooks.ended_before(each for each in jobs if finished(each))
        self._all_jobs_noticed()
        self.history.recall(jobs)
        for key in self.world.keys("Queue"):
            self.ground.metrics.has_queue(key.name)

    async def _look_at_all(self) -> None:
        """At everything that is there, but after the first cycle: whoever has waited for a leader starts before thousands are looked at."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_CYCLE_SECONDS):
                await self.scheduler.ran.wait()
        for kind in OURS:
            for key in self.world.keys(kind):
                self.queue.add_later(key)
        for name in self.world.nodes:
            self.queue.add_later(node_key(name))

    async def reconcile(self, key: Key) -> Again:
        """One look at one object. A decision that was made on an outdated copy is made again when the news is here."""
        if not self.sight.whole(key.namespace):
            return Again(UNSEEN_SECONDS)
        try:
            if key in self.world.damaged:
                await self.applier.mend(key, OURS[key.kind])
            return await self._controllers[key.kind](key)
        except Conflict:
            return Again(_STALE_SECONDS)

    def post(self, obj: Mapping[str, Any], reason: str, message: str, *, warning: bool) -> None:
        """Post an event; the Events of the applier."""
        kind: Literal["Normal", "Warning"] = "Warning" if warning else "Normal"
        self.events.record(dict(obj), kind, reason, message)
        self.ground.metrics.event(kind, reason)

    def strayed(self, key: Key, message: str) -> None:
        """A program of the job touched files of others."""
        if (obj := self.world.identity(key)) is not None:
            self.post(obj, Reason.STRAYED, message, warning=True)

    def collector(self, leads: Callable[[], bool]) -> WorldCollector:
        """What a scrape reads; for the registry."""
        return WorldCollector(
            self.world,
            self.ground.clock,
            leads,
            pod=self.ground.identity,
            backlog=self.queue,
            caches=self.caches.by_resource(),
            ours=self.caches.ours,
            events=self.events,
            reports=self.reports.of,
            vitals=self.vitals,
            views=self.caches.views,
            workloads=self._wanted,
        )

    def picture(self) -> Picture:
        """The cluster at this moment, as the scheduler sees it."""
        snapshot = self.world.snapshot(self._wanted())
        return Picture(self.world, snapshot, self.ground.clock.now(), self.ground.carbon_grams_per_kwh)

    def look_in(self, key: Key, seconds: float) -> None:
        """Look at the object in so many seconds."""
        self.queue.add_after(key, seconds)

    def _workloads(self) -> list[tuple[Workload, int]]:
        """What has or wants a place.

        One that waits in a namespace that is not seen whole is left out: nobody would act on a decision about it.
        """
        found = [*self.training.looks.all(), *self.inference.looks.all()]
        if not self.sight.namespaces:
            return found
        whole = self.sight.whole
        return [each for each in found if each[0].admission is not None or whole(each[0].key.namespace)]

    def _wanted(self) -> Iterator[Workload]:
        return (workload for workload, _ in self._workloads())

    def _all_jobs_noticed(self) -> None:
        self.training.looks.all_noticed(self.world.keys("TrainingJob"))

    def _taken_in(self, namespace: str) -> None:
        self.history.recall(each for each in self.world.training_jobs() if each.metadata.namespace == namespace)

    def _learn(self, kind: str, obj: dict[str, Any]) -> None:
        """Take the API server's answer to a write for an event."""
        if kind in self.caches.ours:
            self.caches.ours[kind].observe("MODIFIED", obj)
        elif kind in self.caches.informers:
            self.world.observe(kind, None, obj)

    def _violated(self, finding: Finding, told: bool) -> None:
        self.ground.metrics.violated(finding.invariant)
        if not told:  # as many others of its kind, of which those before it told
            return
        log.error("invariant violated", extra={"invariant": finding.invariant.value, "why": finding.message})
        if finding.key is not None and (obj := self.world.identity(finding.key)) is not None:
            self.post(obj, finding.invariant.value, f"a fault of Trainyard: {finding.message}", warning=True)

    def _unreadable(self, obj: Mapping[str, Any], why: str) -> None:
        key = Key(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        if self._leads:
            self._tell_of_unreadable(key, obj, why)
        else:
            self._unread[key] = (identity(obj), why)

    def _tell_of_unreadable(self, key: Key, obj: Mapping[str, Any], why: str) -> None:
        log.error("object cannot be read and is left alone", extra={"object": str(key), "why": why})
        self.post(obj, Reason.UNREADABLE, f"left alone, with its pods, until it is mended: {why}", warning=True)


def _start(background: AsyncExitStack, work: Any, name: str) -> None:
    task = asyncio.create_task(work, name=name)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    background.push_async_callback(end)
