"""Real HAProxy: what is sent a second time, and to whom; who gets the requests of one caller."""

import asyncio
from itertools import pairwise

import pytest

from tests.unit.gateway.rig import HOST, Replica, haproxy, needs_haproxy, replicas

pytestmark = needs_haproxy


@pytest.mark.fault(88)
@pytest.mark.parametrize("fail", ["hang up", 503])
async def test_an_inference_that_broke_off_is_answered_by_another_replica(fail: int | str) -> None:
    good, bad = Replica("good"), Replica("bad", fail=fail)
    async with replicas(good, bad), haproxy() as running:
        await running.follow(good.member, bad.member)
        answers = [await running.post(body=b"x" * 40_000) for _ in range(10)]
        assert {(status, body["from"]) for status, body, _ in answers} == {(200, "good")}
        assert 3 <= bad.asked <= 10
        assert good.asked == 10
        (seen,) = [one for one in (await running.runtime.observe()).servers if one.name == "bad"]
        assert seen.failed == bad.asked


@pytest.mark.fault(88)
async def test_a_request_that_kills_its_replica_kills_one_other_at_most() -> None:
    bad = [Replica(f"bad-{number}", fail="hang up") for number in range(4)]
    async with replicas(*bad), haproxy() as running:
        await running.follow(*(replica.member for replica in bad))
        assert (await running.post())[0] in (0, 502)
        assert sum(replica.asked for replica in bad) == 2


@pytest.mark.fault(88)
@pytest.mark.parametrize(
    ("path", "retries"), [("/v1/chat/completions", 1), ("/v1/completions", 1), ("/v2/models/m/infer", 0)]
)
async def test_what_may_be_a_stream_or_should_not_be_repeated_is_sent_once(path: str, retries: int) -> None:
    bad = [Replica("bad-0", fail="hang up"), Replica("bad-1", fail="hang up")]
    async with replicas(*bad), haproxy(retries=retries) as running:
        await running.follow(*(replica.member for replica in bad))
        assert (await running.post(path))[0] in (0, 502)
        assert sum(replica.asked for replica in bad) == 1


async def test_an_error_of_the_model_is_not_repeated() -> None:
    bad = [Replica("bad-0", fail=500), Replica("bad-1", fail=500)]
    async with replicas(*bad), haproxy() as running:
        await running.follow(*(replica.member for replica in bad))
        assert (await running.post())[0] == 500
        assert sum(replica.asked for replica in bad) == 1


async def test_a_session_stays_with_its_replica_and_spills_over_when_that_is_busy() -> None:
    three = [Replica(f"r{number}", delay=0.05) for number in range(3)]
    async with replicas(*three), haproxy(affinity_header="X-Session-Id") as running:
        await running.follow(*(replica.member for replica in three))
        for session in ("ann", "bob", "cat"):
            names = {(await running.post(X_Session_Id=session))[1]["from"] for _ in range(4)}
            assert len(names) == 1
        names = {body["from"] for _, body, _ in await running.posts(12, X_Session_Id="ann")}
        assert len(names) == 3


async def test_requests_that_begin_alike_go_to_the_same_replica() -> None:
    three = [Replica(f"r{number}") for number in range(3)]
    async with replicas(*three), haproxy(affinity_prefix_bytes=64) as running:
        await running.follow(*(replica.member for replica in three))
        found = set()
        for prompt in range(8):
            beginning = str(prompt).encode() * 64
            names = {(await running.post(body=beginning + str(end).encode()))[1]["from"] for end in range(4)}
            assert len(names) == 1
            found |= names
        assert len(found) > 1


async def test_a_session_moves_on_when_its_replica_breaks_off() -> None:
    good, bad = Replica("good"), Replica("bad", fail="hang up")
    async with replicas(good, bad), haproxy(affinity_header="X-Session-Id") as running:
        await running.follow(good.member, bad.member)
        answers = await asyncio.gather(*(running.post(X_Session_Id=str(number)) for number in range(8)))
        assert {status for status, _, _ in answers} == {200}


async def test_each_event_of_a_stream_arrives_when_it_is_sent() -> None:
    a = Replica("a", delay=0.1)
    async with replicas(a), haproxy() as running:
        await running.follow(a.member)
        loop = asyncio.get_running_loop()
        url = f"http://{HOST}:{running.port}/v1/chat/completions"
        async with running.session.post(url, data=b"{}") as response:
            times = [loop.time() async for _ in response.content.iter_any()]
        assert len(times) == 5
        assert min(later - sooner for sooner, later in pairwise(times)) > 0.05
        assert max(later - sooner for sooner, later in pairwise(times)) < 0.19
