"""Spans of the server's requests, as a collector gets them."""

import asyncio
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from tests.collector import Collector, Seen, collector
from tests.unit.gateway.rig import until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
PATH = "/v2/models/digits/infer"
ROUTE = "POST /v2/models/{model}/infer"
ZEROS = np.zeros((1, 1, 4, 4), np.float32)


async def infer(client: Any, body: object, path: str = PATH, **headers: str) -> int:
    async with client.session.post(client.base + path, json=body, headers=headers) as response:
        await response.read()
        return int(response.status)


async def the_one(found: Collector, name: str) -> Seen:
    """The only span of that name, once it is there."""
    await until(lambda: found.named(name), f"a span {name!r} arrives")
    (seen,) = found.named(name)
    return seen


async def test_a_request_is_a_span_of_its_callers_trace_with_its_parts(running: Any, ask: Any) -> None:
    async with collector() as found, running(otlp_endpoint=found.endpoint, model_name="digits") as client:
        assert await infer(client, ask(rows=2), traceparent=PARENT) == 200
        request = await the_one(found, ROUTE)
        assert (request.trace, request.parent, request.server, request.failed) == (TRACE, SPAN, True, False)
        assert request.attributes == {
            "http.request.method": "POST",
            "http.route": "/v2/models/{model}/infer",
            "http.response.status_code": 200,
            "trainyard.model": "digits",
            "trainyard.model.version": "1",
        }
        parts = {name: await the_one(found, name) for name in ("read", "decode", "queue", "compute", "encode")}
        assert {(part.trace, part.parent) for part in parts.values()} == {(TRACE, request.span)}
        assert all(request.began_ns <= part.began_ns <= part.ended_ns <= request.ended_ns for part in parts.values())
        starts = [part.began_ns for part in parts.values()]
        assert starts == sorted(starts)
        batch = await the_one(found, "batch")
        assert (parts["compute"].links, batch.links) == ((batch.span,), (parts["compute"].span,))
        assert (batch.trace != TRACE, batch.attributes["trainyard.batch.rows"]) == (True, 2)
        assert {each.service for each in found.spans} == {"digits"}


async def test_requests_of_one_batch_are_linked_to_it(running: Any, ask: Any) -> None:
    limits = {"latency_budget_ms": 500, "max_batch": 4}
    async with collector() as found, running(otlp_endpoint=found.endpoint, **limits) as client:
        await asyncio.gather(*(infer(client, ask()) for _ in range(4)))
        await until(lambda: len(found.named("compute")) == 4, "all arrive")
        batches = {each.span: each for each in found.named("batch")}
        links = [link for each in found.named("compute") for link in each.links]
        assert set(links) == set(batches)
        assert len(links) == 4
        together = max(batches.values(), key=lambda each: len(each.links))
        assert len(together.links) == together.attributes["trainyard.batch.rows"] > 1


@pytest.mark.parametrize(
    ("body", "path", "status", "name"),
    [
        ({"inputs": []}, PATH, 400, ROUTE),
        ({"inputs": []}, "/v2/models/other/infer", 404, ROUTE),
        ({}, "/nowhere/secret-path", 404, "POST"),
    ],
)
async def test_a_refused_request_is_an_error(running: Any, body: object, path: str, status: int, name: str) -> None:
    async with collector() as found, running(otlp_endpoint=found.endpoint) as client:
        assert await infer(client, body, path) == status
        request = await the_one(found, name)
        assert request.failed
        assert (request.attributes["http.response.status_code"], request.attributes["error.type"]) == (
            status,
            str(status),
        )


async def test_a_caller_that_leaves_is_an_error_without_a_status(
    running: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with collector() as found, running(otlp_endpoint=found.endpoint) as client:
        go_on = threading.Event()
        batcher = client.server.repository.only.batcher
        compute = batcher._compute
        monkeypatch.setattr(batcher, "_known", False)  # so that it computes in its thread
        monkeypatch.setattr(batcher, "_compute", lambda rows: go_on.wait(10) and compute(rows))
        call = asyncio.create_task(infer(client, ask()))
        await until(lambda: client.server.state.in_flight, "it is in flight")
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await until(lambda: not client.server.state.in_flight, "the server knows")
        go_on.set()
        request = await the_one(found, ROUTE)
        assert (request.failed, request.attributes["error.type"]) == (True, "no answer")
        assert "http.response.status_code" not in request.attributes


async def test_the_caller_decides_what_is_traced_and_without_one_the_ratio(running: Any, ask: Any) -> None:
    async with collector() as found, running(otlp_endpoint=found.endpoint, trace_ratio=0.0) as client:
        for header in ({}, {"traceparent": f"00-{TRACE}-{SPAN}-00"}, {"traceparent": PARENT}):
            assert await infer(client, ask(), **header) == 200
        await the_one(found, ROUTE)
        assert {each.trace for each in found.spans if each.name != "batch"} == {TRACE}


async def test_probes_and_metrics_leave_no_spans(running: Any, ask: Any) -> None:
    async with collector() as found, running(otlp_endpoint=found.endpoint) as client:
        for path in ("/v2/health/ready", "/v2/health/live"):
            assert (await client.get(path))[0] == 200
        await infer(client, ask())
        await the_one(found, ROUTE)
        assert [each.name for each in found.spans if each.server] == [ROUTE]


async def test_nothing_of_headers_and_bodies_is_in_a_span(running: Any, ask: Any) -> None:
    async with collector() as found, running(otlp_endpoint=found.endpoint) as client:
        asked = ask() | {"id": "secret-id", "parameters": {"note": "secret-note"}}
        headers = {"Authorization": "Bearer secret-key", "X-API-Key": "secret-key", "Cookie": "secret-cookie"}
        await infer(client, asked, f"{PATH}?token=secret-query", **headers)
        await infer(client, b"secret-body".decode(), **headers)
        await until(lambda: len(found.named(ROUTE)) == 2, "both arrive")
        assert b"secret" not in b"".join(found.bodies)


async def test_a_call_of_grpc_is_a_span_too(running: Any) -> None:
    from tritonclient import grpc as triton  # noqa: PLC0415 - as in the tests of its clients: slow to import

    async with collector() as found, running(otlp_endpoint=found.endpoint, grpc_port=0) as client:

        def ask(model: str) -> None:
            asked = triton.InferInput("image", [1, 1, 4, 4], "FP32")
            asked.set_data_from_numpy(ZEROS)
            with triton.InferenceServerClient(f"127.0.0.1:{client.server.grpc_port}") as caller:
                caller.infer(model, [asked], headers={"traceparent": PARENT})

        await asyncio.to_thread(ask, "digits")
        request = await the_one(found, "ModelInfer")
        assert (request.trace, request.parent, request.failed) == (TRACE, SPAN, False)
        assert request.attributes["trainyard.model"] == "digits"
        assert (await the_one(found, "compute")).parent == request.span
        found.spans.clear()
        with pytest.raises(triton.InferenceServerException):
            await asyncio.to_thread(ask, "other")
        refused = await the_one(found, "ModelInfer")
        assert (refused.failed, refused.attributes["error.type"]) == (True, "NOT_FOUND")


@pytest.mark.fault(93)
async def test_answers_are_the_same_while_the_collector_is_away(running: Any, ask: Any) -> None:
    async with running(otlp_endpoint="http://127.0.0.1:9") as client:
        assert {await infer(client, ask()) for _ in range(20)} == {200}


@pytest.mark.slow
def test_without_a_collector_nothing_of_it_is_imported() -> None:
    code = (
        "import sys; from server.config import Settings; from server.lifecycle import Server; Server(Settings());"
        "sys.exit(any(name.split('.')[0] in ('opentelemetry', 'telemetry') for name in sys.modules))"
    )
    path = ":".join(f"images/{name}" for name in ("telemetry", "trainer", "server"))
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})
