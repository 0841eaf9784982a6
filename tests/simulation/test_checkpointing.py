"""Checkpoints that the trainer times, with the whole operator: what it is told of its gang, what it says, and what is learned of it."""

import pytest

from tests import builders as b
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.api.training_job import TrainingJob
from trainyard.cluster.resources import TRAINING_JOBS, Object
from trainyard.nodes.interruptions import PUBLISHED
from trainyard.workloads.keys import Key

pytestmark = pytest.mark.looptime
AUTO = b.spec(training={"checkpointEverySteps": "auto"})
DECIDED = {"everySteps": 420, "seconds": 661.0, "stallSeconds": 1.3, "writeSeconds": 41.0, "interruptionSeconds": 1e6}


def expected(sim: Simulation, name: str) -> list[float]:
    """Seconds between interruptions, as the environments of the job's pods have it."""
    containers = [pod["spec"]["containers"][0] for pod in sim.pods(name)]
    told = ({each["name"]: each["value"] for each in container["env"]} for container in containers)
    return [float(env["TRAINYARD_INTERRUPTION_SECONDS"]) for env in told if "TRAINYARD_INTERRUPTION_SECONDS" in env]


def report(sim: Simulation, name: str, step: int, **more: object) -> None:
    """What the endpoint does with it."""
    app, job = sim.process.app, sim.job(name)
    body: Object = {"jobUid": job["metadata"]["uid"], "attempt": job["status"].get("attempt", 1), "phase": "training"}
    body |= {"step": step, "firstStepAt": CLOCK.now().isoformat(), "checkpoint": {"step": step, "path": "c"}, **more}
    app.look_in(Key("TrainingJob", b.NAMESPACE, name), 0 if app.reports.put(body, CLOCK.now()) else 30)


async def test_a_gang_is_told_how_often_it_is_interrupted_and_learns_from_its_own_restarts() -> None:
    async with Simulation(nodes=2, gpus=8) as sim:
        sim.create(b.training_job("a", b.workers(2), b.gpus(8), b.storage(), b.max_restarts(9), AUTO))
        sim.create(b.training_job("fixed", b.storage(), b.spec(training={"checkpointEverySteps": 50})))
        await sim.until(sim.is_("Running", "a"), 30)
        first = expected(sim, "a")
        assert first == [pytest.approx(3600 / (16 * PUBLISHED), rel=1e-6)] * 2
        assert expected(sim, "fixed") == []
        for restart in range(1, 4):
            report(sim, "a", 100 * restart)
            await sim.rest(600)
            report(sim, "a", 100 * restart + 50)
            await sim.rest(60)
            sim.kubelet.finish(b.NAMESPACE, sim.names("a")[0], exit_code=1)
            await sim.until(lambda: sim.status("a")["restarts"] == restart and sim.phase("a") == "Running", 120)  # noqa: B023
        now = expected(sim, "a")
        assert now == [pytest.approx(first[0] / 2, rel=0.01)] * 2, "three of its own, beside as many expected"


def answered(sim: Simulation, name: str) -> list[float]:
    """Seconds between interruptions, as the answer to the newest report has it."""
    app = sim.process.app
    job = app.world.get(Key("TrainingJob", b.NAMESPACE, name))
    assert isinstance(job, TrainingJob)
    told = (each.get("interruptionSeconds") for each in app.reports.answer(job))
    return [each for each in told if each is not None]


async def test_a_gang_that_grows_in_its_place_is_told_how_often_it_is_interrupted_now() -> None:
    async with Simulation(nodes=4, gpus=1) as sim:
        sim.create(b.training_job("other", b.workers(2)))
        await sim.until(sim.is_("Running", "other"), 30)
        sim.create(b.training_job("a", b.elastic(2, 4), b.storage(), AUTO))
        await sim.until(sim.is_("Running", "a"), 30)
        report(sim, "a", 10, worldSize=2)
        small = 3600 / (2 * PUBLISHED)
        assert answered(sim, "a") == [pytest.approx(small, rel=0.01)]
        pods = [pod["metadata"]["uid"] for pod in sim.pods("a")]
        await sim.delete(TRAINING_JOBS, "other")
        await sim.until(lambda: len(sim.pods("a")) == 4, 3000)
        report(sim, "a", 20, worldSize=2)
        await sim.rest(1)
        assert {pod["metadata"]["uid"] for pod in sim.pods("a")} > set(pods)
        assert answered(sim, "a") == [pytest.approx(small / 2, rel=0.05)]


async def test_how_often_a_trainer_saves_stands_in_the_status_in_words() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("a", b.gpus(8), b.storage(), AUTO))
        await sim.until(sim.is_("Running", "a"), 30)
        report(sim, "a", 10)
        await sim.rest(60)
        assert "checkpointing" not in sim.status("a")["progress"] or not sim.status("a")["progress"]["checkpointing"]
        report(sim, "a", 20, checkpointing=DECIDED)
        await sim.until(lambda: sim.status("a")["progress"].get("checkpointing"), 60)
        told = sim.status("a")["progress"]["checkpointing"]
        assert told["why"].startswith("every 420 steps (11 min): a checkpoint holds training up for 1.3 s")
        assert (told["everySteps"], told["interruptionSeconds"]) == (420, 1e6)
