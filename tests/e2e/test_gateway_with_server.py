"""The real model server behind the real gateway, on loopback: what neither can show alone. Needs no cluster."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from server.config import Settings
from server.lifecycle import Server
from trainer.models import build_model, digest_of, load_exported, preprocess

from dev.packages import ensure_programs
from tests.e2e.gateway_rig import HOST, SERVICE_UID, Gateway, Operator, until

pytestmark = pytest.mark.e2e
INFER = "/v2/models/digits/infer"


@pytest.fixture(scope="module", autouse=True)
def _haproxy() -> None:
    ensure_programs({"haproxy": "haproxy"})


@pytest.fixture(autouse=True)
def _torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An exported, untrained classifier of digits."""
    folder = tmp_path / "model"
    folder.mkdir()
    architecture: dict[str, Any] = {"model": "cnn", "parameters": {"inputShape": [1, 8, 8], "outputs": 10}}
    torch.manual_seed(11)
    save_file(build_model("cnn", architecture["parameters"]).state_dict(), folder / "model.safetensors")
    card = {
        "name": "digits",
        "architecture": architecture,
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 1, 8, 8]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}],
        "preprocessing": {"mean": 4.9, "std": 6.0},
        "labels": [str(digit) for digit in range(10)],
        "digest": digest_of(folder / "model.safetensors"),
    }
    (folder / "card.json").write_text(json.dumps(card))
    return folder


class Service:
    """A gateway pod and two replicas."""

    def __init__(
        self, gateway: Gateway, operator: Operator, servers: list[Server], runs: list[asyncio.Task[int]]
    ) -> None:
        self.gateway, self.operator, self.servers, self.runs = gateway, operator, servers, runs

    async def infer(self, session: aiohttp.ClientSession, rows: Any) -> tuple[int, Any]:
        tensor = {"name": "input", "datatype": "FP32", "shape": list(rows.shape), "data": rows.tolist()}
        url = f"http://{HOST}:{self.gateway.traffic}{INFER}"
        async with session.post(url, json={"inputs": [tensor]}) as response:
            return response.status, await response.json()


@pytest.fixture
async def service(tmp_path: Path, model: Path) -> AsyncIterator[Service]:
    operator = Operator(tmp_path)
    await operator.start()
    settings = Settings(model_path=model, service_uid=SERVICE_UID, host=HOST, port=0, drain_seconds=6)
    servers = [Server(settings), Server(settings)]
    runs = [asyncio.create_task(server.run()) for server in servers]
    for server in servers:
        await server.listening.wait()
    digest = digest_of(model / "model.safetensors")
    common = {"address": HOST, "state": "active", "weight": 100, "digest": digest}
    operator.want(*({"name": f"pod-{index}", "port": server.port} | common for index, server in enumerate(servers)))
    gateway = Gateway(tmp_path, operator)
    await gateway.start_haproxy()
    await gateway.start_sidecar()
    await until(lambda: _up(operator) == 2, "both replicas are up")
    yield Service(gateway, operator, servers, runs)
    await gateway.stop()
    for server in servers:
        server.stop()
    assert await asyncio.gather(*runs) == [0, 0]
    await operator.stop()


def _up(operator: Operator) -> int:
    return sum(member["state"] == "UP" for member in operator.last.get("members", {}).values())


async def test_served_labels_are_the_offline_labels(service: Service, model: Path) -> None:
    inputs = np.random.default_rng(5).integers(0, 17, (200, 1, 8, 8)).astype(np.float32)
    module, card = load_exported(model)
    with torch.inference_mode():
        logits = module(preprocess(card, torch.from_numpy(inputs))).numpy()
    sizes = [1, 2, 5, 32, 10] * 4
    parts = np.split(inputs, np.cumsum(sizes)[:-1])
    async with aiohttp.ClientSession() as session:
        replies = await asyncio.gather(*(service.infer(session, part) for part in parts))
    assert {status for status, _ in replies} == {200}
    outputs = [{output["name"]: output["data"] for output in reply["outputs"]} for _, reply in replies]
    assert [label for one in outputs for label in one["label"]] == [str(row.argmax()) for row in logits]
    served = np.concatenate([np.array(one["logits"], np.float32).reshape(-1, 10) for one in outputs])
    np.testing.assert_allclose(served, logits, rtol=1e-4, atol=1e-5)


@pytest.mark.fault(89)
async def test_a_replica_that_is_told_to_stop_without_a_drain_loses_no_request(service: Service) -> None:
    """As `kubectl drain` does it: SIGTERM comes before the operator could take the replica out."""
    statuses: list[int] = []
    done = asyncio.Event()
    rows = np.zeros((1, 1, 8, 8), np.float32)

    async def call(session: aiohttp.ClientSession) -> None:
        while not done.is_set():
            statuses.append((await service.infer(session, rows))[0])

    async with aiohttp.ClientSession() as session:
        callers = [asyncio.create_task(call(session)) for _ in range(8)]
        await until(lambda: len(statuses) > 50, "answers")
        service.servers[0].stop()
        await until(lambda: _up(service.operator) == 1, "the gateway sees that it is leaving", 6)
        assert await asyncio.wait_for(service.runs[0], 60) == 0
        seen = len(statuses)
        await until(lambda: len(statuses) > seen + 50, "answers of the other one")
        done.set()
        await asyncio.gather(*callers)
    assert set(statuses) == {200}
