"""A real server on loopback: answers, probes, metrics, overload, leaving callers, graceful stop."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from server.model import Model
from server.state import Phase
from trainer.models import load_exported, preprocess


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every forward pass takes 50 ms more. Returns the rows of each pass."""
    original = Model.infer
    passes: list[int] = []

    def infer(self: Model, rows: Any) -> Any:
        time.sleep(0.05)
        passes.append(len(rows))
        return original(self, rows)

    monkeypatch.setattr(Model, "infer", infer)
    return passes


async def test_the_answer_is_the_offline_result(running: Any, export: Any, ask: Callable[..., Any]) -> None:
    inputs = np.random.default_rng(3).random((40, 1, 4, 4), dtype=np.float32)
    async with running() as client:
        module, card = load_exported(client.server.settings.model_path)
        with torch.inference_mode():
            offline = module(preprocess(card, torch.from_numpy(inputs))).numpy()
        bodies = [ask(data=one.reshape(-1).tolist()) for one in inputs]
        alone = [await client.infer(one) for one in bodies[:5]]
        together = await asyncio.gather(*(client.infer(one) for one in bodies))
    labels = [card["labels"][index] for index in offline.argmax(axis=1)]
    assert [reply["outputs"][1]["data"][0] for _, reply in together] == labels
    assert [reply["outputs"][1]["data"][0] for _, reply in alone] == labels[:5]
    served = np.array([reply["outputs"][0]["data"] for _, reply in together], dtype=np.float32)
    np.testing.assert_allclose(served, offline, rtol=1e-5, atol=1e-6)
    assert together[0][1]["outputs"][0]["shape"] == [1, 3]


async def test_a_model_without_labels_has_one_output(running: Any, ask: Callable[..., Any]) -> None:
    async with running(card={"labels": None}) as client:
        status, reply = await client.infer(ask(rows=2))
    assert status == 200
    assert [output["name"] for output in reply["outputs"]] == ["logits"]


async def test_metadata_names_inputs_outputs_and_digest(running: Any) -> None:
    async with running(model_name="served-as") as client:
        assert (await client.get("/v2"))[1]["name"] == "trainyard-server"
        status, reply = await client.get("/v2/models/served-as/versions/1")
        assert await client.get("/v2/models/served-as/ready") == (200, {"name": "served-as", "ready": True})
        digest = client.server.repository.only.model.card.digest
    assert status == 200
    assert reply["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 4, 4]}]
    assert [output["name"] for output in reply["outputs"]] == ["logits", "label"]
    assert reply["parameters"] == {"digest": digest}


async def test_the_probe_compares_service_and_digest(running: Any) -> None:
    async with running(service_uid="uid-1") as client:
        digest = client.server.repository.only.model.card.digest
        path = "/v2/health/ready"
        good = {"X-Trainyard-Service": "uid-1", "X-Trainyard-Digest": digest}
        assert (await client.get(path))[0] == 200
        assert (await client.get(path, **good))[0] == 200
        assert (await client.get(path, **{"X-Trainyard-Service": "uid-1", "X-Trainyard-Digest": ""}))[0] == 200
        status, reply = await client.get(path, **(good | {"X-Trainyard-Service": "uid-2"}))
        assert (status, reply) == (409, {"error": "X-Trainyard-Service is 'uid-2'; this server has 'uid-1'"})
        assert (await client.get(path, **(good | {"X-Trainyard-Digest": "sha256:1"})))[0] == 409


async def test_a_request_meant_for_another_service_gets_no_answer_of_this_model(
    running: Any, ask: Callable[..., Any]
) -> None:
    async with running(service_uid="uid-1") as client:
        url = f"{client.base}/v2/models/digits/infer"
        async with client.session.post(url, json=ask(), headers={"X-Trainyard-Service": "uid-2"}) as response:
            assert response.status == 409


@pytest.mark.fault(90)
async def test_overload_is_429_with_retry_after(running: Any, slow: list[int], ask: Callable[..., Any]) -> None:
    async def infer(client: Any) -> tuple[int, str | None, Any]:
        async with client.session.post(f"{client.base}/v2/models/digits/infer", json=ask()) as response:
            return response.status, response.headers.get("Retry-After"), await response.json()

    async with running(max_queue=2, max_batch=1) as client:
        answers = await asyncio.gather(*(infer(client) for _ in range(12)))
    refused = [answer for answer in answers if answer[0] == 429]
    assert refused
    assert {answer[0] for answer in answers} == {200, 429}
    assert all(retry == "1" and "which is the limit" in reply["error"] for _, retry, reply in refused)


async def test_a_caller_that_hangs_up_is_not_computed(running: Any, slow: list[int], ask: Callable[..., Any]) -> None:
    async with running(max_batch=1) as client:
        slow.clear()
        kept = [asyncio.create_task(client.infer(ask())) for _ in range(3)]
        leaving = [asyncio.create_task(client.infer(ask())) for _ in range(5)]
        while client.server.state.in_flight < 6:  # noqa: ASYNC110 - a plain count on purpose
            await asyncio.sleep(0.001)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        assert {status for status, _ in await asyncio.gather(*kept)} == {200}
        async with client.session.get(f"{client.base}/metrics") as response:
            metrics = await response.text()
    assert len(slow) < 8
    assert 'trainyard_server_requests_total{code="499"}' in metrics


async def test_metrics_tell_what_happened(running: Any, ask: Callable[..., Any]) -> None:
    async with running() as client:
        await client.infer(ask(rows=3))
        await client.infer(b"nonsense")
        async with client.session.get(f"{client.base}/metrics") as response:
            text = await response.text()
        digest = client.server.repository.only.model.card.digest
    assert 'trainyard_server_requests_total{code="200"} 1.0' in text
    assert 'trainyard_server_requests_total{code="400"} 1.0' in text
    assert 'trainyard_server_batch_rows_bucket{le="4.0"} 1.0' in text
    assert f'trainyard_server_model_info{{digest="{digest}",model="digits"}} 1.0' in text
    for name in ("queue_depth 0.0", "in_flight_requests 0.0", "ready 1.0", "request_seconds_count 2.0"):
        assert f"trainyard_server_{name}" in text
    for name in ("load_seconds", "warm_up_seconds"):
        value = next(line for line in text.splitlines() if line.startswith(f"trainyard_server_{name} "))
        assert float(value.split()[1]) > 0


async def test_before_the_model_is_loaded_it_is_live_and_not_ready(
    running: Any, monkeypatch: pytest.MonkeyPatch, export: Any, ask: Callable[..., Any]
) -> None:
    async with running() as client:
        client.server.state.phase = Phase.LOADING
        monkeypatch.setattr(client.server.repository, "_entries", {})
        assert (await client.get("/v2/health/live"))[0] == 200
        assert await client.get("/v2/health/ready") == (503, {"error": "the server is loading; expected ready"})
        assert (await client.infer(ask()))[0] == 503


@pytest.mark.fault(89)
async def test_a_stop_under_load_fails_no_request(
    running: Any, slow: list[int], monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Any]
) -> None:
    """Callers go on as a load balancer does: until the probe has said no.

    The moment for that lasts as long as they need here: on busy cores it may be longer than any that a test waits.
    """
    results: list[int] = []
    loaded = asyncio.Event()

    async def call(client: Any) -> None:
        while (await client.get("/v2/health/ready"))[0] == 200:
            results.append((await client.infer(ask()))[0])
            if len(results) >= 32:
                loaded.set()
        results.append((await client.infer(ask()))[0])  # one that was still on its way

    async with running(drain_seconds=0.1) as client:
        callers = [asyncio.create_task(call(client)) for _ in range(16)]
        await loaded.wait()
        idle, moments = client.server.state.idle, []

        async def when_they_have_left() -> None:
            moments.append(time.monotonic() - stopped)
            await asyncio.gather(*callers)
            await idle()

        monkeypatch.setattr(client.server.state, "idle", when_they_have_left)
        stopped = time.monotonic()
        client.server.stop()
        await asyncio.gather(*callers)
        assert client.server.state.phase is Phase.DRAINING
    assert set(results) == {200}
    assert [moment >= 0.1 for moment in moments] == [True]
    assert len(results) >= 32 + 16


async def test_the_exit_waits_for_what_is_in_flight(
    running: Any, slow: list[int], monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Any]
) -> None:
    go_on = threading.Event()
    async with running() as client:
        assert slow, "a model that is known to be quick is computed by the event loop itself"
        batcher = client.server.repository.only.batcher
        compute = batcher._compute
        monkeypatch.setattr(batcher, "_compute", lambda rows: (go_on.wait(60), compute(rows))[1])
        asked = asyncio.create_task(client.infer(ask()))
        while not client.server.state.in_flight:  # noqa: ASYNC110 - a plain count on purpose
            await asyncio.sleep(0.001)
        client.server.stop()
        while client.server.state.phase is not Phase.DRAINING:  # noqa: ASYNC110 - a plain value on purpose
            await asyncio.sleep(0.001)
        assert (await client.get("/v2/health/ready"))[0] == 503
        assert not asked.done()
        go_on.set()
        assert (await asked)[0] == 200
        for _ in range(1000):  # the port closes once the answer is out
            if _is_free(client.server.port):
                return
            await asyncio.sleep(0.01)
        pytest.fail("the server still listens")


def _is_free(port: int) -> bool:
    """Whether nobody listens there. Asked without a connection, which a server that is just ending might never close."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False
