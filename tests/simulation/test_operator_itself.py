"""What befalls the operator itself: a clock that jumps, other versions, kinds that vanish, objects without end or sense."""

import asyncio
from datetime import timedelta

import pytest

from tests import builders as b
from tests.simulation.fake_faults import on
from tests.simulation.journeys import JOURNEYS, undisturbed
from tests.simulation.operator_sim import CLOCK, Simulation
from tests.simulation.oracles import end_state, judge, running
from trainyard.cluster.resources import EVENTS, INFERENCE_SERVICES, PODS, QUEUES, TRAINING_JOBS, Object

pytestmark = pytest.mark.looptime


@pytest.mark.fault(25)
@pytest.mark.parametrize("journey", ["job", "deletion"])
async def test_a_clock_that_jumps_back_changes_nothing_in_the_end(journey: str) -> None:
    expected, _ = await undisturbed(journey)
    async with Simulation() as sim:
        await sim.until(sim.process.app.read.is_set, 10)
        life = asyncio.create_task(JOURNEYS[journey](sim))
        await asyncio.sleep(4)
        sim.clock.off = timedelta(hours=-1)
        await life
        assert end_state(sim) == expected
        await judge(sim)
        for each in sim.api.all(TRAINING_JOBS):
            spent = sim.status(each["metadata"]["name"])["ledger"]
            assert not [value for value in numbers(spent) if value < 0], spent


@pytest.mark.fault(25)
@pytest.mark.parametrize("hours", [-1.0, -0.05, 0.05, 1.0])
async def test_a_clock_that_differs_from_the_api_servers_undoes_no_start_and_tells_no_negative_time(
    hours: float,
) -> None:
    """Pods then come from the future, or have waited for minutes when they are made."""
    async with Simulation(nodes=2, gpus=4) as sim:
        sim.clock.off = timedelta(hours=hours)
        await sim.until(sim.process.app.read.is_set, 10)
        sim.create(b.training_job("fails", b.runs(5, 1), b.max_restarts(2)), b.training_job("gang", b.workers(2)))
        sim.create(b.inference_service("s"), b.training_job("ends", b.runs(30)))
        await sim.until(lambda: sim.phase("fails") == "Failed" and sim.served("s")["phase"] == "Ready", 120)
        await sim.until(sim.is_("Complete", "ends"), 60)
        assert sim.status("fails")["reason"] == "RestartLimitExceeded"
        assert (sim.phase("gang"), sim.status("gang")["attempt"]) == ("Running", 1)
        for each in (*sim.api.all(TRAINING_JOBS), *sim.api.all(INFERENCE_SERVICES), *sim.api.all(QUEUES)):
            assert not [value for value in numbers(each["status"]) if value < 0], each
        await judge(sim)


def numbers(value: object) -> list[float]:
    """All numbers somewhere in it."""
    if isinstance(value, dict):
        return [each for part in value.values() for each in numbers(part)]
    if isinstance(value, list):
        return [each for part in value for each in numbers(part)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.fault(27)
async def test_what_a_newer_operator_wrote_into_a_status_stays() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.runs(30)), b.inference_service("s"))
        await sim.until(sim.is_("Running", "a"), 20)
        for kind, name in ((TRAINING_JOBS, "a"), (INFERENCE_SERVICES, "s")):
            sim.api.edit(kind, "team", name, lambda obj: obj["status"].update(ofTomorrow={"kept": True}))
        await sim.restart()
        await sim.until(lambda: sim.phase("a") == "Complete" and sim.served("s")["phase"] == "Ready", 60)
        for kind, name in ((TRAINING_JOBS, "a"), (INFERENCE_SERVICES, "s")):
            stored = sim.api.get(kind, "team", name)
            assert stored is not None
            assert stored["status"]["ofTomorrow"] == {"kept": True}
        await judge(sim)


@pytest.mark.fault(28)
async def test_a_status_of_an_older_operator_is_filled_with_defaults() -> None:
    kept = {"phase", "attempt", "admission", "conditions", "observedGeneration"}
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.runs(60)))
        await sim.until(sim.is_("Running", "a"), 20)
        alive = running(sim)
        await sim.process.stop()
        old = {key: value for key, value in sim.job("a")["status"].items() if key in kept}
        sim.api.edit(TRAINING_JOBS, "team", "a", lambda obj: obj.update(status=old))
        await sim.start()
        await sim.rest(20)
        assert running(sim) == alive
        await sim.until(sim.is_("Complete", "a"), 90)
        await judge(sim)


@pytest.mark.fault(30)
async def test_a_kind_that_is_gone_for_a_while_costs_only_its_own_objects() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a"), b.inference_service("s"))
        await sim.until(lambda: sim.phase("a") == "Running" and sim.served("s").get("phase") == "Ready", 30)
        sim.api.faults.fail(on(INFERENCE_SERVICES), 404, times=None, reason="NotFound")
        sim.api.remove(INFERENCE_SERVICES, "team", "s")
        sim.api.faults.break_watches()
        await sim.rest(400)
        sim.create(b.training_job("b"))
        await sim.until(sim.is_("Running", "a", "b"), 30)
        assert len(sim.processes) == 1
        sim.api.faults.clear()
        sim.create(b.inference_service("t"))
        await sim.until(lambda: sim.served("t").get("phase") == "Ready", 240)
        await sim.rest(200)
        await judge(sim)


@pytest.mark.fault(38)
async def test_an_object_that_makes_no_sense_is_tried_ever_more_seldom_and_holds_up_nobody() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("odd"))
        await sim.until(sim.is_("Running", "odd"), 20)
        nonsense = [{"name": "nobody", "runs": [{"node": "n0", "count": 1}]}]
        sim.api.edit(TRAINING_JOBS, "team", "odd", lambda obj: obj["status"]["admission"].update(roles=nonsense))
        sim.api.remove(PODS, "team", "odd-worker-0-1")
        sim.api.put(TRAINING_JOBS, _unreadable("none"))
        await sim.rest(300)
        sim.create(b.training_job("a", b.runs(5)), b.inference_service("s"))
        await sim.until(lambda: sim.phase("a") == "Complete" and sim.served("s").get("phase") == "Ready", 30)
        errors = {"kind": "TrainingJob", "result": "error"}
        times = sim.process.app.ground.metrics.registry.get_sample_value("trainyard_reconcile_total", errors)
        assert times is not None
        assert 3 <= times <= 15


def _unreadable(name: str) -> Object:
    job = b.training_job(name)
    job["spec"]["workers"] = "several"
    return job


@pytest.mark.slow
@pytest.mark.fault(36, 37)
async def test_with_more_than_a_thousand_jobs_what_fits_runs_and_a_killed_operator_is_steady_within_a_minute() -> None:
    async with Simulation(nodes=10, gpus=8) as sim:
        names = [f"j{number}" for number in range(1200)]
        sim.create(*(b.training_job(name) for name in names))
        await sim.until(lambda: len(running(sim)) == 80, 60, step=2)
        await sim.until(lambda: all(sim.job(name).get("status", {}).get("reason") for name in names), 90, step=10)
        events, alive = len(sim.api.all(EVENTS)), running(sim)
        assert events < 3 * len(names)
        asked, killed = len(sim.api.requests), CLOCK.monotonic()
        await sim.restart()
        await sim.until(sim.process.app.read.is_set, 30)
        pages = [each for each in sim.api.requests[asked:] if each.verb == "list"]
        assert max(int(each.query["limit"]) for each in pages) <= 500
        assert len([each for each in pages if each.resource == TRAINING_JOBS]) >= 3
        for name in sim.names("j0"):
            sim.kubelet.finish("team", name)
        await sim.until(lambda: len(running(sim)) == 80 and sim.phase("j0") == "Complete", 60)
        assert CLOCK.monotonic() - killed < 60
        assert len(alive & running(sim)) == 79
        assert len(sim.api.all(EVENTS)) - events < 20
