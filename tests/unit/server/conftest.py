"""Small exported models, and a real server on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import torch
from safetensors.torch import save_file
from server.config import Settings
from server.lifecycle import Server
from server.loading import digest_of
from server.state import Phase
from trainer.models import build_model

Export = Callable[..., Path]
Running = Callable[..., AbstractAsyncContextManager["Client"]]
ARCHITECTURE = {"model": "mlp", "parameters": {"inputShape": [1, 4, 4], "outputs": 3, "hidden": [16]}}


class Client:
    """A caller of one server."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session
        self.base = f"http://127.0.0.1:{server.port}"

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self.session.get(self.base + path, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def infer(self, body: object, path: str = "/v2/models/digits/infer") -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(self.base + path, data=data) as response:
            return response.status, await response.json()


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Write an exported model; keyword arguments replace entries of the card. Returns its folder."""

    def write(**card: Any) -> Path:
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        torch.manual_seed(7)
        architecture = card.get("architecture", ARCHITECTURE)
        module = build_model(architecture["model"], architecture["parameters"])
        save_file(module.state_dict(), folder / "model.safetensors")
        shape, outputs = architecture["parameters"]["inputShape"], architecture["parameters"]["outputs"]
        full = {
            "name": "digits",
            "architecture": architecture,
            "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, *shape]}],
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, outputs]}],
            "preprocessing": {"mean": 0.5, "std": 0.25},
            "labels": ["zero", "one", "two"],
            "metrics": {"accuracy": 0.9},
            "digest": digest_of(folder / "model.safetensors"),
            "framework": "torch",
            "dataset": "digits",
            "createdBy": "job",
            "step": 10,
        } | card
        (folder / "card.json").write_text(json.dumps(full))
        return folder

    return write


@pytest.fixture
def running(export: Export) -> Running:
    """`async with running(max_batch=4) as client`: a ready server, stopped at the end."""

    @asynccontextmanager
    async def start(
        card: dict[str, Any] | None = None, *, seconds: float = 120, **changes: Any
    ) -> AsyncIterator[Client]:
        settings = Settings(model_path=export(**(card or {})), host="127.0.0.1", port=0, drain_seconds=0)
        server = Server(replace(settings, **changes))
        task = asyncio.create_task(server.run())
        async with asyncio.timeout(seconds), aiohttp.ClientSession() as session:
            await _settled(server, task)
            try:
                yield Client(server, session)
            finally:
                server.stop()
                with suppress(asyncio.CancelledError):
                    assert await task == 0

    return start


async def _settled(server: Server, task: asyncio.Task[int]) -> None:
    while server.state.phase is Phase.LOADING:
        if task.done():
            task.result()
        await asyncio.sleep(0.005)


def ask(rows: int = 1, value: float = 0.5, **changes: Any) -> dict[str, Any]:
    """A good request of the fixture's model; keyword arguments replace fields of its input."""
    tensor = {"name": "image", "datatype": "FP32", "shape": [rows, 1, 4, 4], "data": [value] * (rows * 16)}
    return {"inputs": [tensor | changes]}


@pytest.fixture(name="ask")
def ask_fixture() -> Callable[..., dict[str, Any]]:
    return ask
