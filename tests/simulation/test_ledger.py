"""The ledger and the budget of jobs, with the whole operator: through failures, restarts of the operator, and the end of a budget."""

from datetime import datetime
from typing import Any

import pytest

from tests import builders as b
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.api.ledger import Ledger
from trainyard.cluster.resources import TRAINING_JOBS
from trainyard.workloads.keys import Key

pytestmark = pytest.mark.looptime


def ledger(sim: Simulation, name: str) -> Ledger:
    return Ledger.model_validate(sim.status(name)["ledger"])


def spent(sim: Simulation, name: str) -> dict[str, float]:
    """Seconds by category until now, or until the job's end: as many as it is old."""
    created = datetime.fromisoformat(sim.job(name)["metadata"]["creationTimestamp"])
    end = sim.status(name)["completionTime"]
    seconds = ledger(sim, name).until(CLOCK.now())
    age = ((datetime.fromisoformat(end) if end else CLOCK.now()) - created).total_seconds()
    assert sum(seconds.values()) == pytest.approx(age, abs=1e-3)
    return seconds


def report(sim: Simulation, name: str, step: int, **body: Any) -> None:
    """What the endpoint does with a report of the trainer."""
    app, job = sim.process.app, sim.job(name)
    attempt = job["status"].get("attempt", 1)
    body |= {"jobUid": job["metadata"]["uid"], "attempt": attempt, "step": step, "totalSteps": 1000}
    app.look_in(Key("TrainingJob", "team", name), 0 if app.reports.put(body, CLOCK.now()) else 30)


async def test_a_ledger_adds_up_through_failures_suspension_and_restarts_of_the_operator() -> None:
    async with Simulation(nodes=1, gpus=2) as sim:
        sim.create(b.training_job("first", b.gpus(2), b.runs(20)))
        await sim.until(sim.is_("Running", "first"), 10)
        sim.create(b.training_job("a", b.gpus(2), b.storage()))
        await sim.until(sim.is_("Running", "a"), 60)
        assert spent(sim, "a")["queued"] == pytest.approx(20, abs=3)
        began = CLOCK.now()
        report(sim, "a", 10, phase="training", firstStepAt=began.isoformat())
        await sim.rest(40)
        report(sim, "a", 400, phase="checkpointing", firstStepAt=began.isoformat(), spent={"saving": 4.0})
        await sim.rest(5)
        report(sim, "a", 410, phase="training", checkpoint={"step": 400, "path": "c"}, spent={"saving": 4.5})
        await sim.rest(35)
        assert spent(sim, "a")["saving"] == 4.5
        assert spent(sim, "a")["productive"] > 70
        await sim.restart()
        await sim.rest(20)
        sim.kubelet.finish("team", "a-worker-0-1", 137)
        await sim.until(lambda: sim.status("a")["attempt"] == 2 and sim.phase("a") == "Running", 30)
        assert ledger(sim, "a").current == "recovering"
        await sim.rest(10)
        report(sim, "a", 401, phase="training", restoredStep=400, firstStepAt=CLOCK.now().isoformat())
        await sim.until(lambda: ledger(sim, "a").current == "productive", 31)
        seconds = spent(sim, "a")
        assert seconds["recovering"] == pytest.approx(12, abs=3)
        assert 40 < seconds["lostWork"] < 70
        sim.change(TRAINING_JOBS, "a", suspend=True)
        await sim.until(sim.is_("Suspended", "a"), 10)
        await sim.rest(100)
        sim.change(TRAINING_JOBS, "a", suspend=False)
        await sim.until(sim.is_("Running", "a"), 20)
        assert spent(sim, "a")["suspended"] == pytest.approx(100, abs=2)
        sim.kubelet.finish("team", sim.names("a")[0])
        await sim.until(sim.is_("Complete", "a"), 20)
        closed = spent(sim, "a")
        await sim.rest(60)
        assert spent(sim, "a") == closed


async def test_a_job_is_warned_stopped_at_its_budget_and_goes_on_when_it_is_raised() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("a", b.gpus(8), b.spec(budget={"maxGPUHours": 0.2})))
        await sim.until(sim.is_("Running", "a"), 10)
        held = datetime.fromisoformat(sim.status("a")["admission"]["time"])
        await sim.until(lambda: "BudgetLow" in sim.events("a"), 90)
        assert (CLOCK.now() - held).total_seconds() == pytest.approx(0.16 * 3600 / 8, abs=2)
        await sim.until(sim.is_("Suspended", "a"), 60)
        status = sim.status("a")
        assert status["reason"] == "BudgetExhausted"
        assert 0.2 <= status["ledger"]["gpuHours"] < 0.2 + 8 * 2 / 3600
        assert "raise it and the job goes on" in sim.message("a", "Suspended")
        sim.create(b.training_job("other", b.gpus(8), b.runs(30)))
        await sim.until(sim.is_("Running", "other"), 10)
        written = len(sim.writes(TRAINING_JOBS))
        await sim.rest(20)
        assert len(sim.writes(TRAINING_JOBS)) == written, "nothing changes while it waits for its owner"
        await sim.until(sim.is_("Complete", "other"), 60)
        await sim.rest(20)
        assert sim.pods("a") == []
        sim.change(TRAINING_JOBS, "a", budget={"maxGPUHours": 1})
        await sim.until(sim.is_("Running", "a"), 20)
        assert sim.status("a")["restarts"] == 0
        assert sim.events("a").count("BudgetLow") == 1


async def test_a_resize_counts_the_gpus_of_each_size_for_its_time() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("wide", b.elastic(2, 8), b.priority(-1)))
        await sim.until(sim.is_("Running", "wide"), 10)
        first = datetime.fromisoformat(sim.status("wide")["admission"]["time"])
        await sim.rest(100)
        sim.create(b.training_job("new", b.gpus(6), b.priority(1)))
        await sim.until(lambda: sim.status("wide")["gpus"] == 2 and sim.phase("wide") == "Running", 60)
        second = datetime.fromisoformat(sim.status("wide")["admission"]["time"])
        await sim.rest(50)
        found = ledger(sim, "wide")
        held = 8 * (second - first).total_seconds() + 2 * (found.since - second).total_seconds()
        assert found.gpu_hours * 3600 == pytest.approx(held, abs=1e-3)
