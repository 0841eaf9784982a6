"""Gates and parts of GPUs, with the whole operator on a cluster in memory."""

import pytest

from tests import builders as b
from tests.simulation.operator_sim import Simulation
from trainyard.api.names import GPU
from trainyard.cluster.resources import FLAVORS, TRAINING_JOBS

pytestmark = pytest.mark.looptime


async def test_a_gated_job_waits_until_the_last_gate_is_lifted() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.spec(admissionGates=["example.com/a", "example.com/b"])))
        await sim.until(sim.is_("Pending", "a"), 10)
        assert sim.status("a")["reason"] == "AdmissionGated"
        sim.change(TRAINING_JOBS, "a", admissionGates=["example.com/b"])
        await sim.until(lambda: sim.message("a").startswith("spec.admissionGates: example.com/b;"), 40)
        sim.change(TRAINING_JOBS, "a", admissionGates=[])
        await sim.until(sim.is_("Running", "a"), 10)


async def test_a_part_of_a_gpu_waits_for_a_flavor_that_shares() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("half", b.resources(**{GPU: "500m"})))
        await sim.until(sim.is_("Pending", "half"), 10)
        assert sim.status("half")["reason"] == "Misconfigured"
        assert "no Flavor is fractional" in sim.message("half")
        sim.change(FLAVORS, "h200", namespace=None, fractional=True)
        await sim.until(lambda: sim.status("half")["reason"] != "Misconfigured", 40)
