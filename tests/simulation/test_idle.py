"""When nothing changes the operator writes nothing; when numbers change it writes seldom."""

import pytest

from tests import builders as b
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.cluster.resources import EVENTS, QUEUES, TRAINING_JOBS
from trainyard.workloads.keys import Key

pytestmark = pytest.mark.looptime


async def test_an_idle_operator_writes_nothing() -> None:
    async with Simulation(nodes=13, gpus=8) as sim:
        done, running = [f"done{n}" for n in range(50)], [f"run{n}" for n in range(50)]
        sim.create(*(b.training_job(name, b.runs(1)) for name in done), *(b.training_job(name) for name in running))
        sim.create(b.inference_service("s", b.replicas(2)), b.training_job("waits", b.gpus(100)))
        await sim.until(lambda: sim.is_("Complete", *done)() and sim.is_("Running", *running)(), 60)
        await sim.rest(45)
        before = len(sim.writes())
        await sim.rest(60)
        assert sim.writes()[before:] == []
        await sim.restart()
        await sim.rest(60)
        # A new operator looks at everything once; the arithmetic in a waiting job's message may be told afresh.
        assert {each.name for each in sim.writes()[before:]} <= {"waits"}
        before = len(sim.writes())
        await sim.rest(60)
        assert sim.writes()[before:] == []


def report(sim: Simulation, name: str, step: int) -> None:
    """What the endpoint does with a report of the trainer."""
    app, job = sim.process.app, sim.job(name)
    body = {"jobUid": job["metadata"]["uid"], "attempt": 1, "phase": "training", "step": step, "totalSteps": 100_000}
    app.look_in(Key("TrainingJob", "team", name), 0 if app.reports.put(body, CLOCK.now()) else 30)


async def test_progress_is_written_at_most_once_in_thirty_seconds() -> None:
    async with Simulation(nodes=2, gpus=8) as sim:
        names = [f"j{number}" for number in range(10)]
        sim.create(*(b.training_job(name) for name in names))
        await sim.until(sim.is_("Running", *names), 20)
        await sim.rest(40)
        before = len(sim.writes(TRAINING_JOBS))
        for second in range(1, 301):
            for name in names:
                report(sim, name, second)
            await sim.rest(1)
        times: dict[str, list[float]] = {}
        for write in sim.writes(TRAINING_JOBS)[before:]:
            times.setdefault(write.name, []).append(write.at)
        for name in names:
            assert 8 <= len(times[name]) <= 11
            gaps = [later - earlier for earlier, later in zip(times[name], times[name][1:], strict=False)]
            assert min(gaps) >= 29.9
            assert sim.status(name)["progress"]["step"] >= 260


async def test_the_reasons_of_many_waiting_jobs_are_written_at_a_bounded_rate() -> None:
    async with Simulation(nodes=1, gpus=1) as sim:
        await sim.until(sim.process.app.read.is_set, 10)
        sim.create(*(b.training_job(f"j{number}") for number in range(200)))
        await sim.rest(30)
        assert all(sim.status(f"j{number}")["reason"] for number in range(200))
        sim.change(QUEUES, "research", None, stopPolicy="Hold")
        await sim.rest(30)
        assert sum(sim.status(f"j{number}")["reason"] == "OnHold" for number in range(200)) == 199
        busiest: dict[int, int] = {}
        for write in sim.writes(TRAINING_JOBS):
            busiest[int(write.at)] = busiest.get(int(write.at), 0) + 1
        assert max(busiest.values()) <= 45  # a full bucket of 20, another 20 in the second, and jobs that start


async def test_events_are_few() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.runs(60)))
        await sim.until(sim.is_("Complete", "a"), 90)
        await sim.rest(10)
        assert len(sim.api.all(EVENTS)) == 3
