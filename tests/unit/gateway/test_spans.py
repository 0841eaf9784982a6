"""Traces at the gateway: what real HAProxy makes of `traceparent`, and the spans that are made of its log."""

import re
from functools import partial
from random import Random
from typing import Any

import grpc
import pytest
from gateway.config import ConfigError, Settings, from_environment
from gateway.spans import Spans
from gateway.tracing import tracing
from telemetry.span import Ids, Span

from tests.collector import Seen, collector
from tests.unit.gateway.grpc_rig import Caller, GrpcReplica, grpc_gateway, grpc_replicas
from tests.unit.gateway.rig import Replica, haproxy, needs_haproxy, replicas, until
from tests.unit.gateway.test_sidecar import sidecar

TRACE, SPAN, OWN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "00000000000000aa"
PARENT = f"00-{TRACE}-{SPAN}-01"
NEW = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(00|01)")
NOWHERE = "http://127.0.0.1:9"
MS = 1_000_000


def a_line(**fields: object) -> str:
    known = {
        "frontend": "traffic",
        "backend": "replicas",
        "server": "digits-1",
        "status": 200,
        "method": "POST",
        "term": "--",
        "total_ms": 50,
        "queue_ms": 30,
        "held_ms": "-",
        "retries": "0",
        "trace": TRACE,
        "span": OWN,
        "parent": SPAN,
        "sampled": "01",
        "at_us": 1_000_002,
        "head_ms": 2,
        "path": "/v2/models/digits/infer",
    }
    return " ".join(f"{key}={value}" for key, value in (known | fields).items())


def made(line: str) -> list[Span]:
    found: list[Span] = []
    Spans(found.append, Random(1)).take(line)
    return found


def test_a_line_is_a_span_and_its_time_in_the_queue() -> None:
    request, queue = made(a_line())
    assert (request.name, request.ids, request.parent) == ("POST", Ids(int(TRACE, 16), int(OWN, 16)), int(SPAN, 16))
    assert (request.of_request, request.error) == (True, "")
    at = 1_000_002_000
    assert (request.began_ns, request.ended_ns) == (at - 2 * MS, at + 48 * MS)
    assert (queue.name, queue.ids.trace, queue.parent) == ("queue", request.ids.trace, request.ids.span)
    assert (queue.began_ns, queue.ended_ns) == (at, at + 30 * MS)
    assert request.attributes == {
        "http.request.method": "POST",
        "url.path": "/v2/models/digits/infer",
        "http.response.status_code": 200,
        "trainyard.replica": "digits-1",
        "trainyard.backend": "replicas",
        "trainyard.termination": "--",
    }


def test_time_held_for_a_first_replica_is_a_part_of_its_own() -> None:
    _, hold, queue = made(a_line(held_ms=20))
    assert [(each.name, (each.ended_ns - each.began_ns) / MS) for each in (hold, queue)] == [
        ("hold", 20),
        ("queue", 10),
    ]
    assert hold.ended_ns == queue.began_ns


@pytest.mark.parametrize(
    ("fields", "error", "names"),
    [
        ({"status": 503, "server": "<NOSRV>"}, "503", ["POST", "queue"]),
        ({"status": 429, "server": "<NOSRV>", "queue_ms": -1, "total_ms": 2}, "429", ["POST"]),
        ({"status": 401, "queue_ms": -1, "total_ms": 2}, "401", ["POST"]),
        ({"status": -1, "queue_ms": -1, "term": "CQ"}, "no answer", ["POST", "queue"]),
        ({"queue_ms": 0}, "", ["POST"]),
        ({"parent": "-"}, "", ["POST", "queue"]),
    ],
)
def test_refusals_and_failures_are_errors(fields: dict[str, object], error: str, names: list[str]) -> None:
    found = made(a_line(**fields))
    assert ([each.name for each in found], found[0].error) == (names, error)
    assert ("trainyard.replica" in found[0].attributes) == (fields.get("server") != "<NOSRV>")


@pytest.mark.parametrize(
    "line", [a_line(sampled="00"), a_line(sampled="-", trace="-"), a_line(trace="-"), "sampled=01"]
)
def test_what_is_not_traced_or_cut_off_has_no_span(line: str) -> None:
    assert made(line) == []


def test_without_a_collector_there_are_no_rules() -> None:
    assert tracing(Settings("digits", "u")) == ""


@pytest.mark.parametrize(
    ("name", "value"), [("TRAINYARD_OTLP_ENDPOINT", "collector:4318"), ("TRAINYARD_TRACE_RATIO", "1.5")]
)
def test_bad_settings_are_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is '{value}'; expected"):
        from_environment({"TRAINYARD_SERVICE": "s", "TRAINYARD_SERVICE_UID": "u", name: value})


async def passed_on(options: dict[str, Any], **headers: str) -> dict[str, str]:
    """Headers that a replica gets, in lower case."""
    a = Replica("a")
    async with replicas(a), haproxy(**options) as running:
        await running.follow(a.member)
        assert (await running.post(**dict[str, Any](headers)))[0] == 200
    return {name.lower(): value for name, value in a.headers[-1].items()}


@needs_haproxy
async def test_the_replica_hears_of_the_callers_trace_with_the_gateways_span_in_between() -> None:
    found = await passed_on({"otlp_endpoint": NOWHERE}, traceparent=PARENT, tracestate="a=b")
    trace, span, sampled = NEW.fullmatch(found["traceparent"]).groups()  # type: ignore[union-attr]
    assert (trace, sampled, found["tracestate"]) == (TRACE, "01", "a=b")
    assert span != SPAN
    unsampled = await passed_on({"otlp_endpoint": NOWHERE}, traceparent=f"00-{TRACE}-{SPAN}-00")
    assert unsampled["traceparent"].endswith("-00")


@needs_haproxy
@pytest.mark.parametrize("header", ["", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{SPAN}-01", f"{PARENT}-x"])
async def test_a_missing_or_malformed_header_begins_a_new_trace(header: str) -> None:
    given = {"traceparent": header} if header else {}
    found = await passed_on({"otlp_endpoint": NOWHERE}, tracestate="a=b", **given)
    trace, _, sampled = NEW.fullmatch(found["traceparent"]).groups()  # type: ignore[union-attr]
    assert (trace != TRACE, sampled, "tracestate" in found) == (True, "01", False)


@needs_haproxy
async def test_a_part_of_the_new_traces_is_kept() -> None:
    a = Replica("a")
    async with replicas(a), haproxy(otlp_endpoint=NOWHERE, trace_ratio=0.25) as running:
        await running.follow(a.member)
        for _ in range(10):
            await running.posts(40)
    flags = [headers["traceparent"][-2:] for headers in a.headers]
    assert set(flags) == {"00", "01"}
    assert 60 < flags.count("01") < 140
    assert len({headers["traceparent"] for headers in a.headers}) == 400


@needs_haproxy
async def test_without_a_collector_the_header_is_handed_on_as_it_came() -> None:
    assert (await passed_on({}, traceparent="as it came"))["traceparent"] == "as it came"
    assert "traceparent" not in await passed_on({})


@needs_haproxy
async def test_refused_requests_leave_spans_of_errors_and_keys_are_in_none(tmp_path: Any) -> None:
    (tmp_path / "ann").write_text("secret-key")
    a = Replica("a", fail=500)
    async with collector() as found, replicas(a):
        options = {"otlp_endpoint": found.endpoint, "keys_folder": tmp_path, "ejection": False, "retries": 0}
        async with haproxy(**options) as running, sidecar(running, a) as beside:
            await until(lambda: beside.standing.ready(), "the replica is up")  # noqa: PLW0108 - another standing each time
            assert (await running.post(X_API_Key="secret-wrong"))[0] == 401
            await running.post("/v2/models/digits/infer?token=secret", body=b"secret-body", X_API_Key="secret-key")
            await until(lambda: len(found.named("POST")) == 2, "both arrive")
    refused, failed = sorted(found.named("POST"), key=lambda each: each.began_ns)
    assert [each.attributes["http.response.status_code"] for each in (refused, failed)] == [401, 500]
    assert refused.failed
    assert failed.failed
    assert {each.service for each in found.spans} == {"digits-gateway"}
    assert b"secret" not in b"".join(found.bodies)


@needs_haproxy
async def test_calls_of_grpc_are_traced_alike_and_their_refusals_are_errors_too(tmp_path: Any) -> None:
    (tmp_path / "ann").write_text("secret-key")
    a = GrpcReplica("a")
    options = {"keys_folder": tmp_path, "ejection": False}
    async with (
        collector() as found,
        grpc_replicas(a),
        grpc_gateway(otlp_endpoint=found.endpoint, **options) as (running, caller),
        sidecar(running, a),
    ):
        good: dict[str, Any] = {"x_api_key": "secret-key", "traceparent": PARENT}
        await until(partial(answered, caller, good), "the replica is up")
        assert (await caller.ask(x_api_key="secret-wrong", traceparent=PARENT))[0] == "UNAUTHENTICATED"
        a.status = grpc.StatusCode.INTERNAL
        assert (await caller.ask(**good))[0] == "INTERNAL"
        codes = {None, 13, 16}
        await until(lambda: codes <= {grpc_status(each) for each in found.named("POST")}, "all arrive")
    assert {each.trace for each in found.spans} == {TRACE}
    assert all(each.failed for each in found.named("POST") if grpc_status(each) is not None)
    assert not any(
        each.failed
        for each in found.named("POST")
        if each.attributes.get("trainyard.replica") and not grpc_status(each)
    )
    own = {each.span for each in found.named("POST")}
    assert {headers["traceparent"].split("-")[2] for headers in a.headers} <= own
    assert b"secret" not in b"".join(found.bodies)


async def answered(caller: Caller, metadata: dict[str, Any]) -> bool:
    return (await caller.ask(**metadata))[0] == "OK"


def grpc_status(seen: Seen) -> Any:
    return seen.attributes.get("rpc.grpc.status_code")
