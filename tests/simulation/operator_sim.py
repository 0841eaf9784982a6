"""The whole operator on a cluster in memory, with compressed time: what the simulations drive.

`Simulation` is the cluster (API server, kube-scheduler, kubelets, gateways) and the operator processes on it, one at a time. A
process is a real `App`; only kopf is replaced, by informers that hand our kinds' events to the same caches. A process that a
scripted fault lets crash is noticed by `until` and `rest`, which start the next one. An `Auditor` looks at every change of the
cluster and remembers each broken promise.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

from prometheus_client import CollectorRegistry

from tests import builders as b
from tests.simulation.auditor import Auditor
from tests.simulation.fake_api import FakeApi
from tests.simulation.fake_faults import Request
from tests.simulation.fake_nodes import FakeDeployments, FakeKubelet, FakeScheduler, node
from tests.simulation.fake_verbs import Refused
from trainyard.api.inference_service import InferenceService
from trainyard.api.node_health import HealthLevel
from trainyard.api.training_job import TrainingJob
from trainyard.app import App, Ground
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.informer import ExternalCache, Informer
from trainyard.cluster.resources import (
    CLAIMS,
    EVENTS,
    FLAVORS,
    INFERENCE_SERVICES,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    QUEUES,
    TRAINING_JOBS,
    Object,
    Resource,
    resource_of,
)
from trainyard.inference.board import SyncReport
from trainyard.metrics.definitions import VIOLATIONS, Metric
from trainyard.metrics.instruments import Metrics
from trainyard.runtime.audit_chain import Entry
from trainyard.runtime.clock import LoopClock
from trainyard.workloads.caches import OURS
from trainyard.workloads.keys import Key
from trainyard.workloads.pod_template import Surroundings

CLOCK = LoopClock(datetime(2026, 11, 23, tzinfo=UTC))
_Answer = TypeVar("_Answer")
_TICK = 0.001
"""A timer may fire a rounding error early; waiting for the rest of it would spin without end."""
_USER = "user"
SURROUNDINGS = Surroundings("trainer", "server", "gateway", "https://operator:8443", "PEM")


async def compute(work: Callable[[], _Answer], /) -> _Answer:
    """In the event loop: a thread knows nothing of compressed time."""
    return work()


class OperatorClock:
    """The clock of the machine that the operator runs on: `off` from everybody else's."""

    def __init__(self) -> None:
        self.off = timedelta()

    def now(self) -> datetime:
        return CLOCK.now() + self.off

    def monotonic(self) -> float:
        return CLOCK.monotonic()


class Process:
    """One operator process, from its start to its end."""

    def __init__(
        self,
        api: FakeApi,
        number: int,
        clock: OperatorClock,
        record: Callable[[Entry], None],
        health_level: HealthLevel,
        namespaces: tuple[str, ...],
    ) -> None:
        self.elected = asyncio.Event()
        """Until then it stands by."""
        self.connection = api.connect(f"operator-{number}")
        metrics = Metrics(CollectorRegistry())

        def on_record(entry: Entry) -> None:
            record(entry)
            metrics.recorded(entry)

        client = ClusterClient(self.connection, clock, Random(number), observer=metrics.kube_call)
        self.app = App(
            Ground(
                client=client,
                clock=clock,
                random=Random(number),
                surroundings=lambda: replace(SURROUNDINGS, confined=bool(namespaces)),
                epoch=lambda: number,
                identity=f"operator-{number}",
                metrics=metrics,
                compute=compute,
                workers=8,
                repair_seconds=180.0,
                record=on_record,
                health_level=health_level,
                namespaces=namespaces,
                carbon_grams_per_kwh=400.0,
            )
        )
        self._stop = asyncio.Event()
        self._feeds = [self._feed(client, kind, resource, number) for kind, resource in OURS.items()]
        self._tasks = [asyncio.create_task(each.run()) for each in self._feeds]
        self._follows = asyncio.create_task(self.app.follow())
        self.work = asyncio.create_task(self._lead())

    async def _lead(self) -> None:
        await self.elected.wait()
        await self.app.run(self._stop)

    async def silence_kopf(self) -> None:
        """Nothing of our kinds is told any more, but by what the operator reads itself."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """As after SIGTERM."""
        self._stop.set()
        await self.work
        await self._end()

    async def kill(self) -> None:
        """As after SIGKILL: nothing more is sent."""
        self.connection.crashed.set()
        await self._end()

    async def _end(self) -> None:
        tasks = (self.work, self._follows, *self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _feed(self, client: ClusterClient, kind: str, resource: Resource, number: int) -> Informer:
        sight = self.app.sight if resource.namespaced else None
        informer = Informer(client, resource, CLOCK, Random(number), sight=sight)
        informer.on_change(partial(_hand_over, self.app.caches.ours[kind]))
        return informer


def _hand_over(cache: ExternalCache, old: Object | None, new: Object | None) -> None:
    obj = new or old
    assert obj is not None
    cache.observe("MODIFIED" if new is not None else "DELETED", {**obj, "metadata": dict(obj["metadata"])})


class Simulation:
    """A cluster of nodes with one queue `research` and one namespace `team`, and an operator on it."""

    def __init__(
        self,
        nodes: int = 2,
        gpus: int = 8,
        quota: int | None = None,
        health_level: HealthLevel = HealthLevel.PROPOSE,
        namespaces: tuple[str, ...] = (),
    ) -> None:
        """namespaces: to which the operator is confined; empty: to none."""
        self.api = FakeApi(CLOCK)
        self.namespaces = namespaces
        self.health_level = health_level
        self.binder = FakeScheduler(self.api)
        self.kubelet = FakeKubelet(self.api)
        self.auditor = Auditor(self.api)
        self.clock = OperatorClock()
        self.processes: list[Process] = []
        self.records: list[Entry] = []
        """What the operators put on record."""
        self.requests_in_flight: dict[str, int] = {}
        """By replica pod: what gateways say that it works on."""
        self.patience = 1.0
        """By how much longer than it says `until` waits, where a fault takes time to be noticed."""
        self.demand: dict[str, Any] = {}
        """What the first gateway says besides: held, queued, inFlight, requests (those that ever came), traffic of revisions."""
        self.contracts: dict[str, Any] = {}
        """By digest: what gateways read of a model's inputs and outputs, where it is not the same as of the others."""
        FakeDeployments(self.api)
        self._background = AsyncExitStack()
        for number in range(nodes):
            self.api.put(NODES, node(f"n{number}", gpus))
        self.api.put(FLAVORS, b.a_flavor())
        self.api.put(QUEUES, b.a_queue("research", gpus=nodes * gpus if quota is None else quota))
        self.api.put(NAMESPACES, b.a_namespace())
        self.api.put(CLAIMS, b.a_claim("results"))
        self.api.put(CLAIMS, b.a_claim("models"))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._background.aclose()
        if not self.process.work.done():
            await self.process.kill()
        if kind is None:
            assert self.auditor.broken == [], self.auditor.broken
            assert self.violations() == {}, self.violations()

    def violations(self) -> dict[str, float]:
        """What the operators' own auditors counted."""
        return self.counted(VIOLATIONS, "invariant")

    def counted(self, metric: Metric, label: str) -> dict[str, float]:
        """What the operators counted, by the values of a label."""
        samples = (
            sample
            for process in self.processes
            for family in process.app.ground.metrics.registry.collect()
            if family.name == metric.family
            for sample in family.samples
        )
        return {each.labels[label]: each.value for each in samples if each.value and "_total" in each.name}

    @property
    def process(self) -> Process:
        """The operator that runs now."""
        return self.processes[-1]

    async def start(self) -> None:
        """Start a new operator process, which leads at once."""
        self.elect(self.standby())

    def standby(self) -> Process:
        """A process that is not elected yet."""
        number = len(self.processes) + 1
        return Process(self.api, number, self.clock, self.records.append, self.health_level, self.namespaces)

    def elect(self, process: Process) -> None:
        """It leads from now on."""
        self.processes.append(process)
        process.elected.set()

    async def restart(self) -> None:
        """Kill the operator and start another."""
        await self.process.kill()
        await self.start()

    def create(self, *objects: Object) -> None:
        """As a user does."""
        for obj in objects:
            self.api.put(resource_of(obj), obj)

    async def until(self, done: Callable[[], object], limit: float = 300.0, step: float = 0.25) -> None:
        """Let time pass until `done()`; an operator that crashed is started anew. Fails after `limit` seconds."""
        end = CLOCK.monotonic() + limit * self.patience
        while not done():
            assert CLOCK.monotonic() < end, f"not within {limit:g} s; {self.describe()}"
            await self._step(step)

    async def rest(self, seconds: float) -> None:
        """Let time pass."""
        end = CLOCK.monotonic() + seconds
        while (left := end - CLOCK.monotonic()) > _TICK:
            await self._step(min(1.0, left))

    async def _step(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.process.connection.crashed.is_set():
            await self.restart()
        elif self.process.work.done():
            self.process.work.result()

    def describe(self) -> str:
        """What everything is doing, for a failure's message."""
        ours = [
            f"{each['kind']} {each['metadata']['name']}: {each.get('status', {}).get('phase')} {each.get('status', {}).get('reason')} {[c['message'] for c in each.get('status', {}).get('conditions', [])]}"
            for kind in (TRAINING_JOBS, INFERENCE_SERVICES)
            for each in self.api.all(kind)
        ]
        pods = [
            f"{pod['metadata']['name']}: {pod['status'].get('phase')} on {pod['spec'].get('nodeName')}"
            for pod in self.api.all(PODS)
        ]
        return "; ".join([*ours, *pods])

    # What is there.

    def job(self, name: str, namespace: str = b.NAMESPACE) -> Object:
        """The TrainingJob as stored; KeyError when it is gone."""
        found = self.api.get(TRAINING_JOBS, namespace, name)
        if found is None:
            raise KeyError(name)
        return found

    def status(self, name: str, namespace: str = b.NAMESPACE) -> Object:
        """Status of a job, with the defaults that the CRD gives it."""
        status = TrainingJob.model_validate(self.job(name, namespace)).status
        return status.model_dump(by_alias=True, mode="json")

    def phase(self, name: str, namespace: str = b.NAMESPACE) -> str:
        return str(self.status(name, namespace).get("phase", ""))

    def is_(self, phase: str, *names: str) -> Callable[[], bool]:
        """Whether all those jobs are in that phase, for `until`."""
        return lambda: all(self.phase(name) == phase for name in names)

    def served(self, name: str) -> Object:
        """Status of an InferenceService, with the defaults that the CRD gives it."""
        found = self.api.get(INFERENCE_SERVICES, b.NAMESPACE, name)
        assert found is not None
        return InferenceService.model_validate(found).status.model_dump(by_alias=True, mode="json")

    def message(self, name: str, condition: str = "Admitted") -> str:
        """Message of a condition of a job."""
        return str(condition_of(self.status(name), condition)["message"])

    def pods(self, name: str, namespace: str = b.NAMESPACE, *, alive: bool = True) -> list[Object]:
        """Pods of a job or service, without those that ended if `alive`."""
        return [
            pod
            for pod in self.api.all(PODS, namespace)
            if any(owner["name"] == name for owner in pod["metadata"].get("ownerReferences", ()))
            and not (alive and pod["status"].get("phase") in ("Succeeded", "Failed"))
        ]

    def names(self, name: str, *, alive: bool = True) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.pods(name, alive=alive)]

    def nodes(self, name: str) -> list[str]:
        return [pod["spec"].get("nodeName", "") for pod in self.pods(name)]

    def events(self, name: str) -> list[str]:
        """Reasons of the Events on an object, in order."""
        mine = [each for each in self.api.all(EVENTS) if each["involvedObject"]["name"] == name]
        return [each["reason"] for each in sorted(mine, key=lambda each: int(each["metadata"]["resourceVersion"]))]

    def writes(self, *resources: Resource) -> list[Request]:
        """The operator's writes that were carried out, of these resources if any are given."""
        return [
            each
            for each in self.api.writes
            if each.resource != LEASES and each.client != _USER and (not resources or each.resource in resources)
        ]

    # What happens.

    def change(self, resource: Resource, name: str, namespace: str | None = b.NAMESPACE, **spec: object) -> None:
        """As a user who edits fields of the spec."""
        self.api.edit(resource, namespace, name, lambda obj: obj["spec"].update(spec))

    async def delete(self, resource: Resource, name: str, namespace: str = b.NAMESPACE) -> None:
        """As a user does, gracefully; past the faults of the operator's connection."""
        await ClusterClient(self.api.connect(_USER, healthy=True), CLOCK, Random(0)).delete(resource, namespace, name)

    def stop_node(self, name: str) -> None:
        """The node falls silent, and the node controller notes when."""
        self.kubelet.stop_node(name)
        self.api.edit(NODES, None, name, _dated)

    def foreign_pod(self, name: str, on: str, gpus: int) -> None:
        """Somebody else's running pod."""
        container = {"name": "main", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
        self.api.put(
            PODS,
            {
                "metadata": {"name": name, "namespace": "elsewhere"},
                "spec": {"nodeName": on, "containers": [container]},
                "status": {"phase": "Running"},
            },
        )

    def refuse_pods(self, message: str) -> list[int]:
        """Until the list returned is emptied, the API server takes no pod."""
        on = [1]

        def refuse(verb: str, resource: Resource, _new: Object, _old: Object | None) -> None:
            if on and verb == "create" and resource == PODS:
                raise Refused(403, "Forbidden", message)

        self.api.admission.append(refuse)
        return on

    def run_gateways(self, service: str, count: int = 2) -> None:
        """Pods of the gateway Deployment that follow the membership and report twice a second, as the sidecar does."""
        for number in range(count):
            self.api.put(PODS, _gateway_pod(f"{service}-gateway-{number}", service))
        task = asyncio.create_task(self._report(service, count))

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._background.push_async_callback(end)

    async def _report(self, service: str, count: int) -> None:
        """What the operator's endpoint does with the reports of gateways."""
        key = Key("InferenceService", b.NAMESPACE, service)
        generation = 0
        while True:
            await asyncio.sleep(0.5)
            app = self.process.app
            known = app.world.get(key)
            if not app.read.is_set() or not isinstance(known, InferenceService):
                continue
            same: Object = {"inputs": [], "outputs": []}
            contracts = {each.digest: self.contracts.get(each.digest, same) for each in known.status.admission}
            members = {name: {"state": "UP", "inUse": used} for name, used in self.requests_in_flight.items()}
            for number in range(count):
                report = SyncReport.model_validate(
                    {
                        "namespace": b.NAMESPACE,
                        "service": service,
                        "serviceUid": known.metadata.uid,
                        "pod": f"{service}-gateway-{number}",
                        "generation": generation,
                        "members": members,
                        "contracts": contracts,
                        **(self.demand if number == 0 else {}),
                    }
                )
                if app.gateways.put(report, CLOCK.now()):
                    app.look_in(key, 0)
            generation = app.inference.membership(known).generation


def condition_of(status: Object, kind: str) -> Object:
    """One condition of a status."""
    found: Object = next(each for each in status["conditions"] if each["type"] == kind)
    return found


def _dated(obj: Object) -> None:
    for each in obj["status"]["conditions"]:
        each["lastTransitionTime"] = CLOCK.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _gateway_pod(name: str, service: str) -> Object:
    labels = {"trainyard.dev/role": "gateway", "trainyard.dev/service": service}
    return {
        "metadata": {"name": name, "namespace": b.NAMESPACE, "labels": labels},
        "spec": {"nodeName": "n0", "containers": [{"name": "haproxy"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
