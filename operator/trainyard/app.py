"""Puts the parts together: caches -> world -> work queue -> controllers, and the scheduler beside them.

The only module that knows every part. It starts no process-wide thing (election, ports, signals, kopf): that is
`process`, so that a simulation runs exactly this on a server in memory.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

from trainyard.admission.auditor import Auditor, Finding, Sighting
from trainyard.admission.incident_log import IncidentLog
from trainyard.admission.memory import Memory
from trainyard.admission.meter import Meter
from trainyard.admission.node_controller import NodeController
from trainyard.admission.overview import FRESH_SECONDS, OverviewController
from trainyard.admission.scheduler import Scheduler
from trainyard.admission.vitals import Vitals
from trainyard.api.failure import FailureRow
from trainyard.api.inference_service import InferenceService
from trainyard.api.names import (
    INCIDENTS,
    INCIDENTS_KEY,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    OUTCOMES,
    OUTCOMES_KEY,
    RESTORING,
    SYSTEM_NAMESPACE,
)
from trainyard.api.node_health import HealthLevel
from trainyard.api.reasons import ConditionType, Reason
from trainyard.api.sight import View
from trainyard.api.training_job import TrainingJob
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import ClusterError, Conflict
from trainyard.cluster.events import EventRecorder
from trainyard.cluster.informer import ExternalCache, Informer
from trainyard.cluster.resources import (
    CLAIMS,
    DEPLOYMENTS,
    FLAVORS,
    INFERENCE_SERVICES,
    NAMESPACES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    QUEUES,
    SERVICES,
    TRAINING_JOBS,
)
from trainyard.cluster.sight import Sight
from trainyard.inference.board import GatewayBoard
from trainyard.inference.controller import InferenceController
from trainyard.metrics.collector import WorldCollector
from trainyard.metrics.instruments import Metrics
from trainyard.nodes import care
from trainyard.nodes.lemons import Lemons, blames
from trainyard.questions.picture import Picture
from trainyard.runtime.audit_chain import Entry
from trainyard.runtime.clock import Clock
from trainyard.runtime.compute import Compute, in_thread
from trainyard.runtime.memory import give_back
from trainyard.runtime.work_queue import Again, WorkQueue
from trainyard.scheduling.snapshot import Workload
from trainyard.training.checkpoint_interval import interrupted, trained_hours
from trainyard.training.controller import TrainingController
from trainyard.training.incidents import closed_since, of_deleted, told_apart
from trainyard.training.making_way import lost_gpu_seconds
from trainyard.training.reports import ReportBoard
from trainyard.training.stragglers import added_to
from trainyard.training.workload import finished
from trainyard.workloads import conditions
from trainyard.workloads.applier import Applier
from trainyard.workloads.audited import TELLS, decided
from trainyard.workloads.decisions import Decisions
from trainyard.workloads.kept import KEPT
from trainyard.workloads.keys import Key
from trainyard.workloads.outlook import Outlooks
from trainyard.workloads.pod_template import Surroundings
from trainyard.workloads.world import World, node_key

log = logging.getLogger(__name__)

OURS = {"Flavor": FLAVORS, "Queue": QUEUES, "TrainingJob": TRAINING_JOBS, "InferenceService": INFERENCE_SERVICES}
_OWNERS = ("TrainingJob", "InferenceService")
_OVERVIEW_SECONDS = 2 * FRESH_SECONDS
"""Numbers of queues and flavors follow this long after what they count."""
_STALE_SECONDS = 0.2
_POD_SECONDS = 0.1
_UNSEEN_SECONDS = 5.0
"""A namespace that cannot be seen whole is left alone, and looked at again so much later."""
_MANAGED = f"{MANAGED_BY_LABEL}={MANAGED_BY}"


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
    repair_seconds: float = 180.0
    record: Callable[[Entry], None] = lambda _: None
    """Keeps what belongs on record."""
    carbon_grams_per_kwh: float | None = None


class App:
    """One operator that leads."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        client, clock = ground.client, ground.clock
        self.world = World(self._unreadable, clock.now, confined=bool(ground.namespaces))
        self.reports, self.gateways, self.decisions = ReportBoard(), GatewayBoard(), Decisions()
        self.queue: WorkQueue[Key] = WorkQueue("objects", clock, ground.random, observer=ground.metrics.reconciled)
        self.events = EventRecorder(client, clock, "trainyard", ground.identity)
        seen = (PODS, NAMESPACES, CLAIMS, SERVICES, DEPLOYMENTS, POD_DISRUPTION_BUDGETS)
        self.sight = sight = Sight(ground.namespaces, [each.plural for each in seen])
        self.caches = {
            kind: ExternalCache(
                resource, clock, keep=KEPT.get(kind, _all), sight=sight if resource.namespaced else None
            )
            for kind, resource in OURS.items()
        }
        self.informers = {
            "Pod": Informer(client, PODS, clock, ground.random, keep=KEPT["Pod"], sight=sight),
            "Node": Informer(client, NODES, clock, ground.random, keep=KEPT["Node"]),
            "Namespace": Informer(client, NAMESPACES, clock, ground.random, sight=sight),
            "PersistentVolumeClaim": Informer(client, CLAIMS, clock, ground.random, sight=sight),
            "Service": Informer(
                client, SERVICES, clock, ground.random, keep=KEPT["Service"], label_selector=_MANAGED, sight=sight
            ),
            "Deployment": Informer(client, DEPLOYMENTS, clock, ground.random, label_selector=_MANAGED, sight=sight),
            "PodDisruptionBudget": Informer(
                client, POD_DISRUPTION_BUDGETS, clock, ground.random, label_selector=_MANAGED, sight=sight
            ),
        }
        self._unread: dict[Key, TrainingJob | InferenceService] = {}
        """Those that cannot be read now, as they were before."""
        self._sighted: asyncio.Queue[str] = asyncio.Queue()
        for kind, cache in (*self.caches.items(), *self.informers.items()):
            cache.on_change(self._follow(kind))
        self.outlooks, self.vitals = Outlooks(clock, ground.metrics.missed), Vitals(clock)
        self.incidents, self.lemons = IncidentLog(), Lemons()
        self._memories = (
            Memory(client, self.outlooks, ground.namespace),
            Memory(client, self.lemons, ground.namespace, OUTCOMES, OUTCOMES_KEY),
            Memory(client, self.incidents, ground.namespace, INCIDENTS, INCIDENTS_KEY),
        )
        self.auditor = Auditor(self._sighting, clock, self._violated, ground.compute)
        self.meter = Meter(
            lambda: (workload for workload, _ in self._workloads()),
            self.world.flavors,
            clock,
            ground.metrics,
            ground.carbon_grams_per_kwh,
        )
        self.scheduler = Scheduler(
            self.world,
            self.decisions,
            self._workloads,
            self.queue.add_after,
            clock,
            (self.outlooks.look, self.vitals.look, self.auditor.decided),
            ground.compute,
            ground.metrics.cycle,
            ground.metrics.preempting,
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
            self._job_changed,
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
            ground.metrics.started,
        )
        self._looks = {"TrainingJob": self.training.looks, "InferenceService": self.inference.looks}
        self.overview = OverviewController(
            self.world, self.applier, clock, lambda: (workload for workload, _ in self._workloads())
        )
        self.nodes = NodeController(
            self.world,
            client,
            self.applier,
            clock,
            ground.health_level,
            self._learn,
            self._node_stands,
            ground.metrics,
            self.lemons,
        )
        self._controllers: Mapping[str, Callable[[Key], Awaitable[Again]]] = {
            "TrainingJob": self.training.reconcile,
            "InferenceService": self.inference.reconcile,
            "Queue": self.overview.reconcile,
            "Flavor": self.overview.reconcile,
            "Node": self.nodes.reconcile,
        }
        self.synced = False

    async def run(self, stop: asyncio.Event) -> None:
        """Read everything, then work until `stop`; what is in hand is ended first."""
        async with AsyncExitStack() as background:
            for kind, informer in self.informers.items():
                _start(background, informer.run(), f"informer-{kind}")
            filled = asyncio.gather(*(informer.synced.wait() for informer in self.informers.values()))
            if self.sight.namespaces:
                await filled  # it is known then which can be seen
                self.sight.on_change(self._sight_changed)
            await asyncio.gather(filled, self.repair())
            self.synced = True
            give_back()
            for memory in self._memories:
                await memory.recall()
            self.outlooks.ended_before(each for each in self.world.training_jobs() if finished(each))
            self.training.looks.all_noticed(self.world.keys("TrainingJob"))
            self._recall_incidents(self.world.training_jobs())
            log.info(
                "caches are filled",
                extra={
                    "objects": {
                        kind: len(cache.store) for kind, cache in (*self.caches.items(), *self.informers.items())
                    }
                },
            )
            _start(background, self.scheduler.run(), "scheduler")
            _start(background, self.auditor.run(), "auditor")
            for memory in self._memories:
                _start(background, memory.run(), "memory")
            _start(background, self.meter.run(), "meter")
            _start(background, self.events.run(), "events")
            _start(background, self._repair_now_and_then(), "repair")
            _start(background, self._take_in(), "sight")
            self.scheduler.poke()
            await self.queue.run(self.reconcile, workers=self.ground.workers, stop=stop, limit=120)
        for memory in self._memories:
            await memory.save()
        self.applier.settle()
        await self.events.flush()

    async def repair(self) -> None:
        """Compare the caches of our kinds with complete quorum lists: the watch that feeds them may have missed deletions."""
        for cache in self.caches.values():
            await cache.repair(self.ground.client)

    async def reconcile(self, key: Key) -> Again:
        """One look at one object. A decision that was made on an outdated copy is made again when the news is here."""
        if not self.sight.whole(key.namespace):
            return Again(_UNSEEN_SECONDS)
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

    def by_resource(self) -> dict[str, ExternalCache | Informer]:
        """All caches by the name under which requests are counted too."""
        ours = {OURS[kind].plural: cache for kind, cache in self.caches.items()}
        return {**ours, **{informer.resource.plural: informer for informer in self.informers.values()}}

    def collector(self, leads: Callable[[], bool]) -> WorldCollector:
        """What a scrape reads; for the registry."""
        return WorldCollector(
            self.world,
            self.ground.clock,
            leads,
            pod=self.ground.identity,
            backlog=self.queue,
            caches=self.by_resource(),
            ours=self.caches,
            events=self.events,
            reports=self.reports.of,
            vitals=self.vitals,
            views=self.views,
        )

    def views(self) -> dict[str, View]:
        """How each of the namespaces stands to which the operator is confined."""
        shown = self.informers["Namespace"]
        return {each: self.sight.view(each, shown=shown.get(None, each) is not None) for each in self.sight.namespaces}

    def picture(self) -> Picture:
        """The cluster at this moment, as the scheduler sees it."""
        snapshot = self.world.snapshot(each for each, _ in self._workloads())
        return Picture(self.world, snapshot, self.ground.clock.now(), self.ground.carbon_grams_per_kwh)

    def _sighting(self) -> Sighting:
        world, whole = self.world, self.sight.whole
        jobs = tuple(each for each in world.training_jobs() if whole(each.metadata.namespace))
        owners = frozenset(each.metadata.uid for kind in _OWNERS for each in world.of_kind(kind))
        owners |= frozenset(world.unreadable.values())
        snapshot = world.snapshot(each for each, _ in self._workloads())
        if self.sight.namespaces:
            snapshot = replace(snapshot, pods=tuple(each for each in snapshot.pods if whole(each.namespace)))
        return Sighting(
            self.ground.clock.now(),
            snapshot,
            jobs,
            {job.metadata.uid: pods for job in jobs if (pods := world.pods_of(job.metadata.uid))},
            owners,
        )

    def _violated(self, finding: Finding, told: bool) -> None:
        self.ground.metrics.violated(finding.invariant)
        if not told:  # as many others of its kind, of which those before it told
            return
        log.error("invariant violated", extra={"invariant": finding.invariant.value, "why": finding.message})
        if finding.key is not None and (obj := self.world.identity(finding.key)) is not None:
            self.post(obj, finding.invariant.value, f"a fault of Trainyard: {finding.message}", warning=True)

    def look_in(self, key: Key, seconds: float) -> None:
        """Look at the object in so many seconds."""
        self.queue.add_after(key, seconds)

    async def _repair_now_and_then(self) -> None:
        """All caches: a watch may leave out an event without ever losing its place. One after the other, since each holds a whole list."""
        while True:
            await asyncio.sleep(self.ground.repair_seconds)
            for compare in (self.repair, *(informer.relist for informer in self.informers.values())):
                try:
                    await compare()
                except Exception:
                    log.exception("a cache could not be compared with the API server; tried again later")
            give_back()

    def _sight_changed(self, namespace: str, whole: bool) -> None:
        if whole:
            log.info("a namespace has come into sight", extra={"namespace": namespace})
            self._sighted.put_nowait(namespace)
        else:
            log.warning(
                "a namespace cannot be seen any more and is left alone",
                extra={"namespace": namespace, "why": dict(self.sight.problems()).get(namespace, "")},
            )

    async def _take_in(self) -> None:
        """Read our kinds of namespaces that came into sight; one that cannot be read holds up no other."""
        while True:
            namespace = await self._sighted.get()
            if not self.sight.whole(namespace):
                continue  # it is told of anew when it comes back
            try:
                taken = [
                    await cache.take_in(self.ground.client, namespace)
                    for kind, cache in self.caches.items()
                    if OURS[kind].namespaced
                ]
            except ClusterError as error:
                log.warning(
                    "a namespace could not be read; tried again", extra={"namespace": namespace, "error": str(error)}
                )
                taken = [False]
            self._recall_incidents(each for each in self.world.training_jobs() if each.metadata.namespace == namespace)
            if not all(taken):
                asyncio.get_running_loop().call_later(_UNSEEN_SECONDS, self._sighted.put_nowait, namespace)

    def _forget(self, namespace: str) -> None:
        """It is gone, and everything in it; the watches that would say so may have been refused before."""
        for cache in (*self.caches.values(), *self.informers.values()):
            if cache.resource.namespaced:
                cache.forget(namespace)

    def _learn(self, kind: str, obj: dict[str, Any]) -> None:
        """Take the API server's answer to a write for an event."""
        if kind in self.caches:
            self.caches[kind].observe("MODIFIED", obj)
        elif kind in self.informers:
            self.world.observe(kind, None, obj)

    def _follow(self, kind: str) -> Callable[[dict[str, Any] | None, dict[str, Any] | None], None]:
        def changed(old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
            if kind == "TrainingJob" and old is not None and new is None:
                self._job_deleted(old["metadata"])
            was = self._last_read(kind, old)
            for key in self.world.observe(kind, old, new):
                if key.kind in self._looks:
                    self._looks[key.kind].noticed(key)
                # A pod changes several times in a moment: created, bound, started. One look is enough for all.
                self.queue.add_after(key, _POD_SECONDS if kind == "Pod" and new is not None else 0.0)
            if kind == "Namespace" and old is not None and new is None and self.sight.namespaces:
                self._forget(old["metadata"]["name"])
            if kind == "Node" and _node_gist(old) != _node_gist(new):
                self.queue.add_after(node_key((new or old or {})["metadata"]["name"]), 0.0)
            if was is not None:
                self._put_on_record(was, self._owner(kind, new))
            self._spread(kind, old, new)
            if kind == "Queue" and old is None and new is not None:
                self.ground.metrics.has_queue(new["metadata"]["name"])

        return changed

    def _owner(self, kind: str, obj: Mapping[str, Any] | None) -> TrainingJob | InferenceService | None:
        """A job or service as the world knows it; None for one that is gone, or of another kind."""
        if kind not in _OWNERS or obj is None:
            return None
        thing = self.world.get(_key(kind, obj["metadata"]))
        assert thing is None or isinstance(thing, TrainingJob | InferenceService)
        return thing

    def _last_read(self, kind: str, obj: Mapping[str, Any] | None) -> TrainingJob | InferenceService | None:
        """A job or service as it was when it could last be read."""
        if kind not in _OWNERS or obj is None:
            return None
        return self._unread.pop(_key(kind, obj["metadata"]), None) or self._owner(kind, obj)

    def _put_on_record(self, was: TrainingJob | InferenceService, now: TrainingJob | InferenceService | None) -> None:
        """What changed of its place, whether or not the write that changed it was answered."""
        key = Key(was.kind, was.metadata.namespace, was.metadata.name)
        if key in self.world.unreadable:  # it has its place still; when it can be read again, or is gone, one sees
            self._unread[key] = was
            return
        if now is not None and all(
            getattr(was.status, each, None) == getattr(now.status, each, None) for each in TELLS
        ):
            return  # mostly it is progress or a count that changed
        for entry in decided(key, _of_place(was), None if now is None else _of_place(now)):
            self.ground.record(entry)

    def _node_stands(self, beside: set[Key]) -> None:
        """A node stands otherwise than before: those beside it look, and so does the scheduler."""
        for key in beside:
            if key.kind in self._looks:
                self._looks[key.kind].noticed(key)
            self.queue.add_after(key, 0.0)
        self.scheduler.poke()

    def _spread(self, kind: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        """Who else should look: the scheduler when something may start now, queues and flavors whose numbers change."""
        thing = new or old or {}
        if kind == "Namespace":
            self.training.templates.namespace_changed(thing["metadata"]["name"])
        elif kind == "Pod" and (new is None or _over(new)):
            self.training.templates.pod_ended(thing["metadata"]["namespace"])
        if (
            kind in ("Flavor", "Queue", "Namespace", "PersistentVolumeClaim")
            or (kind == "Node" and _node_gist(old) != _node_gist(new))
            or (
                kind == "Pod"
                and (
                    new is None
                    or _over(new) != _over(old or {})
                    or not thing["metadata"].get("labels", {}).get(MANAGED_BY_LABEL)
                )
            )
        ):
            self.scheduler.poke()
        elif kind in ("TrainingJob", "InferenceService"):
            if old is None or new is None or _asks(old) != _asks(new):
                self.scheduler.poke()
            self.queue.add_after(Key("Queue", "", thing.get("spec", {}).get("queue", "")), _OVERVIEW_SECONDS)
        if kind in ("Node", "Flavor") and _node_gist(old) != _node_gist(new):
            for flavor in self.world.flavors():
                self.queue.add_after(Key("Flavor", "", flavor), _OVERVIEW_SECONDS)
            if kind == "Flavor":
                for name, looks in self._looks.items():
                    looks.all_noticed(self.world.keys(name))
                for each in self.world.of_kind("Queue"):
                    self.queue.add_after(Key("Queue", "", each.metadata.name), _OVERVIEW_SECONDS)

    def _workloads(self) -> list[tuple[Workload, int]]:
        """What has or wants a place.

        One that waits in a namespace that is not seen whole is left out: nobody would act on a decision about it.
        """
        found = [*self.training.looks.all(), *self.inference.looks.all()]
        if not self.sight.namespaces:
            return found
        whole = self.sight.whole
        return [each for each in found if each[0].admission is not None or whole(each[0].key.namespace)]

    def _job_changed(self, before: TrainingJob, after: TrainingJob) -> None:
        metrics, queue = self.ground.metrics, after.spec.queue
        if before.status.admission is None and after.status.admission is not None and after.metadata.creation_timestamp:
            metrics.admitted(queue, (after.status.admission.time - after.metadata.creation_timestamp).total_seconds())
        if (
            before.status.preemption is not None
            and after.status.admission is None
            and before.status.admission is not None
        ):
            metrics.preempted(queue, lost_gpu_seconds(before, self.ground.clock.now()))
        if after.status.last_failure is not None and before.status.last_failure != after.status.last_failure:
            metrics.failed(queue, after.status.last_failure.kind)
            if blames(after.status.last_failure):
                self._attempt_ended(before, after.status.last_failure.node)
        if before.status.admission is not None:
            self.outlooks.ran(before.status.admission.flavor, trained_hours(before, after), interrupted(before, after))
        over = closed_since(before, after)
        self.incidents.over(over)
        for each in over:
            metrics.interrupted(each)
        if after.status.ledger is not None:
            known = before.status.ledger.measured_joules if before.status.ledger else 0.0
            if after.status.ledger.measured_joules > known:
                metrics.measured(queue, after.metadata.namespace, after.status.ledger.measured_joules - known)
        for _ in added_to(before.status.stragglers, after.status.stragglers):
            metrics.straggler(queue)
        if finished(after) and not finished(before):
            foretold = self.outlooks.foretells
            self.outlooks.ended(after)
            if self.outlooks.foretells and not foretold:
                self.training.looks.all_noticed(self.world.keys("TrainingJob"))
            if conditions.holds(after.status.conditions, ConditionType.COMPLETE):
                self._attempt_ended(before, "")
            metrics.completed(
                queue, "complete" if conditions.holds(after.status.conditions, ConditionType.COMPLETE) else "failed"
            )

    def _recall_incidents(self, jobs: Iterable[TrainingJob]) -> None:
        """Those that are over; what is known already is not told again."""
        for job in jobs:
            self.incidents.over(told_apart(job, each) for each in job.status.incidents if each.ended_at)

    def _job_deleted(self, metadata: Mapping[str, Any]) -> None:
        """Its status goes with it: what interrupted it is remembered, as the world still knows it and no cache does."""
        job = self.world.get(_key("TrainingJob", metadata))
        if isinstance(job, TrainingJob):
            self.incidents.over(of_deleted(job, self.ground.clock.now()))

    def _attempt_ended(self, job: TrainingJob, failed: str) -> None:
        """What an attempt says of the nodes that it ran on."""
        if job.status.admission is None:
            return
        nodes = {name for role in job.status.admission.roles for name in role.nodes()}
        self.lemons.outcome(nodes, failed, self.ground.clock.now())
        if failed:
            self.queue.add_after(node_key(failed), 0.0)

    def _unreadable(self, obj: Mapping[str, Any], why: str) -> None:
        key = _key(obj["kind"], obj["metadata"])
        log.error("object cannot be read and is left alone", extra={"object": str(key), "why": why})
        self.post(obj, Reason.UNREADABLE, f"left alone, with its pods, until it is mended: {why}", warning=True)


def _start(background: AsyncExitStack, work: Any, name: str) -> None:
    task = asyncio.create_task(work, name=name)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    background.push_async_callback(end)


def _asks(thing: Mapping[str, Any]) -> tuple[object, bool]:
    """What of a job or service may change what it asks for: its spec, and the end of its restoring."""
    return thing["metadata"].get("generation"), RESTORING in thing["metadata"].get("annotations", {})


def _all(obj: dict[str, Any]) -> dict[str, Any]:
    return obj


def _key(kind: str, metadata: Mapping[str, Any]) -> Key:
    return Key(kind, metadata.get("namespace", ""), metadata["name"])


def _of_place(thing: TrainingJob | InferenceService) -> dict[str, Any]:
    """What of a status belongs on record when it changes."""
    return thing.status.model_dump(by_alias=True, mode="json", include=TELLS)


def _over(pod: Mapping[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _node_gist(thing: Mapping[str, Any] | None) -> object:
    """What of a node or flavor matters to scheduling: heartbeats do not."""
    if thing is None:
        return None
    status = thing.get("status", {})
    ready = [each["status"] for each in status.get("conditions", ()) if each["type"] == "Ready"]
    return (
        thing["metadata"].get("labels"),
        thing.get("spec"),
        status.get("allocatable"),
        ready,
        care.gist(thing) if thing.get("kind", "Node") == "Node" else None,
    )
