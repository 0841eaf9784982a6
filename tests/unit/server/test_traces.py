"""A request through real HAProxy, its sidecar and a real server is one trace."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gateway.members import Member, Membership
from gateway.sidecar import Sidecar

from tests.collector import Collector, Seen, collector
from tests.unit.gateway.rig import HOST, UID, Haproxy, haproxy, needs_haproxy, until
from tests.unit.gateway.test_sidecar import following

pytestmark = needs_haproxy
DIGEST = "sha256:" + "a" * 64
PATH = "/v2/models/digits/infer"


async def asked(gateway: Haproxy, body: object, **headers: str) -> int:
    url = f"http://{HOST}:{gateway.port}{PATH}"
    async with gateway.session.post(url, json=body, headers=headers) as response:
        await response.read()
        return response.status


def requests(beside: Sidecar) -> int:
    return sum(each["requests"] for each in beside.traffic.report()["revisions"].values())


@asynccontextmanager
async def served(running: Any, server: str, gateway: str, **options: Any) -> AsyncIterator[tuple[Haproxy, Sidecar]]:
    """A model server behind a gateway, and the collectors of both."""
    async with (
        running(otlp_endpoint=server, service_uid=UID) as client,
        haproxy(otlp_endpoint=gateway, **options) as before,
        following(before, Member("digits-1", HOST, client.server.port)) as beside,
    ):
        await until(lambda: beside.standing.ready(), "the replica is up")  # noqa: PLW0108 - another standing each time
        yield before, beside


async def whole(found: Collector, count: int = 1) -> dict[str, list[Seen]]:
    """Spans by trace, once so many requests are told of by both sides."""

    def there() -> bool:
        return all(
            sum(each.server and each.service.startswith(service) == own for each in found.spans) >= count
            for service, own in (("digits-gateway", True), ("digits-gateway", False))
        )

    await until(there, "the gateway's and the server's spans arrive")
    traces: dict[str, list[Seen]] = {}
    for each in found.spans:
        traces.setdefault(each.trace, []).append(each)
    return {trace: spans for trace, spans in traces.items() if spans[0].name != "batch"}


@pytest.mark.parametrize("given", [True, False])
async def test_a_request_is_one_trace_from_its_caller_to_the_model(running: Any, ask: Any, given: bool) -> None:
    trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    headers = {"traceparent": f"00-{trace}-{caller}-01"} if given else {}
    async with collector() as found, served(running, found.endpoint, found.endpoint) as (gateway, _):
        assert await asked(gateway, ask(), **headers) == 200
        traces = await whole(found)
    ((number, spans),) = traces.items()
    assert (number == trace) == given
    by_name = {each.name: each for each in spans}
    outer, inner = by_name["POST"], by_name["POST /v2/models/{model}/infer"]
    assert (outer.service, outer.parent) == ("digits-gateway", caller if given else "")
    assert (inner.service, inner.parent) == ("trainyard-server", outer.span)
    assert {by_name[name].parent for name in ("read", "decode", "queue", "compute", "encode")} == {inner.span}
    assert outer.attributes["trainyard.replica"] == "digits-1"
    slack = 5_000_000  # HAProxy counts milliseconds
    assert outer.began_ns - slack <= inner.began_ns <= inner.ended_ns <= outer.ended_ns + slack


async def test_what_the_server_refuses_is_an_error_at_both(running: Any) -> None:
    async with collector() as found, served(running, found.endpoint, found.endpoint) as (gateway, _):
        assert await asked(gateway, {"inputs": []}) == 400
        ((_, spans),) = (await whole(found)).items()
    assert [each.failed for each in spans if each.server] == [True, True]


async def test_the_gateway_decides_for_both_which_part_is_traced(running: Any, ask: Any) -> None:
    async with collector() as found:
        async with served(running, found.endpoint, found.endpoint, trace_ratio=0.3) as (gateway, _):
            assert {await asked(gateway, ask()) for _ in range(60)} == {200}
            assert await asked(gateway, ask(), traceparent=f"00-{7:032x}-{9:016x}-01") == 200
        traces = await whole(found)  # both ended, and have sent what was left
    assert 5 < len(traces) < 40
    assert all(sum(each.server for each in spans) == 2 for spans in traces.values()), "none is traced by one side only"


async def test_without_a_collector_that_answers_nothing_else_is_lost(running: Any, ask: Any) -> None:
    away = "http://127.0.0.1:9"
    async with served(running, away, away) as (gateway, beside):
        beside.traffic.know(Membership(1, (Member("digits-1", HOST, 1, digest=DIGEST),)))
        assert {await asked(gateway, ask()) for _ in range(50)} == {200}
        await until(lambda: requests(beside) == 50, "the sidecar counts on")
