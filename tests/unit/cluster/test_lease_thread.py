"""The election goes on while the main loop is busy. Real time and a real thread, so the times here are short."""

import asyncio
import time
from datetime import UTC, datetime
from random import Random

import pytest

from tests.simulation.fake_api import FakeApi
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.lease import LeaseSettings
from trainyard.cluster.lease_thread import LeaseThread
from trainyard.cluster.resources import LEASES
from trainyard.runtime.clock import SystemClock

CLOCK = SystemClock()
SHORT = LeaseSettings(duration=4, renew_deadline=2.5, retry_period=0.1, attempt=1.0, old_writes=0.1)


def thread(api: FakeApi, lost: list[str], name: str = "pod-a") -> LeaseThread:
    async def connect() -> ClusterClient:
        return ClusterClient(api.connect(name), CLOCK, Random(1))

    return LeaseThread(connect, CLOCK, lost.append, namespace="system", name="lease", identity=name, settings=SHORT)


def holder(api: FakeApi) -> str:
    found = api.get(LEASES, "system", "lease")
    return "" if found is None else str(found["spec"]["holderIdentity"])


@pytest.mark.fault(40)
async def test_a_blocked_main_loop_does_not_lose_the_lease_and_a_stop_releases_it() -> None:
    api, lost = FakeApi(CLOCK), list[str]()
    election = thread(api, lost)
    await election.start()
    async with asyncio.timeout(5):
        await election.acquired.wait()
    time.sleep(3)  # noqa: ASYNC251 - what is tested
    assert election.is_leader
    assert (election.holder, holder(api)) == ("pod-a", "pod-a")
    assert election.epoch > 0
    await election.stop(writes_ended=True)
    assert holder(api) == ""
    assert not election.is_leader
    assert lost == []


@pytest.mark.fault(40)
async def test_a_lost_lease_is_told_from_the_thread_even_when_the_main_loop_hangs() -> None:
    api, lost = FakeApi(CLOCK), list[str]()
    election = thread(api, lost)
    await election.start()
    async with asyncio.timeout(5):
        await election.acquired.wait()
    api.edit(LEASES, "system", "lease", lambda obj: obj["spec"].update(holderIdentity="pod-b"))
    time.sleep(1.5)  # noqa: ASYNC251 - what is tested
    assert lost == ["pod-b holds the Lease"]
    await election.stop(writes_ended=True)
    assert holder(api) == "pod-b"


async def test_an_election_that_breaks_is_a_loss() -> None:
    api, lost = FakeApi(CLOCK), list[str]()
    api.put(LEASES, {"metadata": {"namespace": "system", "name": "lease"}, "spec": {"leaseTransitions": "nonsense"}})
    election = thread(api, lost)
    await election.start()
    await asyncio.to_thread(election._thread.join, 5)  # type: ignore[union-attr]
    assert len(lost) == 1
    assert "the election failed" in lost[0]
    await election.stop(writes_ended=True)


async def test_a_client_that_cannot_be_made_yet_is_waited_for_and_can_be_stopped() -> None:
    async def connect() -> ClusterClient:
        raise OSError("no token yet")

    lost: list[str] = []
    election = LeaseThread(connect, CLOCK, lost.append, namespace="system", name="lease", identity="a")
    await election.start()
    await asyncio.sleep(0.1)
    assert (election.is_leader, election.epoch, election.holder) == (False, 0, "")
    started = datetime.now(UTC)
    await election.stop(writes_ended=True)
    assert (datetime.now(UTC) - started).total_seconds() < 1
    assert lost == []
