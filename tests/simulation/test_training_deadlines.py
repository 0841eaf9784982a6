"""How long a job may start, run and stay: neither early nor late, and not while it waits or is suspended."""

from collections.abc import Callable

import pytest

from tests import builders as b
from tests.simulation.fake_faults import both, on, verb
from tests.simulation.fake_nodes import Behaviour
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.cluster.resources import PODS, SERVICES, TRAINING_JOBS

pytestmark = pytest.mark.looptime


def gone(sim: Simulation, name: str) -> Callable[[], bool]:
    return lambda: sim.api.get(TRAINING_JOBS, "team", name) is None


async def test_neither_the_queue_nor_a_suspension_counts_as_running() -> None:
    async with Simulation(nodes=1, gpus=1) as sim:
        sim.create(b.training_job("first", b.runs(200)))
        await sim.until(sim.is_("Running", "first"), 10)
        sim.create(b.training_job("a", b.spec(maxRunSeconds=100)))
        await sim.rest(150)
        assert sim.phase("a") == "Pending"
        await sim.until(sim.is_("Running", "a"), 120)
        await sim.rest(60)
        sim.change(TRAINING_JOBS, "a", suspend=True)
        await sim.rest(300)
        assert sim.phase("a") == "Suspended"
        sim.change(TRAINING_JOBS, "a", suspend=False)
        await sim.until(sim.is_("Running", "a"), 30)
        await sim.rest(90)
        assert sim.phase("a") == "Running"
        await sim.until(sim.is_("Failed", "a"), 15)
        assert sim.status("a")["reason"] == "RunTimeExceeded"


async def test_a_job_that_ran_too_long_is_not_restarted_although_it_might_be() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(2), b.max_restarts(3), b.spec(maxRunSeconds=50)))
        await sim.until(sim.is_("Failed", "a"), 80)
        await sim.rest(120)
        status = sim.status("a")
        assert (status["phase"], status["restarts"], status["attempt"]) == ("Failed", 0, 1)
        assert sim.names("a") == []


async def test_a_restart_in_its_place_does_not_begin_the_time_anew() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.spec(maxRunSeconds=100)))
        await sim.until(sim.is_("Running", "a"), 10)
        began = CLOCK.monotonic()
        await sim.rest(60)
        sim.kubelet.finish("team", "a-worker-0-1", 1, "boom")
        await sim.until(sim.is_("Failed", "a"), 60)
        assert 98 < CLOCK.monotonic() - began < 104
        assert sim.status("a")["restarts"] == 1


async def test_a_deadline_may_be_taken_away_and_set_while_a_job_runs() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.spec(maxRunSeconds=100)))
        await sim.until(sim.is_("Running", "a"), 10)
        await sim.rest(80)
        sim.change(TRAINING_JOBS, "a", maxRunSeconds=None)
        await sim.rest(100)
        assert sim.phase("a") == "Running"
        sim.change(TRAINING_JOBS, "a", maxRunSeconds=90)
        await sim.until(sim.is_("Failed", "a"), 10)
        assert "ran longer than 90 s" in sim.message("a", "Failed")


async def test_pods_of_a_job_that_ran_too_long_are_stopped_although_deleting_fails_at_first() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(2), b.spec(maxRunSeconds=50)))
        await sim.until(sim.is_("Running", "a"), 10)
        fault = sim.api.faults.fail(both(on(PODS), verb("delete")), 500, times=30)
        await sim.rest(50)
        assert sim.phase("a") == "Suspending"
        await sim.until(sim.is_("Failed", "a"), 600)
        assert fault.hits == 30
        assert sim.names("a") == []


async def test_the_time_to_start_is_that_in_the_place_and_not_in_the_queue() -> None:
    async with Simulation(nodes=1, gpus=1) as sim:
        sim.kubelet.behave = lambda pod: Behaviour(start=55 if "a-worker" in pod["metadata"]["name"] else 1, run=100)
        sim.create(b.training_job("first"))
        await sim.until(sim.is_("Running", "first"), 10)
        sim.create(b.training_job("a", b.spec(startDeadlineSeconds=60)))
        await sim.until(sim.is_("Running", "a"), 200)
        assert sim.status("a")["attempt"] == 1


@pytest.mark.parametrize(("start", "attempt"), [(58, 1), (62, 2)])
async def test_a_gang_that_starts_just_in_time_is_left_alone(start: float, attempt: int) -> None:
    async with Simulation(nodes=1, gpus=2) as sim:
        sim.kubelet.behave = lambda pod: Behaviour(start=start if pod["metadata"]["name"].endswith("1-1") else 1)
        sim.create(b.training_job("a", b.workers(2), b.spec(startDeadlineSeconds=60)))
        await sim.rest(75)
        assert sim.status("a")["attempt"] == attempt
        await sim.until(sim.is_("Running", "a"), 360)


async def test_a_job_that_goes_at_once_leaves_nothing_and_is_not_made_again() -> None:
    async with Simulation() as sim:
        sim.create(
            b.training_job("a", b.workers(2), b.runs(5), b.ttl(0)), b.training_job("b", b.runs(5, code=64), b.ttl(0))
        )
        await sim.until(lambda: gone(sim, "a")() and gone(sim, "b")(), 30)
        await sim.rest(5)
        before = len(sim.writes(TRAINING_JOBS, PODS, SERVICES))
        await sim.rest(120)
        assert sim.writes(TRAINING_JOBS, PODS, SERVICES)[before:] == []
        assert gone(sim, "a")()
        assert sim.names("a", alive=False) == sim.names("b", alive=False) == []
        assert sim.api.get(SERVICES, "team", "a-workers") is None


async def test_the_time_to_live_begins_when_the_job_is_over() -> None:
    async with Simulation(nodes=1, gpus=1) as sim:
        sim.create(b.training_job("a", b.ttl(10)))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.create(b.training_job("waits", b.ttl(10)), b.training_job("rests", b.ttl(10), b.suspended()))
        await sim.rest(120)
        assert [sim.phase(name) for name in ("a", "waits", "rests")] == ["Running", "Pending", "Suspended"]


async def test_a_job_whose_time_to_live_is_over_goes_although_deleting_fails_at_first() -> None:
    async with Simulation() as sim:
        fault = sim.api.faults.fail(both(on(TRAINING_JOBS), verb("delete")), 500, times=20)
        sim.create(b.training_job("a", b.runs(5), b.ttl(10)))
        await sim.until(gone(sim, "a"), 600)
        assert fault.hits == 20
