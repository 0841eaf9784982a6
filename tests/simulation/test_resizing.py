"""Elastic jobs that grow and shrink in the pods that they have, as their trainers tell of it."""

from typing import Any

import pytest

from tests import builders as b
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.api.names import CHECKPOINT_REQUESTED
from trainyard.cluster.resources import PODS, TRAINING_JOBS
from trainyard.workloads.keys import Key

pytestmark = pytest.mark.looptime


def _report(
    sim: Simulation, workers: int, *, round_: int = 1, step: int = 10, more: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """As rank 0 does; returns the commands in the reply."""
    status, app = sim.status("wide"), sim.process.app
    body: dict[str, Any] = {"jobUid": sim.job("wide")["metadata"]["uid"], "attempt": status["attempt"]}
    body |= {"phase": "training", "step": step, "worldSize": workers, **(more or {})}
    if round_ > 1:
        body["restarted"] = {"round": round_, "index": 0, "exitCode": 75, "cause": "stopped", "counts": False}
    app.look_in(Key("TrainingJob", "team", "wide"), 0 if app.reports.put(body, CLOCK.now()) else 30)
    job = app.world.get(Key("TrainingJob", "team", "wide"))
    return app.reports.answer(job)  # type: ignore[arg-type]


def _running(sim: Simulation) -> int:
    return sum(pod.get("status", {}).get("phase") == "Running" for pod in sim.pods("wide"))


def _uids(sim: Simulation) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in sim.pods("wide")}


async def _growing(sim: Simulation) -> dict[str, str]:
    """A job of five workers that three others are about to join; returns the pods of the five."""
    sim.create(b.training_job("short", b.gpus(3), b.runs(400)))
    await sim.until(sim.is_("Running", "short"), 10)
    sim.create(b.training_job("wide", b.elastic(2, 8), b.storage()))
    await sim.until(sim.is_("Running", "wide"), 10)
    before = _uids(sim)
    assert len(before) == 5
    _report(sim, 5)
    await sim.until(lambda: sim.status("wide").get("resizing"), 3000)
    return before


async def test_a_job_grows_while_those_that_train_keep_their_pods() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        before = await _growing(sim)
        await sim.until(lambda: _running(sim) == 8, 60)
        assert sim.phase("wide") == "Running"
        joins = [
            pod["spec"]["containers"][0]["env"] for pod in sim.pods("wide") if pod["metadata"]["name"] not in before
        ]
        assert all({"name": "TRAINYARD_JOINS", "value": "1"} in env for env in joins)
        assert _report(sim, 5, step=20) == [{"workers": 8}]
        _report(sim, 8, round_=2, step=25)
        await sim.until(lambda: sim.status("wide").get("resizing") is None, 60)
        await sim.rest(40)
        status = sim.status("wide")
        assert (status["attempt"], status["restarts"], status["gpus"]) == (1, 0, 8)
        assert before.items() <= _uids(sim).items()
        assert sim.events("wide") == ["Admitted", "Running", "Resized", "Resized"]


async def test_a_job_shrinks_while_those_that_stay_keep_their_pods() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("wide", b.elastic(2, 8), b.storage()))
        await sim.until(sim.is_("Running", "wide"), 10)
        before = _uids(sim)
        _report(sim, 8)
        sim.create(b.training_job("new", b.gpus(5), b.runs(300)))
        await sim.until(sim.is_("Running", "new"), 60)
        assert (sim.phase("wide"), len(sim.names("wide"))) == ("Running", 3)
        assert _report(sim, 8) == [{"workers": 3}]
        _report(sim, 3, round_=2, step=25)
        await sim.until(lambda: sim.status("wide").get("resizing") is None, 60)
        status = sim.status("wide")
        assert (status["attempt"], status["restarts"], status["preemptions"], status["gpus"]) == (1, 0, 1, 3)
        assert status.get("preemption") is None
        assert _uids(sim).items() <= before.items()


@pytest.mark.parametrize("trouble", ["never taken in", "one fails", "their node is lost", "one is deleted"])
async def test_a_job_that_cannot_grow_goes_on_undisturbed(trouble: str) -> None:
    async with Simulation(nodes=1 if trouble != "their node is lost" else 6, gpus=8) as sim:
        before = await _growing(sim) if trouble != "their node is lost" else await _growing_elsewhere(sim)
        await sim.until(lambda: _running(sim) > len(before), 60)
        joiner = next(pod for pod in sim.pods("wide") if pod["metadata"]["name"] not in before)
        if trouble == "one fails":
            sim.kubelet.finish("team", joiner["metadata"]["name"], 1, "no such file")
        elif trouble == "their node is lost":
            sim.stop_node(joiner["spec"]["nodeName"])
        elif trouble == "one is deleted":
            await sim.delete(PODS, joiner["metadata"]["name"])
        await sim.until(lambda: sim.status("wide").get("resizing") is None, 900)
        await sim.until(lambda: _uids(sim) == before, 60)
        status = sim.status("wide")
        assert (sim.phase("wide"), status["attempt"], status["restarts"]) == ("Running", 1, 0)
        assert status["gpus"] == len(before)


async def _growing_elsewhere(sim: Simulation) -> dict[str, str]:
    """The same, of a job on one node whose others are to join on another one."""
    for number in range(5):
        sim.create(b.training_job(f"short-{number}", b.gpus(8), b.runs(400)))
    await sim.until(sim.is_("Running", *(f"short-{number}" for number in range(5))), 20)
    sim.create(b.training_job("wide", b.elastic(8, 16), b.storage()))
    await sim.until(sim.is_("Running", "wide"), 10)
    before = _uids(sim)
    _report(sim, 8)
    await sim.until(lambda: sim.status("wide").get("resizing"), 3000)
    return before


async def test_a_job_that_ends_while_others_are_to_join_is_complete() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        before = await _growing(sim)
        for name in before:
            sim.kubelet.finish("team", name, 0)
        await sim.until(sim.is_("Complete", "wide"), 60)
        await sim.until(lambda: sim.names("wide") == [], 60)


@pytest.mark.fault(2)
async def test_an_operator_that_starts_anew_while_a_job_grows_goes_on_with_it() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        before = await _growing(sim)
        await sim.restart()
        await sim.until(lambda: _running(sim) == 8, 60)
        _report(sim, 8, round_=2, step=25)
        await sim.until(lambda: sim.status("wide").get("resizing") is None, 60)
        assert before.items() <= _uids(sim).items()
        assert sim.status("wide")["attempt"] == 1


async def test_a_program_of_the_users_own_restarts_to_grow() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        own = b.spec(model=None, dataset=None, entrypoint={"command": ["python", "mine.py"]})
        sim.create(b.training_job("short", b.gpus(3), b.runs(400)))
        await sim.until(sim.is_("Running", "short"), 10)
        sim.create(b.training_job("wide", b.elastic(2, 8), b.storage(), own))
        await sim.until(sim.is_("Running", "wide"), 10)
        _report(sim, 5)
        await sim.until(lambda: sim.status("wide")["attempt"] == 2 and len(sim.names("wide")) == 8, 3000)


async def test_a_checkpoint_that_somebody_wants_is_ordered_until_there_is_one() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("wide", b.storage()))
        await sim.until(sim.is_("Running", "wide"), 10)
        saved = {"checkpoint": {"step": 5, "path": "c/5"}}
        assert _report(sim, 1, more=saved) == []

        def ask(value: str) -> None:
            def edit(job: dict[str, Any]) -> None:
                job["metadata"].setdefault("annotations", {})[CHECKPOINT_REQUESTED] = value

            sim.api.edit(TRAINING_JOBS, "team", "wide", edit)

        for number in (1, 2):
            ask(f"now-{number}")
            await sim.rest(1)
            assert _report(sim, 1, more=saved) == _report(sim, 1, more=saved) == [{"checkpoint": True}]
            saved = {"checkpoint": {"step": 5 + number, "path": "c"}}
            assert _report(sim, 1, more=saved) == _report(sim, 1, more=saved) == []
