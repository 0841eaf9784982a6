"""The sidecar with a real HAProxy, without an operator: what it does by itself."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from gateway import store
from gateway.members import Member, Membership
from gateway.report import report
from gateway.sidecar import Sidecar

from tests.unit.gateway.rig import Haproxy, Replica, haproxy, needs_haproxy, replicas, until

pytestmark = needs_haproxy


@asynccontextmanager
async def sidecar(running: Haproxy, *wanted: Replica) -> AsyncIterator[Sidecar]:
    """One that remembers these members."""
    async with following(running, *(replica.member for replica in wanted)) as found:
        yield found


@asynccontextmanager
async def following(running: Haproxy, *wanted: Member) -> AsyncIterator[Sidecar]:
    store.save(running.settings.members_file, Membership(1, wanted))
    found = Sidecar(running.settings, running.runtime)
    work = asyncio.create_task(found.run())
    try:
        await until(
            lambda: len(found.standing.states) == len(wanted) and found.standing.ready(holds=True), "it is ready"
        )
        yield found
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@pytest.mark.fault(88)
@pytest.mark.slow
async def test_a_replica_whose_answers_fail_gets_nothing_for_a_while_and_is_named() -> None:
    good, bad = Replica("good"), Replica("bad", fail=500)
    async with replicas(good, bad), haproxy() as running, sidecar(running, good, bad) as found:
        statuses: Counter[int] = Counter()

        async def out() -> bool:
            statuses[(await running.post())[0]] += 1
            servers = found.standing.observed.servers if found.standing.observed else ()
            return bool(found.ejections.total) and any(one.name == "bad" and one.weight == 0 for one in servers)

        await until(out, "the bad one is put out")
        assert statuses[500] >= 5
        told = report(running.settings, found.standing, found.ejections.out(asyncio.get_running_loop().time()))
        assert (told["ejected"], found.ejections.total) == (["bad"], 1)
        assert told["members"]["bad"]["state"] == "UP", "it is not on its way out"
        assert {status for status, _, _ in await running.posts(20)} == {200}
        assert found.standing.ready(), "one of two is enough"


async def test_requests_held_are_reported_and_the_pod_is_ready_for_them() -> None:
    async with haproxy(hold_seconds=5) as running, sidecar(running) as found:
        call = asyncio.create_task(running.post())
        await until(lambda: report(running.settings, found.standing)["held"] == 1, "it is reported")
        assert found.standing.ready(holds=True)
        assert not found.standing.ready()
        call.cancel()


async def test_members_are_back_after_haproxy_died() -> None:
    a = Replica("a")
    async with replicas(a), haproxy(affinity_header="X-Session-Id") as running, sidecar(running, a) as found:
        await until(lambda: found.standing.ready(holds=False), "the member is up")
        await running.stop()
        await running.start()
        await until(lambda: found.standing.haproxy_restarts == 1 and found.standing.ready(), "it is back")
        assert (await running.post())[0] == 200
