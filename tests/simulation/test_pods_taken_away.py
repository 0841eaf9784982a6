"""Pods that somebody else takes away: the kubelet, a drain, a person. The others wait, and it is counted once."""

import pytest

from tests import builders as b
from tests.simulation.operator_sim import Simulation
from trainyard.cluster.resources import PODS, TRAINING_JOBS

pytestmark = pytest.mark.looptime


@pytest.mark.fault(61)
async def test_a_worker_that_is_deleted_in_order_is_replaced_alone() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(3), b.max_restarts(1)))
        await sim.until(sim.is_("Running", "a"), 10)
        before = [pod["metadata"]["uid"] for pod in sim.pods("a")]
        await sim.delete(PODS, "a-worker-1-1")
        await sim.until(lambda: sim.status("a")["restarts"] == 1 and sim.phase("a") == "Running", 30)
        assert [pod["metadata"]["uid"] in before for pod in sim.pods("a")] == [True, False, True]
        assert (sim.status("a")["attempt"], sim.status("a")["disruptions"]) == (1, 1)
        assert "deleted by somebody else" in sim.status("a")["lastRestart"]["cause"]


async def test_when_all_workers_are_deleted_one_after_the_other_the_gang_restarts_whole() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(3)))
        await sim.until(sim.is_("Running", "a"), 10)
        for index in (1, 2, 0):
            await sim.delete(PODS, f"a-worker-{index}-1")
            await sim.rest(0.2)
        await sim.until(lambda: sim.status("a")["attempt"] == 2 and sim.phase("a") == "Running", 60)
        assert sim.names("a") == ["a-worker-0-2", "a-worker-1-2", "a-worker-2-2"]
        assert sim.status("a")["restarts"] == sim.status("a")["disruptions"]


async def test_a_suspended_job_does_not_take_the_end_of_its_pods_for_a_loss() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(3)))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.change(TRAINING_JOBS, "a", suspend=True)
        await sim.until(lambda: sim.pods("a") == [], 30)
        sim.change(TRAINING_JOBS, "a", suspend=False)
        await sim.until(sim.is_("Running", "a"), 30)
        assert sim.status("a")["restarts"] == 0
