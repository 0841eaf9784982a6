"""Hours of a small cluster under the whole operator, in compressed time, and what Prometheus would have scraped of it."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import looptime
from prometheus_client import CollectorRegistry

from tests import builders as b
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.api.training_job import TrainingJob
from trainyard.cluster.resources import INFERENCE_SERVICES, QUEUES
from trainyard.metrics.loop_lag import watch_event_loop
from trainyard.workloads.keys import Key

SCRAPE_SECONDS = 30
_REPORT_SECONDS = 15
_STEPS_A_SECOND = 2.0
_SAVE_EVERY = 1200
"""Steps from one checkpoint to the next: ten minutes."""
ONE_JOB = "llama-0"


@dataclass
class Day:
    """What was scraped. start, end: in Unix time, of the simulated clock."""

    start: float = 0.0
    end: float = 0.0
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join([*self.lines, "# EOF", ""])


def simulated(minutes: int, seed: int = 5) -> Day:
    """The scrapes of so many minutes."""
    day = Day()
    loop = looptime.new_event_loop(start=0.0)
    try:
        loop.run_until_complete(_live(day, minutes, Random(seed)))
    finally:
        loop.close()
    return day


async def _live(day: Day, minutes: int, random: Random) -> None:
    async with Simulation(nodes=6, gpus=8, quota=24) as sim:
        sim.api.put(QUEUES, b.a_queue("all", gpus=0))
        sim.api.put(QUEUES, b.a_queue("production", b.spec(parent="all"), gpus=20))
        sim.change(QUEUES, "research", None, parent="all")
        await sim.rest(1)
        registry = _registry(sim)
        others = [asyncio.create_task(each) for each in (_users(sim, random), _trainers(sim, random), _faults(sim))]
        others.append(asyncio.create_task(watch_event_loop(sim.process.app.ground.metrics.loop_lag)))
        day.start = CLOCK.now().timestamp()
        for _ in range(minutes * 60 // SCRAPE_SECONDS):
            await sim.rest(SCRAPE_SECONDS)
            day.end = CLOCK.now().timestamp()
            day.lines += _scraped(registry, day.end)
        for each in others:
            each.cancel()
        for done in await asyncio.gather(*others, return_exceptions=True):
            if isinstance(done, Exception):
                raise done


def _registry(sim: Simulation) -> CollectorRegistry:
    app = sim.process.app
    registry = app.ground.metrics.registry
    registry.register(app.collector(lambda: True))
    return registry


def _scraped(registry: CollectorRegistry, at: float) -> Iterator[str]:
    for family in registry.collect():
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
                yield f"{sample.name}{{{labels}}} {sample.value} {at:.3f}"


async def _users(sim: Simulation, random: Random) -> None:
    """Jobs come at random; two in seven fail after a while; a service grows after an hour."""
    sim.create(b.training_job(ONE_JOB, b.workers(2), b.gpus(8), b.storage(), b.queue("production")))
    sim.create(b.inference_service("digits", b.replicas(2), b.queue("production"), b.gpus(2)))
    sim.run_gateways("digits")
    grown = CLOCK.monotonic() + 3600
    for number in range(1, 10_000):
        await asyncio.sleep(random.expovariate(1 / 400))
        ends = b.runs(random.uniform(300, 2700), random.choice([0, 0, 0, 0, 0, 137, 1]))
        size = (b.workers(random.choice([1, 2, 4])), b.gpus(random.choice([2, 4, 8])))
        queue = b.queue(random.choice(["research", "research", "production"]))
        sim.create(b.training_job(f"{random.choice(['vit', 'gan', 'mlp'])}-{number}", *size, ends, b.storage(), queue))
        if CLOCK.monotonic() > grown:
            sim.change(INFERENCE_SERVICES, "digits", replicas=4)


async def _faults(sim: Simulation) -> None:
    """A node is lost for good after 70 minutes; another one is slow all the time, see `_trainers`."""
    await asyncio.sleep(70 * 60)
    sim.stop_node("n1")


async def _trainers(sim: Simulation, random: Random) -> None:
    """What the programs of running jobs report."""
    steps: dict[str, float] = {}
    saved: dict[str, int] = {}
    while True:
        await asyncio.sleep(_REPORT_SECONDS)
        for job in sim.process.app.world.of_kind("TrainingJob"):
            assert isinstance(job, TrainingJob)
            name = job.metadata.name
            if job.status.phase != "Running":
                steps[name] = float(saved.get(name, 0))
                continue
            steps[name] = steps.get(name, 0.0) + _REPORT_SECONDS * _STEPS_A_SECOND * random.uniform(0.9, 1.0)
            if steps[name] >= saved.get(name, 0) + _SAVE_EVERY:
                saved[name] = int(steps[name])
            _report(sim, name, job.status.attempt, int(steps[name]), saved.get(name, 0), random)


def _report(sim: Simulation, name: str, attempt: int, step: int, saved: int, random: Random) -> None:
    """What the endpoint does with a report."""
    app = sim.process.app
    with suppress(KeyError):
        pods = sim.pods(name)
        own = [1.8 if pod["spec"].get("nodeName") == "n3" else 1.0 for pod in pods]
        body = {
            "jobUid": sim.job(name)["metadata"]["uid"],
            "attempt": attempt,
            "phase": "training",
            "step": step,
            "totalSteps": 20_000,
            "loss": 3.0 / (1 + step / 800) + random.uniform(0, 0.1),
            "throughput": 640.0 * len(pods) * random.uniform(0.95, 1.05) / max(own, default=1.0),
            "stepsPerSecond": _STEPS_A_SECOND,
            "metrics": {"accuracy": 1 - 0.6 / (1 + step / 1500)},
            "stepSeconds": {"p50": 0.5, "slowest": 0.5 * max(own) + step * 1e-9, "slowestRank": own.index(max(own))},
        }
        if name == ONE_JOB:
            body["checkpointing"] = {
                "everySteps": _SAVE_EVERY,
                "seconds": _SAVE_EVERY / _STEPS_A_SECOND,
                "stallSeconds": 1.3,
                "writeSeconds": 20.0,
                "interruptionSeconds": 30_000.0,
            }
        if saved:
            body["checkpoint"] = {"step": saved, "path": "c"}
        if step > _REPORT_SECONDS:
            body["firstStepAt"] = CLOCK.now().isoformat()
        app.look_in(Key("TrainingJob", b.NAMESPACE, name), 0 if app.reports.put(body, CLOCK.now()) else 30)
