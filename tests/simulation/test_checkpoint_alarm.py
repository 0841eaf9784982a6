"""A volume that is full: told at once and once, counted, and forgotten when a checkpoint is made again."""

from typing import Any

import pytest

from tests import builders as b
from tests.simulation.operator_sim import CLOCK, Simulation
from trainyard.workloads.keys import Key

pytestmark = pytest.mark.looptime
FULL = "checkpoint of step 80 failed: /storage/a: the volume is full"


def report(sim: Simulation, step: int, **body: Any) -> None:
    """What the endpoint does with a report of the trainer."""
    app, uid = sim.process.app, sim.job("a")["metadata"]["uid"]
    told = {"jobUid": uid, "attempt": 1, "phase": "training", "step": step, **body}
    app.look_in(Key("TrainingJob", "team", "a"), 0 if app.reports.put(told, CLOCK.now()) else 30)


@pytest.mark.fault(64)
async def test_a_full_volume_is_told_once_and_counted_until_a_checkpoint_is_made_again() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a", b.storage()))
        await sim.until(sim.is_("Running", "a"), 10)
        report(sim, 50, checkpoint={"step": 40, "path": "c"})
        await sim.rest(40)
        report(sim, 78, checkpoint={"step": 40, "path": "c"}, warning="no room for logs")
        await sim.until(lambda: sim.events("a").count("TrainerWarning") == 1, 2)
        report(sim, 80, checkpoint={"step": 40, "path": "c"}, warning=FULL, checkpointFailures=1)
        await sim.until(lambda: sim.status("a")["progress"]["warning"] == FULL, 2)
        for failures in range(2, 5):
            again = FULL.replace("80", str(40 * failures))
            report(sim, 50 * failures, checkpoint={"step": 40, "path": "c"}, warning=again, checkpointFailures=failures)
            await sim.rest(2)
        report(sim, 220, checkpoint={"step": 40, "path": "c"}, checkpointFailures=4)
        await sim.rest(40)
        assert sim.events("a").count("TrainerWarning") == 2
        assert sim.status("a")["progress"]["checkpointFailures"] == 4
        assert "volume is full" in sim.status("a")["progress"]["warning"]
        assert sim.phase("a") == "Running"
        report(sim, 260, checkpoint={"step": 240, "path": "c"}, checkpointFailures=4)
        await sim.until(lambda: sim.status("a")["progress"]["warning"] == "", 40)
        assert sim.status("a")["checkpoint"]["step"] == 240
        report(sim, 320, checkpoint={"step": 240, "path": "c"}, warning="also wrong", checkpointFailures=5)
        await sim.rest(2)
        assert sim.events("a").count("TrainerWarning") == 3
