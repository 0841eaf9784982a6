"""The size of an elastic job: as its owner asks, between its least and its most, and what its pods are told of it."""

import pytest

from tests import builders as b
from tests.simulation.operator_sim import Simulation
from trainyard.cluster.resources import TRAINING_JOBS

pytestmark = pytest.mark.looptime

GROWTH = 3000


def told(sim: Simulation, variable: str) -> set[str]:
    """What the workers' environment says."""
    containers = (pod["spec"]["containers"][0] for pod in sim.pods("a"))
    return {each["value"] for one in containers for each in one["env"] if each["name"] == variable}


async def test_a_job_takes_what_there_is_and_its_pods_know_how_many_they_are() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("other", b.gpus(5)))
        await sim.until(sim.is_("Running", "other"), 10)
        sim.create(b.training_job("a", b.elastic(2, 8)))
        await sim.until(sim.is_("Running", "a"), 10)
        assert (len(sim.names("a")), told(sim, "PET_NNODES"), sim.status("a")["gpus"]) == (3, {"3"}, 3)
        assert sorted(told(sim, "PET_NODE_RANK")) == ["0", "1", "2"]


async def test_below_its_least_size_a_job_waits() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("other", b.gpus(7)))
        await sim.until(sim.is_("Running", "other"), 10)
        sim.create(b.training_job("a", b.elastic(2, 8)))
        await sim.rest(60)
        assert (sim.phase("a"), sim.names("a")) == ("Pending", [])


async def test_a_job_grows_to_what_its_owner_allows_from_its_checkpoint() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("a", b.elastic(1, 2)))
        await sim.until(sim.is_("Running", "a"), 10)
        assert len(sim.names("a")) == 2
        sim.change(TRAINING_JOBS, "a", workers={**sim.job("a")["spec"]["workers"], "replicas": 6})
        await sim.until(lambda: len(sim.names("a")) == 6 and sim.phase("a") == "Running", GROWTH, step=5)
        assert (told(sim, "PET_NNODES"), sim.status("a")["attempt"], sim.status("a")["restarts"]) == ({"6"}, 2, 0)


async def test_a_job_shrinks_when_its_owner_allows_fewer_and_others_get_the_rest() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("a", b.elastic(1, 8)))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.change(TRAINING_JOBS, "a", workers={**sim.job("a")["spec"]["workers"], "replicas": 3})
        await sim.until(lambda: len(sim.names("a")) == 3 and sim.phase("a") == "Running", 60)
        assert (told(sim, "PET_NNODES"), sim.status("a")["gpus"], sim.status("a")["restarts"]) == ({"3"}, 3, 0)
        sim.create(b.training_job("other", b.gpus(5)))
        await sim.until(sim.is_("Running", "other"), 10)
        await sim.rest(60)
        assert len(sim.names("a")) == 3


async def test_a_job_goes_to_no_pods_and_back_by_suspension() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("a", b.elastic(2, 4)))
        await sim.until(sim.is_("Running", "a"), 10)
        sim.change(TRAINING_JOBS, "a", suspend=True)
        await sim.until(sim.is_("Suspended", "a"), 30)
        assert sim.names("a") == []
        sim.change(TRAINING_JOBS, "a", suspend=False, workers={**sim.job("a")["spec"]["workers"], "replicas": 6})
        await sim.until(sim.is_("Running", "a"), 30)
        assert (len(sim.names("a")), told(sim, "PET_NNODES")) == (6, {"6"})


async def test_a_smaller_size_does_not_begin_the_time_that_a_job_may_run_anew() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("a", b.elastic(2, 8), b.spec(maxRunSeconds=100)))
        await sim.until(sim.is_("Running", "a"), 10)
        await sim.rest(60)
        sim.create(b.training_job("other", b.gpus(5)))
        await sim.until(sim.is_("Running", "other", "a"), 30)
        assert len(sim.names("a")) == 3
        await sim.until(sim.is_("Failed", "a"), 60)
        assert sim.status("a")["reason"] == "RunTimeExceeded"
