"""Power caps, with the whole operator on a cluster in memory."""

import pytest

from tests import builders as b
from tests.simulation.operator_sim import Simulation
from trainyard.api.names import GPU, WATTS
from trainyard.cluster.resources import FLAVORS, QUEUES

pytestmark = pytest.mark.looptime


def capped(sim: Simulation, watts: int) -> None:
    """Queue research may draw so many watts; its nodes have 16 GPUs of 700 W."""
    resources = [{"name": GPU, "guaranteed": "16"}, {"name": WATTS, "guaranteed": "11200", "limit": str(watts)}]
    sim.change(QUEUES, "research", None, flavors=[{"name": "h200", "resources": resources}])
    sim.change(FLAVORS, "h200", None, wattsPerUnit=700)


async def test_a_job_waits_for_power_though_gpus_are_free_and_starts_when_there_is_some() -> None:
    async with Simulation() as sim:
        capped(sim, 3000)
        sim.create(b.training_job("first", b.gpus(4), b.runs(60)))
        await sim.until(sim.is_("Running", "first"), 10)
        sim.create(b.training_job("second", b.gpus(4), b.runs(20)))
        await sim.until(sim.is_("Pending", "second"), 10)
        await sim.rest(20)
        assert sim.pods("second") == []
        assert sim.message("second") == (
            "trainyard.dev/watts on h200: asks 2800, research may hold at most 3000, of which 2800 are used (team/first 2800), "
            "2600 must be given back"
        )
        await sim.until(sim.is_("Running", "second"), 90)
        assert sim.phase("first") == "Complete"


async def test_a_cap_that_is_lowered_stops_nobody_and_lets_nobody_start() -> None:
    async with Simulation() as sim:
        capped(sim, 6000)
        sim.create(b.training_job("runs", b.gpus(8), b.runs(100)))
        await sim.until(sim.is_("Running", "runs"), 10)
        capped(sim, 1000)
        sim.create(b.training_job("small", b.gpus(1), b.runs(10)))
        await sim.rest(30)
        assert (sim.phase("runs"), sim.phase("small")) == ("Running", "Pending")
        await sim.until(sim.is_("Complete", "small"), 200)
