"""One leader at a time, and none that does not know it has lost."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from tests.simulation.fake_api import FakeApi, FakeConnection
from tests.simulation.fake_faults import Request, on, verb, writes
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.lease import WRITES_ENDED, LeaseElection, LeaseSettings
from trainyard.cluster.resources import CONFIG_MAPS, LEASES, Object
from trainyard.cluster.sender import ClientSettings
from trainyard.runtime.clock import Clock, LoopClock

pytestmark = pytest.mark.looptime

CLOCK = LoopClock(datetime(2026, 11, 23, tzinfo=UTC))


class Wrong:
    """A clock that is so far from everybody else's."""

    def __init__(self, off: timedelta) -> None:
        self.off = off

    def now(self) -> datetime:
        return CLOCK.now() + self.off

    def monotonic(self) -> float:
        return CLOCK.monotonic()


class Candidate:
    """A process that takes part in the election."""

    def __init__(self, api: FakeApi, name: str, clock: Clock = CLOCK) -> None:
        self.connection: FakeConnection = api.connect(name)
        self.client = ClusterClient(self.connection, clock, Random(name), ClientSettings(attempts=1))
        self.lost: list[tuple[float, str]] = []
        self.election = LeaseElection(
            self.client, clock, self.on_lost, namespace="system", name="trainyard-operator", identity=name
        )
        self.task = asyncio.create_task(self.election.run())

    def on_lost(self, reason: str) -> None:
        self.lost.append((CLOCK.monotonic(), reason))

    async def leads(self, within: float = 600) -> float:
        """When this candidate may write, on the clock."""
        async with asyncio.timeout(within):
            await self.election.acquired.wait()
        return CLOCK.monotonic()

    async def leave(self, *, writes_ended: bool) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.election.release(writes_ended=writes_ended)


def lease(api: FakeApi) -> Object:
    found = api.get(LEASES, "system", "trainyard-operator")
    assert found is not None
    return found


def renewals(name: str) -> Callable[[Request], bool]:
    return lambda request: request.client == name and request.resource == LEASES and request.verb == "patch"


@pytest.mark.fault(22)
async def test_the_first_candidate_leads_at_once_and_the_second_waits() -> None:
    api = FakeApi(CLOCK)
    first = Candidate(api, "first")
    await first.leads(1)
    second = Candidate(api, "second")
    await asyncio.sleep(300)
    assert first.election.is_leader
    assert not second.election.is_leader
    assert second.election.holder == "first"
    assert not first.lost


async def test_a_lease_is_written_as_other_clients_expect_it() -> None:
    api = FakeApi(CLOCK)
    candidate = Candidate(api, "first")
    await candidate.leads()
    spec = lease(api)["spec"]
    assert spec["holderIdentity"] == "first"
    assert spec["leaseDurationSeconds"] == 15
    assert spec["leaseTransitions"] == candidate.election.epoch > 0
    for field in ("renewTime", "acquireTime"):
        assert datetime.strptime(spec[field], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC) <= CLOCK.now()


async def test_a_new_leader_waits_until_the_last_write_of_a_dead_one_must_have_ended() -> None:
    api = FakeApi(CLOCK)
    first = Candidate(api, "first")
    await first.leads()
    second = Candidate(api, "second")
    await asyncio.sleep(20)
    first.connection.partitioned = True
    cut = CLOCK.monotonic()
    led = await second.leads()
    ((lost_at, reason),) = first.lost
    assert lost_at - cut <= 10
    assert reason == "not renewed for 10 s"
    assert 15 - 2 <= led - 5 - cut <= 15 + 4
    assert led >= lost_at + 4, "a write of the first leader with its timeout of 4 s has ended"
    assert second.election.epoch == first.election.epoch + 1


@pytest.mark.fault(23)
async def test_no_write_of_the_old_leader_lands_after_the_new_one_leads() -> None:
    """Even one that was sent at the last moment and is carried out as late as the server allows."""
    api = FakeApi(CLOCK)
    first = Candidate(api, "first")
    await first.leads()
    second = Candidate(api, "second")
    await asyncio.sleep(20)
    api.faults.hang(renewals("first"), times=None)
    api.faults.slow(writes(CONFIG_MAPS), 3.99, times=None)

    async def write_while_leading() -> None:
        writer = ClusterClient(api.connect("first"), CLOCK, Random(1), may_write=lambda: first.election.is_leader)
        for number in range(1000):
            if not first.election.is_leader:
                return
            config = {"metadata": {"name": f"c{number}", "namespace": "team"}}
            background.add(asyncio.create_task(writer.create(CONFIG_MAPS, config)))
            await asyncio.sleep(0.1)

    background: set[asyncio.Task[Object]] = set()
    await write_while_leading()
    await second.leads()
    before = len(api.all(CONFIG_MAPS))
    await asyncio.sleep(60)
    assert before > 10
    assert len(api.all(CONFIG_MAPS)) == before
    await asyncio.gather(*background, return_exceptions=True)


@pytest.mark.fault(7)
async def test_a_request_that_hangs_does_not_outlast_the_renew_deadline() -> None:
    api = FakeApi(CLOCK)
    candidate = Candidate(api, "first")
    candidate.client = ClusterClient(candidate.connection, CLOCK, Random(1), ClientSettings(write_timeout=600))
    candidate.election._client = candidate.client
    await candidate.leads()
    api.faults.hang(renewals("first"), times=None)
    started = CLOCK.monotonic()
    await candidate.task
    ((lost_at, _),) = candidate.lost
    assert lost_at - started <= 10
    assert not candidate.election.is_leader


async def test_a_short_disturbance_is_survived() -> None:
    api = FakeApi(CLOCK)
    candidate = Candidate(api, "first")
    await candidate.leads()
    epoch = candidate.election.epoch
    for fault in ("hang", "fail", "lose"):
        getattr(api.faults, fault)(renewals("first"), times=1)
        await asyncio.sleep(30)
    api.faults.fail(renewals("first"), 409, reason="Conflict")
    api.edit(LEASES, "system", "trainyard-operator", lambda obj: obj["metadata"].update(labels={"touched": "yes"}))
    await asyncio.sleep(30)
    assert candidate.election.is_leader
    assert not candidate.lost
    assert candidate.election.epoch == epoch


async def test_a_leader_that_sees_another_holder_has_lost() -> None:
    api = FakeApi(CLOCK)
    candidate = Candidate(api, "first")
    await candidate.leads()
    api.edit(LEASES, "system", "trainyard-operator", lambda obj: obj["spec"].update(holderIdentity="thief"))
    await candidate.task
    assert [reason for _, reason in candidate.lost] == ["thief holds the Lease"]


@pytest.mark.fault(24)
async def test_a_leader_whose_lease_was_deleted_has_lost_and_the_next_one_has_a_higher_epoch() -> None:
    api = FakeApi(CLOCK)
    first = Candidate(api, "first")
    await first.leads()
    api.remove(LEASES, "system", "trainyard-operator")
    await first.task
    assert [reason for _, reason in first.lost] == ["the Lease was deleted"]
    second = Candidate(api, "second")
    await second.leads()
    assert second.election.epoch > first.election.epoch


@pytest.mark.fault(24)
@pytest.mark.parametrize(("one", "other"), [(-10, 10), (10, -10), (0, 10)])
async def test_clocks_that_are_minutes_apart_make_no_second_leader_and_hold_up_no_successor(
    one: int, other: int
) -> None:
    api = FakeApi(CLOCK)
    first = Candidate(api, "first", Wrong(timedelta(minutes=one)))
    await first.leads(1)
    second = Candidate(api, "second", Wrong(timedelta(minutes=other)))
    await asyncio.sleep(120)
    assert first.election.is_leader
    assert not second.election.is_leader
    died = CLOCK.monotonic()
    first.task.cancel()
    assert await second.leads() - died < 25


@pytest.mark.fault(23)
async def test_a_leader_that_was_frozen_knows_at_once_that_it_lost() -> None:
    api = FakeApi(CLOCK)
    candidate = Candidate(api, "first")
    await candidate.leads()
    candidate.election._renewed_at -= 30  # as if the process had been stopped for half a minute
    assert not candidate.election.is_leader
    asked = len(api.requests)
    await candidate.task
    assert len(api.requests) == asked, "it does not even try to renew"
    assert candidate.lost


@pytest.mark.fault(3)
async def test_a_released_lease_is_taken_over_quickly_when_no_write_is_left() -> None:
    api = FakeApi(CLOCK)
    first = Candidate(api, "first")
    await first.leads()
    second = Candidate(api, "second")
    await asyncio.sleep(20)
    released = CLOCK.monotonic()
    await first.leave(writes_ended=True)
    assert lease(api)["spec"]["holderIdentity"] == ""
    assert await second.leads() - released < 2.5
    assert WRITES_ENDED not in (lease(api)["metadata"].get("annotations") or {})
    assert not first.lost


async def test_a_released_lease_with_a_write_under_way_makes_the_next_leader_wait() -> None:
    api = FakeApi(CLOCK)
    first = Candidate(api, "first")
    await first.leads()
    second = Candidate(api, "second")
    await asyncio.sleep(20)
    released = CLOCK.monotonic()
    await first.leave(writes_ended=False)
    assert 5 <= await second.leads() - released < 7.5


async def test_a_process_that_never_led_releases_nothing() -> None:
    api = FakeApi(CLOCK)
    first, second = Candidate(api, "first"), Candidate(api, "second")
    await first.leads()
    await asyncio.sleep(10)
    await second.leave(writes_ended=True)
    assert lease(api)["spec"]["holderIdentity"] == "first"


async def test_a_restarted_container_with_the_same_name_need_not_wait_for_its_own_lease_to_run_out() -> None:
    api = FakeApi(CLOCK)
    first = Candidate(api, "pod-a")
    await first.leads()
    first.task.cancel()
    again = Candidate(api, "pod-a")
    started = CLOCK.monotonic()
    assert await again.leads() - started == pytest.approx(5, abs=0.5), "but for a write of the process before"
    assert again.election.epoch > first.election.epoch


@pytest.mark.fault(7, 22)
async def test_of_many_candidates_never_two_lead_whatever_the_network_does() -> None:
    api = FakeApi(CLOCK)
    random = Random(7)
    candidates = {name: Candidate(api, name) for name in ("a", "b", "c")}
    epochs: dict[int, str] = {}
    for step in range(400):
        await asyncio.sleep(random.uniform(0.2, 4))
        leaders = [name for name, candidate in candidates.items() if candidate.election.is_leader]
        assert len(leaders) <= 1
        for name in leaders:
            assert epochs.setdefault(candidates[name].election.epoch, name) == name, "an epoch belongs to one leader"
        name = random.choice("abc")
        candidates[name].connection.partitioned = random.random() < 0.3
        if random.random() < 0.2:  # more of them pile up: somebody who writes again loses the next answer, too
            api.faults.lose(renewals(random.choice("abc")))
        for name, candidate in list(candidates.items()):
            if candidate.task.done():
                candidates[name] = Candidate(api, name)
                candidates[name].election.identity += f"-{step}"
    assert len(epochs) > 3


def test_settings_that_could_make_two_leaders_are_refused() -> None:
    with pytest.raises(ValueError, match="retry_period < renew_deadline < duration"):
        LeaseSettings(renew_deadline=20)


async def test_an_api_server_that_refuses_is_asked_again_at_the_retry_period() -> None:
    api = FakeApi(CLOCK)
    api.faults.fail(on(LEASES), 403, times=3)
    api.faults.fail(verb("create"), 409, reason="AlreadyExists")
    candidate = Candidate(api, "first")
    started = CLOCK.monotonic()
    assert await candidate.leads() - started == pytest.approx(8, abs=0.5)
