"""A sick API server between the operator and the world: the end is the same, only later."""

import asyncio
from collections.abc import Callable

import pytest

from tests import builders as b
from tests.simulation.fake_faults import Request, both, on, verb, writes
from tests.simulation.journeys import JOURNEYS, undisturbed
from tests.simulation.operator_sim import CLOCK, Simulation
from tests.simulation.oracles import end_state, judge, running
from trainyard.cluster.resources import (
    CLAIMS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    TRAINING_JOBS,
    Resource,
)

pytestmark = pytest.mark.looptime


def every_third(sim: Simulation, status: int, retry_after: int | None = None) -> None:
    """The fault strikes every third request that writes."""
    count = [0]

    def when(request: Request) -> bool:
        count[0] += 1
        return writes()(request) and count[0] % 3 == 0

    sim.api.faults.fail(when, status, times=60, retry_after=retry_after)


def every_second_status(sim: Simulation) -> None:
    count = [0]

    def when(request: Request) -> bool:
        count[0] += request.verb == "patch_status"
        return request.verb == "patch_status" and count[0] % 2 == 0

    sim.api.faults.fail(when, 409, reason="Conflict", times=None)


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
    "old events again": lambda sim: sim.api.faults.replay_events(),
    "events that come four seconds late": lambda sim: sim.api.faults.delay_events(4),
    "half of the status writes in conflict": every_second_status,
    "events refused": lambda sim: sim.api.faults.fail(both(writes(), on(EVENTS)), 403, times=None),
}


@pytest.mark.fault(4, 5, 6, 7, 11, 12, 13, 97)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("journey", JOURNEYS)
async def test_a_fault_changes_nothing_in_the_end(journey: str, fault: str) -> None:
    expected, _ = await undisturbed(journey)
    async with Simulation() as sim:
        await sim.until(sim.process.app.read.is_set, 30)
        FAULTS[fault](sim)
        await JOURNEYS[journey](sim)
        sim.api.faults.clear()
        await sim.rest(30)
        await judge(sim, writes_each=200)
        assert end_state(sim) == expected


@pytest.mark.fault(8)
async def test_watches_that_break_or_lose_their_place_miss_nothing() -> None:
    async with Simulation() as sim:
        for number in range(6):
            sim.create(b.training_job(f"j{number}", b.runs(20)))
            await sim.rest(3)
            sim.api.faults.compact() if number % 2 else sim.api.faults.break_watches()
        await sim.until(sim.is_("Complete", *(f"j{number}" for number in range(6))), 120)


@pytest.mark.fault(10)
async def test_dropped_events_of_our_kinds_are_repaired() -> None:
    async with Simulation() as sim:
        await sim.until(sim.process.app.read.is_set, 10)
        sim.api.faults.drop_events(lambda _kind, obj: obj["kind"] == "TrainingJob")
        sim.create(b.training_job("a"))
        await sim.until(sim.is_("Running", "a"), 240)


@pytest.mark.fault(7)
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


@pytest.mark.fault(13)
async def test_two_writers_of_one_status_do_not_undo_each_other() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a"))
        sim.api.faults.fail(both(verb("patch_status"), on(TRAINING_JOBS)), 409, reason="Conflict", times=20)
        await sim.until(sim.is_("Running", "a"), 300)


@pytest.mark.fault(10)
@pytest.mark.parametrize("journey", ["job", "service"])
@pytest.mark.parametrize("first", [1, *(pytest.param(first, marks=pytest.mark.slow) for first in (4, 7))])
async def test_an_event_that_a_watch_leaves_out_is_made_up_for_by_the_next_list(journey: str, first: int) -> None:
    expected, _ = await undisturbed(journey)
    for number in range(first, 50, 9):
        async with Simulation() as sim:
            sim.patience = 4
            await sim.until(sim.process.app.read.is_set, 10)
            dropped = sim.api.faults.drop_event(number)
            await JOURNEYS[journey](sim)
            await sim.rest(2 * 180 + 20)
            assert end_state(sim) == expected, f"without {dropped}"
            if not dropped:
                break


@pytest.mark.fault(9)
async def test_watches_that_fall_silent_are_noticed_by_their_age_and_opened_anew() -> None:
    async with Simulation() as sim:
        sim.create(b.training_job("a"), b.training_job("b", b.runs(20)))
        await sim.until(sim.is_("Running", "a", "b"), 20)
        sim.api.faults.silence_watches()
        await sim.rest(60)
        caches = sim.process.app.caches.by_resource()
        assert min(CLOCK.monotonic() - caches[each].last_activity for each in ("pods", "nodes")) > 50
        assert sim.phase("b") == "Running", "nobody told"
        await sim.until(sim.is_("Complete", "b"), 120)
        await judge(sim)


@pytest.mark.fault(6)
async def test_after_ten_minutes_of_errors_everything_goes_on_within_one() -> None:
    async with Simulation() as sim:
        sim.create(*(b.training_job(f"j{number}") for number in range(4)))
        await sim.until(sim.is_("Running", *(f"j{number}" for number in range(4))), 20)
        alive, asked = running(sim), len(sim.api.requests)
        for status in (500, 502, 503):
            sim.api.faults.fail(lambda _request: True, status, times=None if status == 503 else 100)
        sim.api.faults.break_watches()
        sim.create(b.training_job("new"))
        await sim.rest(600)
        assert running(sim) == alive
        assert len(sim.api.requests) - asked < 600 * 5, "a request for each watch and list now and then"
        sim.api.faults.clear()
        await sim.until(sim.is_("Running", "new"), 60)
        assert running(sim) > alive
        await judge(sim)


@pytest.mark.fault(5)
async def test_a_server_that_takes_no_pods_for_now_holds_up_nothing_else() -> None:
    async with Simulation() as sim:
        await sim.until(sim.process.app.read.is_set, 10)
        sim.api.faults.fail(writes(PODS), 429, retry_after=10, times=None)
        sim.create(b.training_job("a"), b.training_job("large", b.gpus(100)))
        await sim.until(lambda: sim.status("large").get("reason") == "ExceedsMaxQuota", 10)
        asked = len([each for each in sim.api.requests if each.resource == PODS and each.is_write])
        await sim.rest(100)
        tries = [each for each in sim.api.requests if each.resource == PODS and each.is_write]
        assert len(tries) - asked <= 12, "each waits as long as it was told to"
        sim.api.faults.clear()
        await sim.until(sim.is_("Running", "a"), 60)
        await judge(sim)


@pytest.mark.fault(3)
@pytest.mark.parametrize("moment", [0.0, 0.6, 1.5, 3.0, 5.0])
async def test_a_stop_in_the_midst_of_slow_writes_ends_them_and_changes_nothing_in_the_end(moment: float) -> None:
    expected, _ = await undisturbed("deletion")
    async with Simulation() as sim:
        await sim.until(sim.process.app.read.is_set, 10)
        sim.api.faults.slow(writes(), 2, times=40)
        life = asyncio.create_task(JOURNEYS["deletion"](sim))
        await asyncio.sleep(moment)
        begun, stopping = len(sim.api.requests), CLOCK.monotonic()
        await sim.process.stop()
        assert CLOCK.monotonic() - stopping < 30, "the grace period of a pod"
        assert all(each.status for each in sim.api.requests[begun - 8 :] if each.is_write), "none was cut off"
        await sim.start()
        await life
        assert end_state(sim) == expected
        await judge(sim)


@pytest.mark.fault(16)
@pytest.mark.parametrize("resource", [SERVICES, PODS, DEPLOYMENTS], ids=str)
async def test_a_right_that_is_missing_is_told_by_those_who_need_it_and_others_go_on(resource: Resource) -> None:
    words = f'{resource.plural} is forbidden: User "operator" cannot create resource "{resource.plural}"'
    async with Simulation() as sim:
        await sim.until(sim.process.app.read.is_set, 10)
        taken = sim.api.faults.fail(writes(resource), 403, reason="Forbidden", message=words, times=None)
        sim.create(b.training_job("gang", b.workers(2)), b.training_job("large", b.gpus(100)), b.inference_service("s"))
        concerned = sim.served if resource == DEPLOYMENTS else sim.status
        name = "s" if resource == DEPLOYMENTS else "gang"
        await sim.until(lambda: words in str(concerned(name).get("conditions")), 30)
        assert sim.status("large")["reason"] == "ExceedsMaxQuota"
        hits = taken.hits
        await sim.rest(120)
        assert taken.hits - hits < 60, "not asked again and again"
        sim.api.faults.clear()
        await sim.until(lambda: sim.phase("gang") == "Running" and sim.served("s")["phase"] == "Ready", 180)
        await judge(sim)


@pytest.mark.fault(17)
async def test_a_namespace_that_is_being_deleted_gets_no_storm_of_attempts() -> None:
    message = "unable to create new content in namespace team because it is being terminated"
    async with Simulation() as sim:
        sim.api.put(NAMESPACES, b.a_namespace("other"))
        sim.api.faults.fail(
            lambda request: request.verb in ("create", "apply") and request.namespace == "team",
            403,
            reason="Forbidden",
            message=message,
            times=None,
        )
        sim.create(b.training_job("a", b.workers(2)), b.training_job("one"), b.inference_service("s"))
        sim.create(b.training_job("elsewhere", b.namespace("other")))
        await sim.until(lambda: sim.phase("elsewhere", "other") == "Running", 30)
        await sim.until(lambda: message in str(sim.status("a").get("conditions")), 30)
        before = len(sim.api.requests)
        await sim.rest(300)
        assert len([each for each in sim.api.requests[before:] if each.verb in ("create", "apply")]) < 100
        assert sim.names("a") == sim.names("one") == sim.names("s") == []


@pytest.mark.fault(17)
@pytest.mark.parametrize("restarted", [False, True])
async def test_with_a_namespace_ends_what_is_in_it_and_others_have_its_place_at_once(restarted: bool) -> None:
    async with Simulation(nodes=1, gpus=4) as sim:
        sim.api.put(NAMESPACES, b.a_namespace("other"))
        sim.create(b.training_job("runs", b.workers(2), b.own_claim(reclaim="Delete")), b.inference_service("s"))
        await sim.until(lambda: sim.phase("runs") == "Running" and sim.served("s")["phase"] == "Ready", 60)
        sim.create(b.training_job("waits", b.gpus(4)))
        await sim.rest(5)
        sim.create(b.training_job("elsewhere", b.namespace("other"), b.gpus(4)))
        await sim.rest(20)
        sim.api.verbs.namespace_seconds = 10
        begun = len(sim.api.requests)
        await sim.delete(NAMESPACES, "team")
        if restarted:
            await sim.restart()
        await sim.until(lambda: sim.phase("elsewhere", "other") == "Running", 120)
        assert sim.phase("runs") == "Running", "our kinds are not deleted yet"
        await sim.until(lambda: sim.api.get(NAMESPACES, None, "team") is None, 300)
        await sim.rest(60)
        assert [each for each in sim.api.requests[begun:] if each.is_write and each.namespace == "team"] == []
        sim.api.put(NAMESPACES, b.a_namespace("team"))
        sim.create(b.training_job("anew", b.gpus(1), b.queue("research")))
        await sim.delete(TRAINING_JOBS, "elsewhere", "other")
        await sim.until(sim.is_("Running", "anew"), 60)
        await judge(sim)


@pytest.mark.fault(16)
@pytest.mark.parametrize("count", [1, 2])
async def test_a_claim_that_is_refused_is_told_by_its_field_and_asked_for_once_a_minute(count: int) -> None:
    words = 'persistentvolumeclaims "a" is forbidden: exceeded quota: storage'
    async with Simulation() as sim:
        taken = sim.api.faults.fail(writes(CLAIMS), 403, reason="Forbidden", message=words, times=None)
        sim.create(b.training_job("a", b.workers(count), b.own_claim()), b.training_job("other"))
        await sim.until(lambda: f"spec.storage.claimTemplate: {words}" in str(sim.status("a")["conditions"]), 30)
        await sim.until(sim.is_("Running", "other"), 30)
        before = taken.hits
        await sim.rest(300)
        assert taken.hits - before <= 6
        sim.api.faults.clear()
        await sim.until(sim.is_("Running", "a"), 90)
        await judge(sim)


@pytest.mark.fault(19)
async def test_a_webhook_of_somebody_else_that_is_down_is_told_and_waited_for() -> None:
    words = 'failed calling webhook "policy.example.com": connection refused'
    async with Simulation() as sim:
        sim.api.faults.fail(both(verb("create"), on(PODS)), 500, reason="InternalError", message=words, times=None)
        sim.create(b.training_job("a"), b.training_job("gang", b.workers(2)))
        await sim.until(lambda: all(words in str(sim.status(each).get("conditions")) for each in ("a", "gang")), 60)
        await sim.rest(120)
        sim.api.faults.clear()
        await sim.until(sim.is_("Running", "a", "gang"), 90)
        await judge(sim)
