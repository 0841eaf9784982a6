"""A sick API server between the operator and the world: the end is the same, only later."""

from collections.abc import Callable

import pytest

from tests import builders as b
from tests.simulation.fake_faults import Request, both, on, verb, writes
from tests.simulation.operator_sim import Simulation
from tests.simulation.test_crashes import JOURNEYS, crash_free, end_state
from trainyard.cluster.resources import NODES, PODS, TRAINING_JOBS

pytestmark = pytest.mark.looptime


def every_third(sim: Simulation, status: int, retry_after: int | None = None) -> None:
    """The fault strikes every third request that writes."""
    count = [0]

    def when(request: Request) -> bool:
        count[0] += 1
        return writes()(request) and count[0] % 3 == 0

    sim.api.faults.fail(when, status, times=60, retry_after=retry_after)


FAULTS: dict[str, Callable[[Simulation], object]] = {
    "429": lambda sim: every_third(sim, status=429, retry_after=1),
    "500": lambda sim: every_third(sim, status=500),
    "503": lambda sim: every_third(sim, status=503),
    "conflicts": lambda sim: sim.api.faults.fail(verb("patch_status"), 409, reason="Conflict", times=6),
    "lost answers to creates": lambda sim: sim.api.faults.lose(verb("create"), times=12),
    "lost answers to status writes": lambda sim: sim.api.faults.lose(verb("patch_status"), times=6),
    "lost answers to deletes": lambda sim: sim.api.faults.lose(verb("delete"), times=6),
    "hanging writes": lambda sim: sim.api.faults.hang(writes(), times=8, skip=3),
    "hanging reads": lambda sim: sim.api.faults.hang(verb("get", "list", "watch"), times=6, skip=8),
    "slow writes": lambda sim: sim.api.faults.slow(writes(), 3, times=20),
    "repeated events": lambda sim: sim.api.faults.repeat_events(3),
    "late and reordered events": lambda sim: sim.api.faults.reorder_events(1.0),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("journey", JOURNEYS)
async def test_a_fault_changes_nothing_in_the_end(journey: str, fault: str) -> None:
    expected, _ = await crash_free(journey)
    async with Simulation() as sim:
        await sim.until(lambda: sim.process.app.synced, 30)
        FAULTS[fault](sim)
        await JOURNEYS[journey](sim)
        sim.api.faults.clear()
        await sim.rest(60)
        assert end_state(sim) == expected


async def test_watches_that_break_or_lose_their_place_miss_nothing() -> None:
    async with Simulation() as sim:
        for number in range(6):
            sim.create(b.training_job(f"j{number}", b.runs(20)))
            await sim.rest(3)
            sim.api.faults.compact() if number % 2 else sim.api.faults.break_watches()
        await sim.until(sim.is_("Complete", *(f"j{number}" for number in range(6))), 120)


async def test_dropped_events_of_our_kinds_are_repaired() -> None:
    async with Simulation() as sim:
        await sim.until(lambda: sim.process.app.synced, 10)
        sim.api.faults.drop_events(lambda _kind, obj: obj["kind"] == "TrainingJob")
        sim.create(b.training_job("a"))
        await sim.until(sim.is_("Running", "a"), 240)


async def test_no_running_pod_dies_of_an_outage_of_the_api_server() -> None:
    async with Simulation(nodes=4, gpus=1) as sim:
        sim.create(*(b.training_job(f"j{number}") for number in range(4)))
        await sim.until(sim.is_("Running", *(f"j{number}" for number in range(4))), 20)
        before = sorted(pod["metadata"]["uid"] for pod in sim.api.all(PODS))
        sim.process.connection.partitioned = True
        await sim.rest(400)
        for each in sim.api.all(NODES):  # their heartbeats were not seen either
            sim.stop_node(each["metadata"]["name"])
        sim.process.connection.partitioned = False
        await sim.rest(5)
        for each in sim.api.all(NODES):
            sim.kubelet.start_node(each["metadata"]["name"])
        await sim.rest(200)
        assert sorted(pod["metadata"]["uid"] for pod in sim.api.all(PODS)) == before


async def test_two_writers_of_one_status_do_not_undo_each_other() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a"))
        sim.api.faults.fail(both(verb("patch_status"), on(TRAINING_JOBS)), 409, reason="Conflict", times=20)
        await sim.until(sim.is_("Running", "a"), 300)
