"""Real HAProxy: requests that wait for a first server, the canary's share, and the line that each request leaves."""

import asyncio

import pytest
from gateway.split import Split

from tests.unit.gateway.rig import Haproxy, Replica, haproxy, log_socket, needs_haproxy, replicas, until

pytestmark = [needs_haproxy, pytest.mark.slow]


async def held(running: Haproxy) -> int:
    return (await running.runtime.observe()).held


@pytest.mark.fault(90)
async def test_requests_are_held_until_the_first_replica_is_up_and_all_are_answered() -> None:
    a = Replica("a")
    async with replicas(a), haproxy(hold_seconds=30, queue_limit=4, server_maxconn=2, response_seconds=1) as running:
        await running.follow()
        calls = [asyncio.create_task(running.post()) for _ in range(40)]
        await until(lambda: _all(running, 40), "all are held")
        await asyncio.sleep(1.5)  # longer than the time without a word that a connection may have
        assert await held(running) == 40
        await running.follow(a.member)
        assert [status for status, _, _ in await asyncio.gather(*calls)] == [200] * 40
        assert await held(running) == 0


async def _all(running: Haproxy, count: int) -> bool:
    return await held(running) == count


@pytest.mark.fault(87, 90)
async def test_more_than_the_limit_are_not_held_and_learn_when_to_come_back() -> None:
    async with haproxy(hold_seconds=2, hold_limit=3) as running:
        await running.follow(cold="17")
        answers = await running.posts(5)
        assert sorted(status for status, _, _ in answers) == [429, 429, 503, 503, 503]
        refused = [(body, headers) for status, body, headers in answers if status == 429]
        assert {headers["Retry-After"] for _, headers in refused} == {"17"}
        assert all("3 requests wait for one, which is the limit" in body["error"] for body, _ in refused)
        assert (await running.runtime.observe()).refused_holds == 2


async def test_a_caller_who_leaves_while_held_is_not_counted_for_ever() -> None:
    async with haproxy(hold_seconds=30) as running:
        call = asyncio.create_task(running.post())
        await until(lambda: _all(running, 1), "it is held")
        call.cancel()
        await until(lambda: _all(running, 0), "nobody is held")


@pytest.mark.fault(87)
async def test_without_a_hold_no_server_is_503_at_once() -> None:
    async with haproxy() as running:
        await running.follow()
        async with asyncio.timeout(1):
            assert (await running.post())[0] == 503


async def test_the_canary_gets_its_share_and_who_asks_for_it() -> None:
    stable, canary = Replica("stable"), Replica("canary", canary=True)
    async with replicas(stable, canary), haproxy(queue_limit=1000) as running:
        both = (stable.member, canary.member)
        await running.follow(*both)
        await running.posts(50)
        assert (stable.asked, canary.asked) == (50, 0), "no split is all to stable"
        await running.follow(*both, split=Split(weight=3000, header="X-Try", value="new"))
        await running.posts(300)
        assert 45 <= canary.asked <= 140
        before = canary.asked
        await running.posts(20, X_Try="new")
        assert canary.asked == before + 20
        await running.posts(30, X_Try="old")
        assert canary.asked == before + 20
        await running.follow(*both, split=Split(weight=10_000))
        asked = stable.asked
        await running.posts(30)
        assert stable.asked == asked


async def test_a_revision_without_a_server_is_stood_in_for_by_the_other() -> None:
    stable, canary = Replica("stable"), Replica("canary", canary=True)
    async with replicas(stable, canary), haproxy() as running:
        await running.follow(stable.member, split=Split(weight=10_000))
        assert (await running.post())[1] == {"from": "stable"}
        await running.follow(canary.member, split=Split(weight=1))
        assert (await running.post())[1] == {"from": "canary"}
        await running.follow(canary.member, split=Split())
        assert (await running.post())[0] == 503, "a canary that gets no traffic answers for nobody"


async def test_a_canary_becomes_stable_without_a_failed_request() -> None:
    old, new = Replica("old"), Replica("new", canary=True)
    async with replicas(old, new), haproxy(queue_limit=1000) as running:
        await running.follow(old.member, new.member, split=Split(weight=5000))
        stop, statuses = asyncio.Event(), []

        async def call() -> None:
            while not stop.is_set():
                statuses.append((await running.post())[0])

        calls = [asyncio.create_task(call()) for _ in range(4)]
        new.canary = False
        observed = await running.follow(new.member)
        stop.set()
        await asyncio.gather(*calls)
        assert set(statuses) == {200}
        assert {(one.backend, one.drain or one.maintenance) for one in observed.servers if one.name == "new"} >= {
            ("replicas", False)
        }


async def test_each_request_leaves_a_line_for_who_listens() -> None:
    a = Replica("a", delay=0.05)
    async with replicas(a), haproxy() as running:
        await running.follow(a.member)
        assert (await running.post())[0] == 200, "nobody listens, and it does not matter"
        with log_socket(running.settings.folder) as listener:
            await running.post()
            line = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(listener, 4096), 5)
        fields = dict(pair.split("=", 1) for pair in line.decode().split())
        assert {key: fields[key] for key in ("frontend", "backend", "server", "status", "method", "term")} == {
            "frontend": "traffic",
            "backend": "replicas",
            "server": "a",
            "status": "200",
            "method": "POST",
            "term": "--",
        }
        assert 50 <= int(fields["ttfb_ms"]) <= int(fields["total_ms"]) < 5000
        assert (fields["held_ms"], fields["retries"]) == ("-", "0")


async def test_a_restarted_haproxy_learns_the_split_again() -> None:
    stable, canary = Replica("stable"), Replica("canary", canary=True)
    async with replicas(stable, canary), haproxy() as running:
        split = Split(weight=10_000)
        await running.follow(stable.member, canary.member, split=split)
        await running.stop()
        await running.start()
        await running.follow(stable.member, canary.member, split=split)
        assert (await running.post())[1] == {"from": "canary"}
