"""Each interruption of a job leaves one record, whatever struck, and also when the operator is killed in it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests import builders as b
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.api.incident import Incident
from trainyard.cluster.resources import CONFIG_MAPS, PODS, TRAINING_JOBS, Object
from trainyard.workloads.keys import Key
from trainyard.workloads.known_nodes import LOST_SECONDS

pytestmark = pytest.mark.looptime


def incidents(sim: Simulation, name: str = "a") -> list[Incident]:
    return [Incident.model_validate(each) for each in sim.status(name).get("incidents", ())]


def report(sim: Simulation, step: int, **body: Any) -> None:
    """What the endpoint does with a report of the trainer."""
    app, job = sim.process.app, sim.job("a")
    body |= {
        "jobUid": job["metadata"]["uid"],
        "attempt": job["status"].get("attempt", 1),
        "step": step,
        "totalSteps": 1000,
    }
    app.look_in(Key("TrainingJob", "team", "a"), 0 if app.reports.put(body, CLOCK.now()) else 30)


async def trains(sim: Simulation, *modifiers: b.Modifier) -> None:
    """Runs, has made 110 steps, and a checkpoint of step 100 is on the claim."""
    sim.create(b.training_job("a", b.storage(), *modifiers))
    await sim.until(sim.is_("Running", "a"), 60)
    began = CLOCK.now().isoformat()
    report(sim, 10, phase="training", firstStepAt=began)
    await sim.rest(40)
    report(sim, 110, phase="training", firstStepAt=began, checkpoint={"step": 100, "path": "c"})
    await sim.rest(40)


async def works_again(sim: Simulation, **body: Any) -> Incident:
    """The first step after the checkpoint is made five seconds after all pods run."""
    await sim.until(sim.is_("Running", "a"), 90)
    await sim.rest(5)
    report(sim, 101, phase="training", restoredStep=100, firstStepAt=CLOCK.now().isoformat(), **body)
    await sim.until(lambda: incidents(sim)[-1].outcome != "Open", 60)
    (found,) = incidents(sim)
    assert (found.outcome, found.step, found.lost_steps) == ("Recovered", 110, 10)
    assert found.fault_at <= found.detected_at <= found.recovered_at  # type: ignore[operator]
    assert found.lost_gpu_seconds > 0
    return found


def told(round_: int, code: int, cause: str, ago: float, *, counts: bool = True) -> Object:
    at = CLOCK.now() - timedelta(seconds=ago)
    return {
        "restarted": {"round": round_, "index": 1, "exitCode": code, "cause": cause, "at": at.timestamp()}
        | ({} if counts else {"counts": False})
    }


def seconds(first: datetime, then: datetime | None) -> float:
    assert then is not None
    return (then - first).total_seconds()


async def test_a_process_that_is_killed_is_started_again_in_its_pod() -> None:
    async with Simulation() as sim:
        await trains(sim, b.workers(2), b.gpus(1))
        died = told(2, 137, "killed by signal 9", 1.0)
        report(sim, 0, phase="starting", **died)
        await sim.rest(1)
        found = await works_again(sim, **died)
        assert (found.cause, found.scope, found.pod) == ("UserError", "Program", "a-worker-1-1")
        assert found.detected_at == found.fault_at, "its agent sees it at once"
        assert seconds(found.fault_at, found.recovered_at) == pytest.approx(7, abs=1)
        assert found.replaced_at is None


async def test_a_hang_is_dated_back_to_the_last_step_and_points_to_the_stacks() -> None:
    async with Simulation() as sim:
        await trains(sim, b.workers(2), b.gpus(1))
        await sim.rest(30)
        hung = told(2, 77, "hang: no step for 60 s; rank 1 is in its data loader", 1.0)
        report(sim, 0, phase="starting", spent={"hang": 60.0}, **hung)
        await sim.rest(1)
        found = await works_again(sim, spent={"hang": 60.0}, **hung)
        assert (found.cause, found.scope) == ("Hang", "Program")
        assert seconds(found.fault_at, found.detected_at) == pytest.approx(60)
        uid = sim.job("a")["metadata"]["uid"]
        assert found.stacks == f"a-{uid[:8]}/stacks/attempt-1-round-1"
        assert found.lost_gpu_seconds > 2 * 60


async def test_a_pod_that_is_lost_is_replaced() -> None:
    async with Simulation() as sim:
        await trains(sim, b.workers(2), b.gpus(1))
        await sim.delete(PODS, "a-worker-1-1")
        await sim.until(lambda: sim.status("a")["restarts"] == 1, 30)
        found = await works_again(sim, **told(2, 75, "its pod went", 5.0, counts=False))
        assert (found.cause, found.scope, found.planned) == ("Infrastructure", "Pods", False)
        assert "deleted by somebody else" in found.message
        assert found.replaced_at is not None


async def test_a_lost_node_is_dated_by_when_it_fell_silent_and_the_place_by_when_it_was_found() -> None:
    async with Simulation(nodes=7) as sim:
        await trains(sim, b.workers(2), b.gpus(5))
        before = CLOCK.now()
        lost = next(pod["spec"]["nodeName"] for pod in sim.pods("a") if pod["metadata"]["name"] == "a-worker-1-1")
        sim.stop_node(lost)
        await sim.until(lambda: sim.status("a")["restarts"] == 1, 60)
        found = await works_again(sim, **told(2, 75, "its pod went", 5.0, counts=False))
        assert (found.cause, found.node, found.scope) == ("Node", lost, "Pods")
        assert seconds(before, found.fault_at) == pytest.approx(0, abs=1.5)
        assert seconds(found.fault_at, found.detected_at) >= LOST_SECONDS, "so long a node may be silent"
        assert seconds(found.detected_at, found.decided_at) >= 0
        assert seconds(found.fault_at, found.replaced_at) > seconds(found.fault_at, found.decided_at)


async def test_a_preemption_is_planned_and_waits_for_its_place() -> None:
    async with Simulation(nodes=1, gpus=4) as sim:
        await trains(sim, b.gpus(4))
        sim.create(b.training_job("urgent", b.gpus(4), b.priority(1), b.runs(60)))
        await sim.until(sim.is_("Running", "urgent"), 30)
        (waiting,) = incidents(sim)
        assert (waiting.cause, waiting.planned, waiting.outcome) == ("Preempted", True, "Open")
        assert (waiting.scope, waiting.decided_at) == ("Place", None)
        await sim.until(lambda: sim.phase("a") == "Running", 120)
        await sim.rest(5)
        report(sim, 111, phase="training", restoredStep=110, firstStepAt=CLOCK.now().isoformat())
        await sim.until(lambda: incidents(sim)[-1].outcome == "Recovered", 60)
        (found,) = incidents(sim)
        assert found.lost_steps == 0
        assert seconds(found.detected_at, found.decided_at) > 55
        assert found.lost_gpu_seconds < 4 * 60, "while it waits it holds nothing"


async def test_an_operator_that_is_killed_in_an_incident_ends_the_same_record() -> None:
    async with Simulation() as sim:
        await trains(sim, b.workers(2), b.gpus(1))
        await sim.delete(PODS, "a-worker-1-1")
        await sim.until(lambda: sim.status("a")["restarts"] == 1, 30, step=0.01)
        await sim.restart()
        found = await works_again(sim, **told(2, 75, "its pod went", 5.0, counts=False))
        assert found.number == 1


async def test_an_incident_costs_no_write_of_its_own() -> None:
    async with Simulation() as sim:
        await trains(sim, b.workers(2), b.gpus(1))
        sim.kubelet.finish("team", "a-worker-0-1", 1, "boom")
        await sim.until(lambda: sim.status("a")["attempt"] == 2 and sim.phase("a") == "Running", 60)
        written = len(sim.writes(TRAINING_JOBS))
        await sim.rest(200)
        assert incidents(sim)[-1].outcome == "Open"
        assert len(sim.writes(TRAINING_JOBS)) == written


async def test_what_struck_a_job_is_remembered_when_it_is_gone_and_by_the_next_operator() -> None:
    async with Simulation() as sim:
        await trains(sim, b.workers(2), b.gpus(1))
        sim.kubelet.finish("team", "a-worker-0-1", 1, "boom")
        await sim.until(lambda: sim.status("a")["attempt"] == 2 and sim.phase("a") == "Running", 60)
        uid = sim.job("a")["metadata"]["uid"]
        await sim.delete(TRAINING_JOBS, "a")
        await sim.until(sim.process.app.incidents.all, 10)
        await sim.rest(310)
        await sim.restart()
        await sim.until(sim.process.app.read.is_set, 20)
        await sim.rest(1)
        (found,) = sim.process.app.incidents.all()
        assert (found.uid, found.job, found.cause, found.outcome) == (uid, "a", "UserError", "Deleted")
        written = len(sim.writes(CONFIG_MAPS))
        await sim.rest(300)
        assert len(sim.writes(CONFIG_MAPS)) == written, "nothing new, no write"
