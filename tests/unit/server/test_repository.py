"""Several models and versions in one server: which are served, what is refused, what unloading gives back."""

import asyncio
import gc
import json
import os
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from server.config import from_environment
from server.errors import StartError

from tests.unit.gateway.rig import until

LARGE = {"model": "mlp", "parameters": {"inputShape": [1, 4, 4], "outputs": 3, "hidden": [3000, 3000]}}


@pytest.fixture
def repository(export: Any, tmp_path: Path) -> Callable[..., Path]:
    """Write `name/version` folders, each a copy of an exported model; returns the root."""

    def write(*places: str, **card: Any) -> Path:
        root = tmp_path / "repository"
        for place in places:
            shutil.copytree(export(**card), root / place, dirs_exist_ok=True)
        return root

    return write


async def index(client: Any, **body: Any) -> dict[tuple[str, str], tuple[str, str]]:
    status, models = await client.infer(body, "/v2/repository/index")
    assert status == 200
    return {(one["name"], one["version"]): (one["state"], one["reason"]) for one in models}


async def test_each_model_answers_under_its_folders_name_and_the_highest_version_by_default(
    running: Any, repository: Any, ask: Callable[..., Any]
) -> None:
    async with running(repository=repository("a/2", "a/10", "b/1")) as client:
        assert (await client.get("/v2"))[1]["extensions"][-2:] == [
            "model_repository",
            "model_repository(unload_dependents)",
        ]
        assert (await client.get("/v2/models/a"))[1]["versions"] == ["2", "10"]
        assert (await client.infer(ask(), "/v2/models/a/infer"))[1]["model_version"] == "10"
        assert (await client.infer(ask(), "/v2/models/a/versions/2/infer"))[1]["model_version"] == "2"
        assert (await client.infer(ask(), "/v2/models/b/infer"))[1]["model_name"] == "b"
        status, reply = await client.get("/v2/models/a/versions/3")
        assert (status, reply) == (404, {"error": "version '3' of model 'a' is not here; expected '2' or '10'"})
        stats = (await client.get("/v2/models/stats"))[1]["model_stats"]
    assert [(one["name"], one["version"], one["inference_count"]) for one in stats] == [
        ("a", "2", 1),
        ("a", "10", 1),
        ("b", "1", 1),
    ]


async def test_models_that_cannot_be_loaded_say_why_and_harm_no_other(
    running: Any, repository: Any, ask: Callable[..., Any]
) -> None:
    root = repository("good/1", "pickled/1", "altered/1", "empty/1")
    torch.save({"a": 1}, root / "pickled" / "1" / "old.pt")
    with (root / "altered" / "1" / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    shutil.rmtree(root / "empty" / "1")
    async with running(repository=root) as client:
        listed = await index(client)
        assert await index(client, ready=True) == {("good", "1"): ("READY", "")}
        assert (await client.get("/v2/health/ready"))[0] == 200
        assert (await client.infer(ask(), "/v2/models/good/infer"))[0] == 200
        status, reply = await client.get("/v2/models/pickled/ready")
    assert {place: state for place, (state, _) in listed.items()} == {
        ("altered", "1"): "UNAVAILABLE",
        ("empty", ""): "UNAVAILABLE",
        ("good", "1"): "READY",
        ("pickled", "1"): "UNAVAILABLE",
    }
    assert "digest mismatch" in listed["altered", "1"][1]
    assert "old.pt; pickled weights run code when read and are refused" in listed["pickled", "1"][1]
    assert "has no version" in listed["empty", ""][1]
    assert status == 503
    assert "old.pt" in reply["error"]


async def test_a_model_is_loaded_and_unloaded_while_another_serves(
    running: Any, repository: Any, ask: Callable[..., Any]
) -> None:
    root = repository("a/1")
    async with running(repository=root) as client:
        assert (await client.infer({}, "/v2/repository/models/b/load"))[0] == 404
        repository("b/1")
        assert await client.infer({}, "/v2/repository/models/b/load") == (200, {})
        assert (await client.infer(ask(), "/v2/models/b/infer"))[0] == 200
        kept = client.server.repository.find("b")
        assert await client.infer(b"", "/v2/repository/models/b/load") == (200, {})
        assert client.server.repository.find("b") is kept
        unloading = {"parameters": {"unload_dependents": True}}
        assert await client.infer(unloading, "/v2/repository/models/b/unload") == (200, {})
        assert (await client.infer(ask(), "/v2/models/b/infer"))[0] == 503
        assert (await client.infer(ask(), "/v2/models/a/infer"))[0] == 200
        assert (await index(client))["b", "1"] == ("UNAVAILABLE", "unloaded")
        async with client.session.get(f"{client.base}/metrics") as response:
            text = await response.text()
    assert 'model="a"' in text
    assert 'model="b"' not in text


async def test_a_new_version_is_taken_up_and_one_that_fails_leaves_the_old(
    running: Any, repository: Any, ask: Callable[..., Any]
) -> None:
    root = repository("a/1")
    async with running(repository=root) as client:
        repository("a/2", labels=None)
        assert (await client.infer({}, "/v2/repository/models/a/load"))[0] == 200
        assert (await client.infer(ask(), "/v2/models/a/infer"))[1]["model_version"] == "2"
        before = client.server.repository.find("a", "1")
        repository("a/1", preprocessing={"mean": 0.0, "std": 1.0})
        assert (await client.infer({}, "/v2/repository/models/a/load"))[0] == 200
        assert client.server.repository.find("a", "1") is not before
        card = root / "a" / "2" / "card.json"
        card.write_text(json.dumps(json.loads(card.read_text()) | {"digest": "sha256:0"}))
        status, reply = await client.infer({}, "/v2/repository/models/a/load")
        assert status == 400
        assert reply["error"].startswith("cannot load model 'a': version 2: digest mismatch")
        assert (await client.infer(ask(), "/v2/models/a/infer"))[1]["model_version"] == "2"
        shutil.rmtree(root / "a" / "2")
        assert (await client.infer({}, "/v2/repository/models/a/load"))[0] == 200
        assert (await client.infer(ask(), "/v2/models/a/infer"))[1]["model_version"] == "1"


async def test_unloading_frees_the_memory(running: Any, repository: Any, ask: Callable[..., Any]) -> None:
    root = repository("large/1", architecture=LARGE)
    async with running(repository=root) as client:
        await client.infer(ask(), "/v2/models/large/infer")
        weights = [weakref.ref(one) for one in client.server.repository.only.model.module.parameters()]
        size = sum(one().numel() * 4 for one in weights)  # type: ignore[union-attr]
        before = _resident()
        assert (await client.infer({}, "/v2/repository/models/large/unload"))[0] == 200
        gc.collect()
        assert all(one() is None for one in weights)
        assert size > 36e6
        assert before - _resident() > 0.9 * size


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_parameters_that_would_change_what_is_loaded_are_refused(running: Any, repository: Any) -> None:
    async with running(repository=repository("a/1")) as client:
        status, reply = await client.infer({"parameters": {"config": "{}"}}, "/v2/repository/models/a/load")
    assert status == 400
    assert "parameter 'config' is not supported" in reply["error"]


@pytest.mark.parametrize("name", ["..%2F..", "%2E%2E", "a%2F1"])
async def test_a_name_leads_nowhere_but_into_the_repository(running: Any, repository: Any, name: str) -> None:
    async with running(repository=repository("a/1")) as client:
        assert (await client.infer({}, f"/v2/repository/models/{name}/load"))[0] in (400, 404)


async def test_a_server_of_one_model_loads_no_other(running: Any) -> None:
    async with running() as client:
        assert await index(client) == {("digits", "1"): ("READY", "")}
        for change in ("load", "unload"):
            status, reply = await client.infer({}, f"/v2/repository/models/digits/{change}")
            assert status == 400
            assert "set TRAINYARD_REPOSITORY" in reply["error"]


def test_one_model_and_many_are_not_both_asked_for() -> None:
    with pytest.raises(StartError, match="TRAINYARD_MODEL_PATH is set beside TRAINYARD_REPOSITORY"):
        from_environment({"TRAINYARD_MODEL_PATH": "/m", "TRAINYARD_REPOSITORY": "/r"})


async def test_a_server_that_follows_its_folder_serves_what_is_put_in_and_forgets_what_is_taken_out(
    running: Any, repository: Any, ask: Callable[..., Any]
) -> None:
    root = repository("a/1")
    async with running(repository=root, repository_seconds=0.02) as client:
        kept = client.server.repository.find("a")
        repository("b/1", "a/2")
        await served(client, {("a", "1"), ("a", "2"), ("b", "1")})
        assert (await client.infer(ask(), "/v2/models/a/infer"))[1]["model_version"] == "2"
        assert client.server.repository.find("a", "1") is kept
        shutil.rmtree(root / "b")
        await served(client, {("a", "1"), ("a", "2")})
        assert (await client.infer(ask(), "/v2/models/b/infer"))[0] == 404
        root.rename(root.with_name("away"))
        await asyncio.sleep(0.1)
        assert (await client.infer(ask(), "/v2/models/a/infer"))[0] == 200


async def test_a_model_that_could_not_be_loaded_is_tried_again_when_its_files_change(
    running: Any, repository: Any
) -> None:
    root = repository("a/1")
    card = (root / "a" / "1" / "card.json").read_text()
    (root / "a" / "1" / "card.json").write_text("{")
    async with running(repository=root, repository_seconds=0.02) as client:
        assert (await index(client))["a", "1"][0] == "UNAVAILABLE"
        (root / "a" / "1" / "card.json").write_text(card)
        await served(client, {("a", "1")})


async def test_a_server_that_follows_its_folder_is_not_told_what_to_load(running: Any, repository: Any) -> None:
    async with running(repository=repository("a/1"), repository_seconds=30) as client:
        for verb in ("load", "unload"):
            status, reply = await client.infer({}, f"/v2/repository/models/a/{verb}")
            assert status == 400
            assert "expected a change of the folder, which is looked at every 30 s" in reply["error"]


async def served(client: Any, places: set[tuple[str, str]]) -> None:
    """Wait until these are all there is, and ready."""

    async def found() -> bool:
        return await index(client) == dict.fromkeys(places, ("READY", ""))

    await until(found, f"{places} are served")
