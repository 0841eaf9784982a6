"""Real HAProxy and real gRPC: each request is balanced, held, refused and counted as one over REST is."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import grpc
from gateway.eject import LEAST_FAILED, WINDOW_SECONDS, Ejections
from gateway.members import Wish
from gateway.split import Split
from gateway.traffic import Traffic

from tests.unit.gateway.grpc_rig import Caller, GrpcReplica, answerers, grpc_gateway, grpc_replicas
from tests.unit.gateway.rig import log_socket, needs_haproxy, until
from tests.unit.gateway.test_callers import pair, secret

pytestmark = needs_haproxy


async def test_requests_of_one_connection_are_spread_over_the_replicas() -> None:
    a, b = GrpcReplica("a"), GrpcReplica("b")
    async with grpc_replicas(a, b), grpc_gateway() as (running, caller):
        await running.follow(a.member, b.member)
        found = answerers([await caller.ask() for _ in range(20)])
        assert (found.count("a"), found.count("b")) == (10, 10)
        assert a.headers[0]["x-trainyard-service"] == running.settings.service_uid


async def test_rest_is_answered_beside_it_by_the_same_members() -> None:
    a = GrpcReplica("a")
    async with grpc_replicas(a), grpc_gateway() as (running, caller):
        await running.follow(a.member)
        assert answerers([await caller.ask()]) == ["a"]
        assert (await running.post())[:2] == (200, {"from": "a"})
        assert (await running.runtime.observe()).requests == 2


async def test_over_tls_nothing_is_taken_without_it(tmp_path: Path) -> None:
    a, folder = GrpcReplica("a"), pair(tmp_path / "tls", "localhost")
    async with grpc_replicas(a), grpc_gateway(tls_folder=folder) as (running, plain):
        await running.follow(a.member)
        credentials = grpc.ssl_channel_credentials((folder / "tls.crt").read_bytes())
        options = [("grpc.ssl_target_name_override", "localhost")]
        async with grpc.aio.secure_channel(running.settings.grpc_bind, credentials, options) as channel:
            assert answerers(await Caller(channel).asks(4)) == ["a"] * 4
        assert (await plain.ask())[0] == "UNAVAILABLE"


async def test_a_replica_gets_as_many_at_a_time_as_it_may_and_a_full_queue_is_resource_exhausted() -> None:
    a = GrpcReplica("a", delay=0.5)
    async with grpc_replicas(a), grpc_gateway(server_maxconn=2, queue_limit=3) as (running, caller):
        await running.follow(a.member)
        answers = await caller.asks(12)
        refused = [words for status, words in answers if status == "RESOURCE_EXHAUSTED"]
        assert a.most == 2
        assert len(refused) == 12 - 2 - 3
        assert refused[0] == "3 requests are waiting, which is the limit; try again later"
        assert [status for status, _ in answers].count("OK") == 5


async def test_without_a_replica_the_answer_is_unavailable_and_one_who_waited_too_long_too() -> None:
    a = GrpcReplica("a", delay=3)
    async with grpc_replicas(a), grpc_gateway(server_maxconn=1, queue_seconds=1) as (running, caller):
        status, words = await caller.ask()
        assert status == "UNAVAILABLE"
        assert "none is ready, or all are busy" in words
        await running.follow(a.member)
        answers = await caller.asks(2)
        assert sorted(status for status, _ in answers) == ["OK", "UNAVAILABLE"]


async def test_requests_are_held_from_zero_until_the_first_replica_is_there_and_no_more_than_may() -> None:
    a = GrpcReplica("a")
    async with grpc_replicas(a), grpc_gateway(hold_seconds=20, hold_limit=5) as (running, caller):
        asked = asyncio.create_task(caller.asks(7))

        async def held() -> bool:
            return (await running.runtime.observe()).held == 5

        await until(held, "five are held")
        await running.follow(a.member)
        statuses = [status for status, _ in await asked]
        assert (statuses.count("OK"), statuses.count("RESOURCE_EXHAUSTED")) == (5, 2)


async def test_a_canary_gets_its_share_and_those_who_ask_for_it() -> None:
    a, b = GrpcReplica("a"), GrpcReplica("b", canary=True)
    split = Split(weight=3000, header="X-Try", value="new")
    async with grpc_replicas(a, b), grpc_gateway() as (running, caller):
        await running.follow(a.member, b.member, split=split)
        assert answerers(await caller.asks(8, x_try="new")) == ["b"] * 8
        assert answerers(await caller.asks(8, x_try="old")) == ["a"] * 8
        share = answerers([await caller.ask() for _ in range(400)]).count("b") / 400
        assert 0.2 < share < 0.4  # four standard deviations


async def test_a_member_that_drains_gets_nothing_new_over_a_connection_that_stays() -> None:
    a, b = GrpcReplica("a", delay=2.5), GrpcReplica("b")
    async with grpc_replicas(a, b), grpc_gateway() as (running, caller):
        await running.follow(a.member)
        slow = asyncio.create_task(caller.ask())
        await until(lambda: a.working, "it is asked")
        await running.follow(replace(a.member, wish=Wish.DRAIN), b.member)
        assert answerers(await caller.asks(6)) == ["b"] * 6
        observed = await running.runtime.observe()
        assert [server.in_use for server in observed.servers if server.name == "a"] == [0, 1]
        assert answerers([await slow]) == ["a"]

        async def gone() -> bool:
            return {server.name for server in (await running.follow(b.member)).servers} == {"b"}

        await until(gone, "both its servers are deleted")


async def test_a_stop_ends_no_request_and_asks_the_caller_to_connect_anew() -> None:
    a = GrpcReplica("a", delay=0.5)
    async with grpc_replicas(a), grpc_gateway() as (running, caller):
        await running.follow(a.member)
        asked = asyncio.create_task(caller.asks(4))
        await until(lambda: a.working == 4, "all are asked")
        assert running.process is not None
        running.process.send_signal(10)  # SIGUSR1: what gateway.haproxy makes of SIGTERM
        assert answerers(await asked) == ["a"] * 4
        assert await asyncio.wait_for(running.process.wait(), 10) == 0


async def test_an_inference_whose_replica_hangs_up_is_asked_again_elsewhere_once() -> None:
    a, b = GrpcReplica("a"), GrpcReplica("b")
    async with grpc_replicas(a, b), grpc_gateway() as (running, caller):
        await running.follow(a.member, b.member)
        cutting = await asyncio.start_server(_hang_up, "127.0.0.1", 0)
        port = cutting.sockets[0].getsockname()[1]
        bad = replace(a.member, name="bad", grpc_port=port)
        await running.follow(bad, b.member)
        assert answerers([await caller.ask() for _ in range(2)]) == ["b", "b"]
        cutting.close()


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.close()


async def test_a_key_is_asked_for_as_metadata_and_the_rate_is_one_for_both_protocols(tmp_path: Path) -> None:
    a, folder = GrpcReplica("a"), secret(tmp_path, ann="key-of-ann")
    async with (
        grpc_replicas(a),
        grpc_gateway(keys_folder=folder, rate_requests=3, rate_seconds=30) as (
            running,
            caller,
        ),
    ):
        await running.follow(a.member)
        status, words = await caller.ask(authorization="Bearer no")
        assert (status, words.partition(",")[0]) == ("UNAUTHENTICATED", "expected a key of this service")
        assert (await running.post(X_API_Key="key-of-ann"))[0] == 200
        known = [await caller.ask(x_api_key="key-of-ann"), await caller.ask(authorization="Bearer key-of-ann")]
        assert answerers(known) == ["a", "a"]
        status, words = await caller.ask(x_api_key="key-of-ann")
        assert (status, words) == ("RESOURCE_EXHAUSTED", "more than 3 requests in 30 s; try again later")
        assert not any("authorization" in headers or "x-api-key" in headers for headers in a.headers)


async def test_failures_that_come_as_status_200_count_for_the_revision_and_against_the_replica() -> None:
    good, bad = GrpcReplica("good"), GrpcReplica("bad", status=grpc.StatusCode.INTERNAL)
    async with grpc_replicas(good, bad), grpc_gateway() as (running, caller):
        digest = "sha256:" + "a" * 64
        with log_socket(running.settings.folder) as inbox:
            await running.follow(replace(good.member, digest=digest), replace(bad.member, digest=digest))
            traffic, ejections = Traffic(), Ejections()
            traffic.know(running.membership(replace(good.member, digest=digest), replace(bad.member, digest=digest)))
            ejections = ejections.seen((await running.runtime.observe()).servers, WINDOW_SECONDS)
            answers = [await caller.ask() for _ in range(2 * LEAST_FAILED)]
            assert ("INTERNAL", "bad is broken") in answers
            await asyncio.sleep(0.2)
            with suppress(BlockingIOError):
                while True:
                    traffic.take(inbox.recv(4096).decode())
        revision = traffic.report()["revisions"][digest]
        assert (revision["requests"], revision["errors"]) == (2 * LEAST_FAILED, LEAST_FAILED)
        servers = (await running.runtime.observe()).servers
        judged = ejections.seen(servers, 2 * WINDOW_SECONDS, traffic.grpc_failures)
        assert judged.out(2 * WINDOW_SECONDS) == {"bad"}
        assert not ejections.seen(servers, 2 * WINDOW_SECONDS).out(2 * WINDOW_SECONDS), "HAProxy alone does not see it"
