"""A gateway pod for real: HAProxy, the sidecar, fake replicas and an operator over TLS. Needs no cluster.

Everything listens on 127.0.0.1. What is proven is what users feel: no request is lost while members come and go,
while HAProxy dies, while the operator is away; and nobody is answered by the wrong model.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dev.packages import ensure_programs
from tests.e2e.gateway_rig import TOKEN, Answers, Gateway, Operator, Replica, load, one, sample, until

pytestmark = pytest.mark.e2e
Pod = Callable[..., Awaitable[Gateway]]


@pytest.fixture(scope="module", autouse=True)
def _haproxy() -> None:
    ensure_programs({"haproxy": "haproxy"})


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operator]:
    operator = Operator(tmp_path)
    await operator.start()
    yield operator
    await operator.stop()


@pytest.fixture
async def replicas() -> AsyncIterator[list[Replica]]:
    """Two good ones, and one that a test may spoil."""
    three = [Replica("pod-a"), Replica("pod-b"), Replica("pod-c")]
    for replica in three:
        await replica.start()
    yield three
    for replica in three:
        await replica.stop()


@pytest.fixture
async def pod(tmp_path: Path, operator: Operator, replicas: list[Replica]) -> AsyncIterator[Pod]:
    """Start a gateway pod; variables of its environment as keyword arguments. It ends before its replicas do."""
    started: list[Gateway] = []

    async def start(*, wait: bool = True, **variables: str) -> Gateway:
        gateway = Gateway(tmp_path, operator, **variables)
        started.append(gateway)
        await gateway.start_haproxy()
        await gateway.start_sidecar()
        if wait:
            await until(gateway.ready, "the gateway is ready")
        return gateway

    yield start
    for gateway in started:
        await gateway.stop()


def reported(operator: Operator, generation: int, **states: str) -> bool:
    members = {name: entry["state"] for name, entry in operator.last.get("members", {}).items()}
    wanted = {f"pod-{letter}": state for letter, state in states.items()}
    return bool(operator.last.get("generation") == generation and members == wanted)


async def test_members_come_and_go_under_load_without_a_failed_request(
    pod: Pod, operator: Operator, replicas: list[Replica]
) -> None:
    a, b, _ = replicas
    operator.want(a.member())
    gateway = await pod()
    assert operator.tokens == {f"Bearer {TOKEN}"}
    async with load(gateway) as answers:
        await until(lambda: answers.replicas["pod-a"] > 50, "the first member answers")
        added = operator.want(a.member(), b.member())
        await until(lambda: reported(operator, added, a="UP", b="UP"), "the second member is up")
        await until(lambda: answers.replicas["pod-b"] > 50, "the second member answers")

        drained = operator.want(a.member("drain"), b.member())
        await until(lambda: reported(operator, drained, a="DRAIN", b="UP"), "the first member drains")
        await until(lambda: operator.last["members"]["pod-a"]["inUse"] == 0, "the first member is idle")
        settled = a.answered
        await asyncio.sleep(0.5)
        assert a.answered == settled, "a draining member got new requests"

        removed = operator.want(b.member())
        await until(lambda: reported(operator, removed, b="UP"), "the first member is gone from HAProxy")
        await a.stop()
        await asyncio.sleep(0.3)
    assert answers.failed == 0, (answers.statuses, answers.errors[:5])
    await until(lambda: operator.last["requests"] == answers.statuses[200], "every request is counted once")


async def test_a_drain_is_reported_done_only_when_the_last_request_is_answered(
    pod: Pod, operator: Operator, replicas: list[Replica]
) -> None:
    a, b, _ = replicas
    a.delay = 3.0
    operator.want(a.member())
    gateway = await pod()
    answers = Answers()
    async with aiohttp.ClientSession() as session:
        held = asyncio.create_task(one(gateway, session, answers))
        await until(lambda: operator.last["members"].get("pod-a", {}).get("inUse") == 1, "the request is counted")
        gone = operator.want(b.member())
        await until(lambda: reported(operator, gone, a="DRAIN", b="UP"), "the removal is applied")
        assert operator.last["members"]["pod-a"]["inUse"] == 1
        assert operator.last["inFlight"] == 1
        assert not held.done()
        assert (await held)[0] == 200
    await until(lambda: reported(operator, gone, b="UP"), "the server is deleted once it is idle")


async def test_a_killed_haproxy_gets_its_members_back(pod: Pod, operator: Operator, replicas: list[Replica]) -> None:
    a, b, _ = replicas
    generation = operator.want(a.member(), b.member(weight=50))
    gateway = await pod()
    await until(lambda: reported(operator, generation, a="UP", b="UP"), "both members are up")
    async with load(gateway, callers=2) as answers:
        await until(lambda: answers.statuses[200] > 20, "answers")
    await until(lambda: operator.last["requests"] == answers.statuses[200], "they are counted")
    before = operator.last["requests"]
    assert gateway.haproxy is not None
    os.kill(gateway.haproxy_pid(), signal.SIGKILL)
    assert await gateway.haproxy.wait() != 0, "the container must end with its HAProxy, so that kubelet restarts it"
    await until(lambda: operator.last["generation"] == 0, "nothing counts as applied while HAProxy is away")
    assert not await gateway.ready()
    await gateway.start_haproxy()
    await until(gateway.ready, "the gateway is ready again")
    async with load(gateway, callers=2) as answers:
        await until(lambda: set(answers.replicas) == {"pod-a", "pod-b"}, "both answer")
    assert answers.failed == 0
    await until(lambda: operator.last["requests"] > before, "the count of requests goes on across the restart")
    metrics = await gateway.show_metrics(gateway.endpoint)
    assert sample(metrics, "trainyard_gateway_haproxy_restarts_total") == 1


@pytest.mark.fault(7)
async def test_traffic_goes_on_while_the_operator_is_away_even_if_the_sidecar_restarts(
    pod: Pod, operator: Operator, replicas: list[Replica]
) -> None:
    a, b, _ = replicas
    operator.want(a.member(), b.member())
    gateway = await pod()
    async with load(gateway) as answers:
        await operator.stop()
        away = answers.statuses[200]
        await until(lambda: answers.statuses[200] > away + 50, "answers while the operator is away")
        assert await gateway.ready()
        assert gateway.sidecar is not None
        gateway.sidecar.kill()
        await gateway.sidecar.wait()
        await gateway.start_sidecar()
        await until(gateway.ready, "a new sidecar knows the members from the old one")
        await b.stop()  # dies unannounced
        before = answers.replicas["pod-a"]
        await until(lambda: answers.replicas["pod-a"] > before + 20, "the one that is left answers")
        await operator.start()
        back = operator.want(a.member())
        await until(lambda: reported(operator, back, a="UP"), "the operator is heard again")
    # Only what was in flight at pod-b when it died: a POST that may have begun is not sent twice.
    assert answers.failed <= 8, (answers.statuses, answers.errors[:5])


async def test_an_address_that_belongs_to_somebody_else_gets_no_request(
    pod: Pod, operator: Operator, replicas: list[Replica]
) -> None:
    a, b, c = replicas
    b.uid = "another-service"
    c.digest = "sha256:" + "b" * 64
    operator.want(a.member(), b.member(), c.member())
    gateway = await pod()
    async with load(gateway) as answers:
        await until(lambda: reported(operator, 1, a="UP", b="DOWN", c="DOWN"), "uid and digest are checked")
        await until(lambda: answers.replicas["pod-a"] > 50, "the right one answers")
        own = operator.want(a.member(), b.member(), c.member(digest=c.digest))
        await until(lambda: reported(operator, own, a="UP", b="DOWN", c="UP"), "a digest of its own is checked")
        await until(lambda: answers.replicas["pod-c"] > 0, "it answers")
        a.uid = "another-service"  # the address changed hands while it was up
        await until(lambda: operator.last["members"]["pod-a"]["state"] == "DOWN", "it is out")
        await until(lambda: a.in_flight == 0, "what it had is answered")
        settled = a.answered
        await asyncio.sleep(0.5)
        assert a.answered == settled
    assert answers.failed == 0
    assert set(answers.replicas) == {"pod-a", "pod-c"}
    assert b.answered == 0


@pytest.mark.fault(90)
async def test_a_full_queue_is_429_with_retry_after_and_a_reason(
    pod: Pod, operator: Operator, replicas: list[Replica]
) -> None:
    a = replicas[0]
    a.delay = 1.0
    operator.want(a.member())
    gateway = await pod(TRAINYARD_SERVER_MAXCONN="3", TRAINYARD_GATEWAYS="2", TRAINYARD_QUEUE_LIMIT="3")
    answers = Answers()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        first = [asyncio.create_task(one(gateway, session, answers)) for _ in range(5)]
        await until(lambda: operator.last["queued"] == 3, "two are answered, three wait")
        status, headers, reply = await one(gateway, session, answers)
        assert [result[0] for result in await asyncio.gather(*first)] == [200] * 5
    assert status == 429
    assert headers["Retry-After"] == "1"
    assert headers["Content-Type"] == "application/json"
    assert reply == {"error": "3 requests are waiting, which is the limit; try again later"}
    assert a.most_in_flight == 2, "the share of one gateway of two is 3 / 2, rounded up"


async def test_errors_of_the_gateway_itself_are_json(pod: Pod, operator: Operator, replicas: list[Replica]) -> None:
    operator.want()
    gateway = await pod(wait=False, TRAINYARD_MAX_BODY_BYTES="1000")
    await until(lambda: operator.last.get("generation") == 1, "an empty list is applied")
    assert not await gateway.ready()
    answers = Answers()
    async with aiohttp.ClientSession() as session:
        status, headers, reply = await one(gateway, session, answers)
        assert (status, headers["Retry-After"]) == (503, "1")
        assert reply["error"].startswith("no replica could take the request within 10 s")
        operator.want(replicas[0].member())
        await until(gateway.ready, "the gateway is ready")
        status, _, reply = await one(gateway, session, answers, b"x" * 1001)
        assert status == 413
        assert "expected at most 1000 bytes" in reply["error"]
        assert (await one(gateway, session, answers, b"x" * 1000))[0] == 200
    metrics = await gateway.show_metrics(gateway.metrics)
    assert sample(metrics, r'haproxy_server_status\{proxy="replicas",server="pod-a",state="UP"\}') == 1
    sidecar = await gateway.show_metrics(gateway.endpoint)
    assert sample(sidecar, r'trainyard_gateway_members\{state="UP"\}') == 1


@pytest.mark.fault(89)
async def test_a_gateway_that_stops_loses_no_request(pod: Pod, operator: Operator, replicas: list[Replica]) -> None:
    a, b, _ = replicas
    a.delay = b.delay = 0.2
    operator.want(a.member(), b.member())
    gateway = await pod(TRAINYARD_STOP_DELAY_SECONDS="4")  # in which callers notice, also on busy cores
    assert gateway.haproxy is not None
    assert gateway.sidecar is not None
    slow = Answers()
    async with aiohttp.ClientSession() as session:
        async with load(gateway) as answers:
            await until(lambda: answers.statuses[200] > 0, "answers")
            a.delay = b.delay = 6.0  # beyond the moment at which HAProxy begins to end
            long = asyncio.create_task(one(gateway, session, slow))
            await asyncio.sleep(0.2)
            a.delay = b.delay = 0.05
            gateway.haproxy.terminate()
            gateway.sidecar.terminate()
            await until(lambda: _not_ready(gateway), "the pod leaves the Service at once", 3)
            await asyncio.sleep(0.5)  # callers that have not noticed yet
        assert answers.failed == 0, (answers.statuses, answers.errors[:5])
        assert (await long)[0] == 200, "what is in flight is finished"
    assert await asyncio.wait_for(gateway.haproxy.wait(), 60) == 0
    assert await asyncio.wait_for(gateway.sidecar.wait(), 60) == 0


async def _not_ready(gateway: Gateway) -> bool:
    return not await gateway.ready()


async def test_a_gateway_that_never_reached_the_operator_asks_dns_and_hands_over_without_loss(
    pod: Pod, operator: Operator, replicas: list[Replica]
) -> None:
    a = replicas[0]
    await operator.stop()
    gateway = await pod(TRAINYARD_MEMBERS_DNS=f"127.0.0.1:{a.port}")
    async with load(gateway) as answers:
        await until(lambda: answers.statuses[200] > 25, "answers of the member that DNS knows")
        operator.want(a.member())
        await operator.start()
        await until(lambda: reported(operator, 1, a="UP"), "the real member has taken over")
        handed = answers.statuses[200]
        await until(lambda: answers.statuses[200] > handed + 25, "answers of the real member")
    assert answers.failed == 0, (answers.statuses, answers.errors[:5])


async def test_a_new_configuration_is_valid_for_the_real_haproxy(tmp_path: Path) -> None:
    from gateway.config import from_environment  # noqa: PLC0415 - only this test looks inside
    from gateway.render import write  # noqa: PLC0415

    settings: Any = from_environment(
        {"TRAINYARD_SERVICE": "s", "TRAINYARD_SERVICE_UID": "u-1", "TRAINYARD_LB_DIR": str(tmp_path)}
    )
    write(settings)
    checked = await asyncio.create_subprocess_exec(
        "haproxy", "-c", "-f", str(settings.haproxy_config), stderr=asyncio.subprocess.PIPE
    )
    _, complaints = await checked.communicate()
    assert checked.returncode == 0
    assert b"WARNING" not in complaints
