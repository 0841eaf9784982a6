"""Every metric of the operator is exercised: an hour of a cluster in which something of everything happens, scraped as it goes by.

A counter or histogram must have counted and a gauge must have been something else than 0, in a scrape of the whole operator.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from tests import builders as b
from tests.simulation.fake_faults import both, on, verb, writes
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.api.names import GPU, GPU_ERRORS
from trainyard.cluster.resources import EVENTS, FLAVORS, INFERENCE_SERVICES, NODES, QUEUES, TRAINING_JOBS, Object
from trainyard.metrics.collector import WorldCollector
from trainyard.metrics.definitions import (
    ALL,
    AUDIT_RECORDS_LOST,
    AUDIT_STALLED,
    CERTIFICATE_END,
    CERTIFICATE_START,
    NAMESPACE_VIEW,
    SERIES_DROPPED,
    VIOLATIONS,
)
from trainyard.metrics.loop_lag import watch_event_loop
from trainyard.nodes.errors import ErrorKind, GpuError, write
from trainyard.nodes.lemons import ONE_EVENT
from trainyard.workloads.keys import Key

pytestmark = pytest.mark.looptime
ELSEWHERE = {
    AUDIT_RECORDS_LOST.name: "of the process, whose audit file would have to fail: tests/unit/runtime/test_audit.py",
    AUDIT_STALLED.name: "the same: tests/unit/runtime/test_audit_file.py",
    NAMESPACE_VIEW.name: "only of an operator that is confined to some: tests/simulation/test_confined.py",
    SERIES_DROPPED.name: "no family comes near to its cap: tests/unit/metrics/test_bounds.py",
    VIOLATIONS.name: "a promise would have to be broken: tests/simulation/test_conformance.py has the auditor find such",
    CERTIFICATE_START.name: "of the process, which a simulation has none of: tests/unit/endpoint/test_certificates.py",
    CERTIFICATE_END.name: "the same",
}


class Scrapes:
    """Of the operator that runs now."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._collector: WorldCollector | None = None
        self.seen: set[str] = set()
        """Families of which some series was not 0."""

    def look(self) -> None:
        app = self._sim.process.app
        own = CollectorRegistry()
        own.register(app.collector(lambda: True))
        for registry in (app.ground.metrics.registry, own):
            for family in registry.collect():
                values = (each.value for each in family.samples if not each.name.endswith("_created"))
                if any(values):
                    self.seen.add(family.name)


def of_tree(gpus: int, parent: str = "all", **more: object) -> b.Modifier:
    quota = {"name": GPU, "guaranteed": str(gpus), "limit": "32"}
    return b.spec(parent=parent, flavors=[{"name": "h200", "resources": [quota]}], **more)


@asynccontextmanager
async def yard() -> AsyncIterator[Simulation]:
    """Four nodes of eight GPUs; a tree of two queues, one of them with a budget; GPUs cost power and money."""
    async with Simulation(nodes=4, gpus=8, quota=16) as sim:
        sim.api.put(QUEUES, b.a_queue("all", gpus=0))
        sim.api.put(QUEUES, b.a_queue("production", of_tree(16, budget={"gpuHours": "100"})))
        sim.change(QUEUES, "research", None, parent="all")
        sim.change(FLAVORS, "h200", None, wattsPerUnit=700, pricePerHour=2.5)
        lag = asyncio.create_task(watch_event_loop(sim.process.app.ground.metrics.loop_lag))
        await sim.rest(2)
        yield sim
        lag.cancel()


def told(sim: Simulation, name: str, step: int, slow: str = "") -> None:
    """What the trainer of a job reports, as the endpoint takes it."""
    app, pods = sim.process.app, sim.pods(name)
    own = [0.1 * (1.6 if pod["spec"].get("nodeName") == slow else 1.0) + step * 1e-6 for pod in pods]
    body: Object = {
        "jobUid": sim.job(name)["metadata"]["uid"],
        "attempt": sim.status(name)["attempt"],
        "phase": "training",
        "step": step,
        "totalSteps": 20_000,
        "stepsPerSecond": 2.0,
        "loss": 0.5,
        "throughput": 640.0,
        "metrics": {"accuracy": 0.9, **{f"recall-at-{number}": 0.5 for number in range(16)}},
        "worldSize": len(pods),
        "firstStepAt": CLOCK.now().isoformat(),
        "checkpoint": {"step": step - step % 10, "path": "c"},
        "checkpointFailures": 1,
        "checkpointing": {
            "everySteps": 50,
            "seconds": 25.0,
            "stallSeconds": 0.5,
            "writeSeconds": 2.0,
            "interruptionSeconds": 3e4,
        },
        "stepSeconds": {"p50": 0.1, "slowest": max(own), "slowestRank": own.index(max(own))},
    }
    app.look_in(Key("TrainingJob", b.NAMESPACE, name), 0 if app.reports.put(body, CLOCK.now()) else 30)


async def serve(sim: Simulation, scrapes: Scrapes) -> None:
    """A service starts behind gateways, gets another model, and goes."""
    canary = {"strategy": "Canary", "steps": [50], "stepSeconds": 10}
    sim.create(b.inference_service("s", b.gpus(1), b.spec(rollout=canary, slo={"latencyMs": 250})))
    await sim.until(lambda: sim.names("s"), 30)
    sim.requests_in_flight = dict.fromkeys(sim.names("s"), 1)
    sim.run_gateways("s")
    await sim.until(lambda: sim.served("s").get("phase") == "Ready", 60)
    sim.change(INFERENCE_SERVICES, "s", model={"claimName": "models", "path": "new", "digest": "sha256:" + "c" * 64})
    await sim.until(lambda: sim.served("s").get("rollout"), 60)
    scrapes.look()
    await sim.delete(INFERENCE_SERVICES, "s")


async def crowd(sim: Simulation, scrapes: Scrapes) -> None:
    """More jobs at once than there are workers to look at them, while the API server is slow."""
    names = [f"many-{number}" for number in range(20)]
    sim.create(*(b.training_job(name, b.suspended()) for name in names))
    sim.api.faults.slow(writes(TRAINING_JOBS), 1.0, times=len(names))
    for _ in range(20):
        await asyncio.sleep(0.05)
        scrapes.look()
    await sim.rest(5)
    for name in names:
        await sim.delete(TRAINING_JOBS, name)


async def train(sim: Simulation, scrapes: Scrapes) -> None:
    """A job with a budget is held up by a slow node, fails and goes on; others end well and badly."""
    claim = {"budget": {"maxGPUHours": 100}, "training": {"checkpointEverySteps": 50}}
    sim.create(b.training_job("held", b.workers(3), b.gpus(4), b.queue("production"), b.storage(), b.spec(**claim)))
    sim.create(b.training_job("well", b.runs(30)), b.training_job("badly", b.runs(20, 1), b.max_restarts(1)))
    await sim.until(sim.is_("Running", "held"), 30)
    for step in range(0, 1000, 20):
        told(sim, "held", step, slow=sim.nodes("held")[0])
        await sim.rest(4)
    scrapes.look()
    sim.kubelet.finish(b.NAMESPACE, sim.names("held")[0], exit_code=1)
    await sim.until(lambda: sim.status("held")["restarts"] == 1 and sim.phase("held") == "Running", 120)
    for step in (1000, 1020):
        told(sim, "held", step)
        await sim.rest(40)  # a report without great news is looked at within half a minute
    await sim.until(sim.is_("Complete", "well"), 60)
    await sim.until(sim.is_("Failed", "badly"), 300)
    scrapes.look()
    await sim.delete(TRAINING_JOBS, "held")


async def make_way(sim: Simulation, scrapes: Scrapes) -> None:
    """A queue borrows, and its job makes way; another waits for a place that is kept for it, until the time that it was told."""
    sim.create(b.training_job("borrows", b.workers(4), b.gpus(7), b.storage()))
    await sim.until(sim.is_("Running", "borrows"), 30)
    told(sim, "borrows", 10)
    await sim.rest(300)
    scrapes.look()
    sim.create(
        b.training_job("owns", b.workers(2), b.gpus(8), b.queue("production"), b.runs(200), b.spec(expectedSeconds=400))
    )
    await sim.until(sim.is_("Running", "owns"), 200)
    scrapes.look()
    await sim.delete(TRAINING_JOBS, "borrows")
    sim.create(b.training_job("first", b.workers(3), b.gpus(8), b.runs(30), b.spec(expectedSeconds=60)))
    await sim.until(lambda: sim.status("first")["eta"], 60)
    await sim.until(sim.is_("Complete", "first"), 600)
    scrapes.look()


async def fall_sick(sim: Simulation, scrapes: Scrapes) -> None:
    """Most of the nodes are called broken, on one attempts fail and errors foretell a failure; then they fall silent, and one is cordoned."""
    app, now = sim.process.app, CLOCK.now()
    for _ in range(20):
        app.lemons.outcome(["n1", "n2"], "", now)
    for each in range(4):
        app.lemons.outcome(["n0"], "n0", now - (3 - each) * ONE_EVENT)
    errors = write([GpuError("0", ErrorKind.REMAPPED, 3, 3.0, now)])
    told = {"type": "XIDErrors", "status": "True", "message": "Xid 79", "lastTransitionTime": now.isoformat()}
    for name in ("n0", "n1", "n2"):
        sim.api.edit(NODES, None, name, lambda node: node["status"]["conditions"].append(told))
    sim.api.edit(NODES, None, "n0", lambda node: node["metadata"].update(annotations={GPU_ERRORS: errors}))
    await sim.rest(20)
    scrapes.look()
    for name in ("n0", "n1", "n2"):
        sim.stop_node(name)
    sim.api.edit(NODES, None, "n3", lambda node: node["spec"].update(unschedulable=True))
    sim.create(b.training_job("late"))
    await sim.rest(120)
    scrapes.look()


async def lose_sight(sim: Simulation, scrapes: Scrapes) -> None:
    """The watch misses a job until the next complete list, and events cannot be written."""
    sim.api.faults.drop_events(lambda _kind, obj: obj["kind"] == "TrainingJob")
    sim.api.faults.fail(both(verb("create"), on(EVENTS)), 403, times=1)
    sim.create(b.training_job("missed", b.runs(10)))
    await sim.until(sim.is_("Complete", "missed"), 300)
    sim.api.faults.clear()
    scrapes.look()


async def test_every_metric_of_the_operator_is_exercised() -> None:
    async with yard() as sim:
        scrapes = Scrapes(sim)
        for part in (serve, crowd, train, make_way, lose_sight, fall_sick):
            await part(sim, scrapes)
    unused = sorted(each.name for each in ALL if each.family not in scrapes.seen)
    assert unused == sorted(ELSEWHERE)
