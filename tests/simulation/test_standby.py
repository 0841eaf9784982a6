"""A process that stands by knows the cluster already when it is elected, and until then says and writes nothing."""

import pytest

from tests import builders as b
from tests.simulation.fake_faults import Request
from tests.simulation.operator_sim import Simulation
from trainyard.cluster.resources import EVENTS, TRAINING_JOBS

pytestmark = pytest.mark.looptime


def of_second(request: Request) -> bool:
    return request.client == "operator-2"


def told_of(sim: Simulation, name: str) -> list[str]:
    """Reasons of its events."""
    return [each["reason"] for each in sim.api.all(EVENTS) if each["involvedObject"]["name"] == name]


async def test_a_standby_writes_nothing_and_takes_over_without_reading_again() -> None:
    async with Simulation() as sim:
        second = sim.standby()
        sim.create(b.training_job("runs"), b.training_job("over", b.runs(5)), b.inference_service("s"))
        unreadable = b.training_job("odd")
        unreadable["spec"]["workers"] = "several"
        sim.api.put(TRAINING_JOBS, unreadable)
        await sim.until(lambda: sim.phase("over") == "Complete" and sim.phase("runs") == "Running", 60)
        await sim.until(lambda: sim.served("s").get("phase") == "Ready", 30)
        assert {each.verb for each in filter(of_second, sim.api.requests)} == {"list", "watch"}
        assert not list(second.app.queue.waiting())
        assert {family.name for family in second.app.collector(lambda: False).collect()} >= {"trainyard_cache_objects"}
        assert not [family for family in second.app.collector(lambda: False).collect() if "training_job" in family.name]
        asked = len(sim.api.requests)
        assert told_of(sim, "odd") == ["Unreadable"], "by the first alone"
        await sim.process.kill()
        sim.create(b.training_job("comes"))
        sim.elect(second)
        await sim.until(sim.is_("Running", "comes"), 10)
        assert not [each for each in filter(of_second, sim.api.requests[asked:]) if each.verb == "list"]
        await sim.until(lambda: told_of(sim, "odd") == ["Unreadable"] * 2, 10)
        await sim.until(sim.is_("Running", "runs"), 1)


async def test_what_ended_while_nobody_led_is_not_counted_and_its_place_is_given_back() -> None:
    async with Simulation(nodes=1, gpus=8) as sim:
        sim.create(b.training_job("a", b.gpus(8), b.runs(20)), b.training_job("b", b.gpus(8)))
        await sim.until(sim.is_("Running", "a"), 30)
        second = sim.standby()
        await sim.until(second.app.read.is_set, 30)
        await sim.process.kill()
        await sim.rest(60)
        sim.elect(second)
        await sim.until(sim.is_("Running", "b"), 30)
        assert sim.phase("a") == "Complete"
