"""The operator dies after any write, and the cluster ends as if it had not: nothing twice, nothing orphaned."""

import pytest

from tests import builders as b
from tests.simulation.journeys import JOURNEYS, undisturbed
from tests.simulation.operator_sim import Simulation
from tests.simulation.oracles import end_state
from trainyard.cluster.resources import PODS

pytestmark = pytest.mark.looptime


@pytest.mark.fault(1, 2)
@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in (1, 2, 3))])
@pytest.mark.parametrize("journey", JOURNEYS)
async def test_a_crash_after_any_write_changes_nothing_in_the_end(journey: str, part: int) -> None:
    """Split into parts only so that a failure is found soon."""
    expected, count = await undisturbed(journey)
    assert count > 15
    for number in range(1 + part, count + 1, 4):
        async with Simulation() as sim:
            fault = sim.api.faults.crash_after_write(number)
            await JOURNEYS[journey](sim)
            assert fault.hits == len(sim.processes) - 1, f"write {number} of {count} was never made"
            assert end_state(sim) == expected, f"after a crash at write {number}"


@pytest.mark.fault(1, 2)
@pytest.mark.parametrize("journey", JOURNEYS)
async def test_a_crash_after_every_third_write_changes_nothing_in_the_end(journey: str) -> None:
    expected, count = await undisturbed(journey)
    async with Simulation() as sim:
        for number in range(3, count, 3):
            sim.api.faults.crash_after_write(number)
        await JOURNEYS[journey](sim)
        assert len(sim.processes) > 4, "it crashed some times"
        assert end_state(sim) == expected


async def test_a_restart_kills_no_running_pod() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.workers(2)), b.inference_service("s", b.replicas(2)))
        await sim.until(lambda: sim.phase("a") == "Running" and sim.served("s")["phase"] == "Ready", 30)
        before = sorted(pod["metadata"]["uid"] for pod in sim.api.all(PODS))
        await sim.restart()
        await sim.rest(60)
        await sim.process.stop()
        await sim.start()
        await sim.rest(60)
        assert sorted(pod["metadata"]["uid"] for pod in sim.api.all(PODS)) == before
        assert (sim.phase("a"), sim.served("s")["phase"]) == ("Running", "Ready")
