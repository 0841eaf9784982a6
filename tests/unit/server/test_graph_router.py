"""The router as a process of its own, in front of real model servers and of servers that fail."""

import asyncio
import gzip
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from server.graph.app import MOST_GRAPHS
from server.graph.asking import DEPTH_HEADER

INFER = "/v2/models/chain/infer"
ROW = [0.1 * value for value in range(16)]
Json = dict[str, Any]


ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


class Router:
    """A caller of one router."""

    def __init__(self, session: aiohttp.ClientSession, base: str, process: asyncio.subprocess.Process) -> None:
        self.session, self.base, self.process = session, base, process
        self._told_to_stop = False

    def stop(self) -> None:
        """Once, as kubelet does: Python puts a signal's default back while it ends."""
        if not self._told_to_stop and self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        self._told_to_stop = True

    async def infer(self, body: Any, path: str = INFER, **headers: str) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(self.base + path, json=body, headers=named) as response:
            return response.status, await response.json()

    async def metrics(self) -> list[str]:
        async with self.session.get(self.base + "/metrics") as response:
            return (await response.text()).splitlines()


@asynccontextmanager
async def routing(*stages: Json, **environment: str) -> AsyncIterator[Router]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {
        "TRAINYARD_GRAPH": json.dumps({"stages": [{"inputs": {}} | stage for stage in stages]}),
        "TRAINYARD_MODEL_NAME": "chain",
        "TRAINYARD_SERVICE_UID": "uid-1",
        "TRAINYARD_HOST": "127.0.0.1",
        "TRAINYARD_PORT": str(port),
        "TRAINYARD_DRAIN_SECONDS": "0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server.graph", env=ENVIRONMENT | told | environment, stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(120), aiohttp.ClientSession() as session:
        router = Router(session, f"http://127.0.0.1:{port}", process)
        try:
            await answering(router)
            yield router
        finally:
            router.stop()
            await process.wait()
    assert process.returncode == 0


async def answering(router: Router) -> None:
    for _ in range(1200):
        try:
            async with router.session.get(router.base + "/v2/health/ready") as response:
                if response.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            assert router.process.returncode is None
        await asyncio.sleep(0.05)
    raise AssertionError("the router does not answer")


@asynccontextmanager
async def standing(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[Json]:
    """A server that answers every inference by `handler`, as a target."""
    app = web.Application()
    app.router.add_post("/v2/models/{model}/infer", handler)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield {"url": f"http://127.0.0.1:{runner.addresses[0][1]}", "model": "m"}
    finally:
        await runner.cleanup()


def asking(**tensor: Any) -> Json:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]} | tensor]}


async def doubling(request: web.Request) -> web.Response:
    """User's own code with the V2 protocol: twice the input, under another name."""
    (tensor,) = (await request.json())["inputs"]
    answer = tensor | {"name": "twice", "data": [2 * value for value in tensor["data"]]}
    return web.json_response({"model_name": "m", "outputs": [answer]})


async def test_a_sequence_an_ensemble_and_a_switch_of_two_real_servers_answer_what_they_would_alone(
    running: Any, ask: Callable[..., Json]
) -> None:
    async with (
        running(seconds=120) as first,
        running(
            card={"architecture": {"model": "linear", "parameters": {"inputShape": [1, 4, 4], "outputs": 3}}},
            seconds=120,
        ) as other,
        standing(doubling) as double,
    ):
        digits, plain = ({"url": one.base, "model": "digits"} for one in (first, other))
        scale = {"name": "scale", "target": double}
        both = {"targets": [digits, plain], "output": "logits", "combine": "Mean"}
        cases = [{"when": {"header": "X-Tier", "equals": "gold"}, "target": plain}]
        doubled = ask(data=[2 * value for value in ROW])
        _, alone = await first.infer(doubled)
        _, plainly = await other.infer(doubled)
        async with (
            routing(scale, {"name": "judge", "inputs": {"image": "scale.twice"}, "ensemble": both}) as router,
            routing(
                scale,
                {"name": "pick", "inputs": {"image": "scale.twice"}, "switch": {"cases": cases, "otherwise": digits}},
            ) as switching,
        ):
            status, mean = await router.infer(ask(data=ROW) | {"id": "7"})
            _, usual = await switching.infer(ask(data=ROW))
            _, golden = await switching.infer(ask(data=ROW), X_Tier="gold")
            lines = await router.metrics()
    logits = [answer["outputs"][0]["data"] for answer in (alone, plainly)]
    assert status == 200
    assert mean["outputs"][0]["data"] == pytest.approx([(a + b) / 2 for a, b in zip(*logits, strict=True)], abs=1e-5)
    assert (mean["model_name"], mean["id"]) == ("chain", "7")
    assert usual["outputs"][0]["data"] == pytest.approx(logits[0], abs=1e-5)
    assert usual["outputs"][1]["data"] == alone["outputs"][1]["data"]
    assert golden["outputs"][0]["data"] == pytest.approx(logits[1], abs=1e-5)
    assert 'trainyard_server_stage_requests_total{code="200",stage="judge"} 2.0' in lines
    assert 'trainyard_server_stage_seconds_count{stage="scale"} 1.0' in lines


async def test_a_failure_keeps_its_status_and_names_its_stage() -> None:
    async def full(_request: web.Request) -> web.Response:
        return web.json_response({"error": "64 requests are waiting"}, status=429, headers={"Retry-After": "3"})

    async with (
        standing(doubling) as double,
        standing(full) as busy,
        routing({"name": "scale", "target": double}, {"name": "judge", "target": busy}) as router,
        router.session.post(router.base + INFER, json=asking()) as response,
    ):
        reply = await response.json()
        lines = await router.metrics()
    assert (response.status, response.headers["Retry-After"]) == (429, "3")
    assert reply == {"error": "stage 'judge': 64 requests are waiting"}
    assert 'trainyard_server_stage_requests_total{code="429",stage="judge"} 1.0' in lines
    assert 'trainyard_server_requests_total{code="429"} 1.0' in lines


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("no JSON", "answered no tensors"),
        ('{"outputs": [{"name": "y"}]}', "outputs[0].datatype is null"),
        ("[]", "no JSON object"),
    ],
)
async def test_a_target_that_answers_nonsense_is_502(answer: str, words: str) -> None:
    async def nonsense(_request: web.Request) -> web.Response:
        return web.Response(text=answer)

    async with standing(nonsense) as target, routing({"name": "odd", "target": target}) as router:
        status, reply = await router.infer(asking())
    assert status == 502
    assert reply["error"].startswith("stage 'odd': ")
    assert words in reply["error"]


@pytest.mark.parametrize("told", [True, False], ids=["of-a-length", "in-chunks"])
async def test_an_answer_longer_than_a_request_may_be_is_502_and_not_read_to_its_end(told: bool) -> None:
    left = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        length = {"Content-Length": str(2**40)} if told else {}
        response = web.StreamResponse(headers={"Content-Type": "application/json", **length})
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 65_536)
        finally:
            left.set()

    async with (
        standing(endless) as target,
        routing({"name": "long", "target": target}, TRAINYARD_MAX_BODY_BYTES="100000") as router,
    ):
        status, reply = await router.infer(asking())
        await left.wait()
    assert status == 502
    said = str(2**40) if told else "more"
    assert reply == {"error": f"stage 'long': {target['url']} answers {said} bytes; expected at most 100000"}


async def test_an_answer_that_would_unfold_to_more_is_not_unfolded() -> None:
    async def folded(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        body = gzip.compress(b" " * 10_000_000)
        return web.Response(body=body, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})

    async with standing(folded) as target, routing({"name": "folded", "target": target}) as router:
        status, reply = await router.infer(asking())
    assert status == 502
    assert "answered no tensors" in reply["error"]


async def test_a_target_that_is_not_there_is_502() -> None:
    async with routing({"name": "gone", "target": {"url": "http://127.0.0.1:1", "model": "m"}}) as router:
        status, reply = await router.infer(asking())
    assert status == 502
    assert "stage 'gone': http://127.0.0.1:1 gave no answer" in reply["error"]


async def test_the_deadline_goes_on_to_the_stages_and_ends_the_request() -> None:
    told: list[int] = []

    async def slow(request: web.Request) -> web.Response:
        told.append(int(request.headers["X-Trainyard-Deadline-Ms"]))
        await asyncio.sleep(0.2)
        return await doubling(request)

    async with standing(slow) as target:
        stages = [{"name": name, "target": target} for name in ("one", "two")]
        async with routing(*stages) as router:
            status, reply = await router.infer(asking(), X_Trainyard_Deadline_Ms="350", X_Trainyard_Priority="2")
    assert status == 504
    assert "stage 'two': the deadline passed" in reply["error"]
    assert told[0] <= 350
    assert told[1] <= 150


async def test_a_caller_that_leaves_ends_what_its_stages_do() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(_request: web.Request) -> web.Response:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return web.Response()

    async with standing(endless) as target, routing({"name": "long", "target": target}) as router:
        asked = asyncio.create_task(router.infer(asking()))
        await begun.wait()
        asked.cancel()
        await ended.wait()


async def test_the_first_failure_of_an_ensemble_ends_the_others() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(_request: web.Request) -> web.Response:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return web.Response()

    async def fails(_request: web.Request) -> web.Response:
        await begun.wait()
        return web.json_response({"error": "no memory"}, status=500)

    async with standing(endless) as long, standing(fails) as broken:
        ensemble = {"targets": [long, broken], "output": "y", "combine": "Mean"}
        async with routing({"name": "both", "ensemble": ensemble}) as router:
            status, reply = await router.infer(asking())
            await ended.wait()
    assert (status, reply) == (500, {"error": "stage 'both': no memory"})


async def test_more_requests_than_may_be_in_flight_are_429() -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def waits(request: web.Request) -> web.Response:
        begun.set()
        await gate.wait()
        return await doubling(request)

    async with (
        standing(waits) as target,
        routing({"name": "slow", "target": target}, TRAINYARD_MAX_QUEUE="1") as router,
    ):
        first = asyncio.create_task(router.infer(asking()))
        await begun.wait()
        status, reply = await router.infer(asking())
        gate.set()
        assert (await first)[0] == 200
    assert status == 429
    assert reply == {"error": "1 requests are in flight, which is the limit; try again later"}


async def test_what_is_meant_for_another_or_goes_in_a_circle_is_refused() -> None:
    async with standing(doubling) as target, routing({"name": "scale", "target": target}) as router:
        meant = await router.infer(asking(), X_Trainyard_Service="uid-2")
        other = await router.infer(asking(), "/v2/models/other/infer")
        circle = await router.infer(asking(), **{DEPTH_HEADER: str(MOST_GRAPHS)})
        binary = await router.infer(asking(), Inference_Header_Content_Length="3")
        unknown = await router.infer(asking() | {"outputs": [{"name": "z"}]})
        chosen = await router.infer(asking() | {"outputs": [{"name": "twice"}]})
    assert [status for status, _ in (meant, other, circle, binary, unknown, chosen)] == [409, 404, 508, 400, 400, 200]
    assert 'outputs[0].name is "z"; expected one of twice' in unknown[1]["error"]


async def test_a_router_that_stops_answers_what_it_accepted() -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def waits(request: web.Request) -> web.Response:
        begun.set()
        await gate.wait()
        return await doubling(request)

    async with standing(waits) as target, routing({"name": "slow", "target": target}) as router:
        asked = asyncio.create_task(router.infer(asking()))
        await begun.wait()
        router.stop()
        await asyncio.sleep(0.3)
        gate.set()
        assert (await asked)[0] == 200


async def test_a_graph_that_is_none_ends_with_65_and_the_reason(tmp_path: Any) -> None:
    reason = tmp_path / "reason"
    told = {"TRAINYARD_GRAPH": "{}", "TRAINYARD_MODEL_NAME": "chain", "TRAINYARD_TERMINATION_LOG": str(reason)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server.graph", env=ENVIRONMENT | told, stderr=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 65
    assert "TRAINYARD_GRAPH holds no graph" in reason.read_text()


async def test_a_router_loads_no_torch() -> None:
    code = "import sys, server.graph.app; sys.exit('torch' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=ENVIRONMENT)
    assert await process.wait() == 0
