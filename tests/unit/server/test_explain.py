"""Integrated gradients as callers get them from a live server."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from server.explain import gradients
from server.explain.limit import MOST
from server.model import Model
from trainer.compression.layers import Int8WeightLinear
from trainer.models import preprocess

V2, V1 = "/v2/models/digits/explain", "/v1/models/digits:explain"
LINEAR = {"model": "linear", "parameters": {"inputShape": [1, 4, 4], "outputs": 3}}
ROW = np.linspace(-1, 1, 16).tolist()
Ask = Callable[..., dict[str, Any]]


def tensors(reply: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    return {one["name"]: np.reshape(one["data"], one["shape"]) for one in reply["outputs"]}


def asking(ask: Ask, data: list[float] = ROW, **parameters: Any) -> dict[str, Any]:
    return ask(rows=len(data) // 16, data=data) | {"parameters": parameters}


async def made(client: Any, count: int) -> None:
    """Return when so many explanations are being made."""
    for _ in range(5000):
        if client.server.repository.only.explaining.running == count:
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"there are not {count} explanations")


async def test_of_a_linear_model_a_single_step_is_exact(running: Any, ask: Ask) -> None:
    async with running(card={"architecture": LINEAR}) as client:
        status, reply = await client.infer(asking(ask, steps=1, target=2), V2)
        weight = client.server.repository.only.model.module.state_dict()
    found = tensors(reply)
    slope = next(value for value in weight.values() if value.ndim == 2)[2].numpy() / 0.25
    assert status == 200
    assert found["attributions"].shape == (1, 1, 4, 4)
    assert found["attributions"].ravel() == pytest.approx(slope * np.array(ROW), abs=1e-5)
    assert found["completeness_gap"] == pytest.approx(0, abs=1e-5)
    assert reply["parameters"] == {"method": "integrated_gradients", "steps": 1}


async def test_the_gap_is_what_it_says_and_shrinks_with_the_steps(running: Any, ask: Ask) -> None:
    gaps = []
    async with running() as client:
        for steps in (1, 10, 1000):
            _, reply = await client.infer(asking(ask, steps=steps, target=0), V2)
            found = tensors(reply)
            difference = found["prediction"] - found["baseline_prediction"]
            gap = found["attributions"].sum() - difference
            assert found["completeness_gap"] == pytest.approx(gap, abs=1e-5)
            gaps.append(abs(gap.item()))
    assert gaps[0] > 5 * gaps[1] > 25 * gaps[2]


async def test_each_row_is_explained_for_its_own_greatest_class(running: Any, ask: Ask) -> None:
    rows = ROW + ROW[::-1] + [3.0] * 16
    async with running() as client:
        _, answer = await client.infer(asking(ask, rows))
        _, reply = await client.infer(asking(ask, rows), V2)
        alone = [tensors((await client.infer(asking(ask, rows[i : i + 16]), V2))[1]) for i in (0, 16, 32)]
    logits, found = tensors(answer)["logits"], tensors(reply)
    assert found["target"].tolist() == logits.argmax(axis=1).tolist()
    assert found["prediction"] == pytest.approx(logits.max(axis=1), abs=1e-5)
    for index, one in enumerate(alone):
        assert found["attributions"][index] == pytest.approx(one["attributions"][0], abs=1e-5)


@pytest.mark.parametrize(
    ("baseline", "same"), [("zero", 0.0), ("mean", 0.5), (ROW, ROW), ([np.reshape(ROW, (4, 4)).tolist()], ROW)]
)
async def test_a_baseline_accounts_for_nothing_and_has_its_own_prediction(
    running: Any, ask: Ask, baseline: Any, same: Any
) -> None:
    row = np.broadcast_to(same, 16).tolist()
    async with running() as client:
        _, answer = await client.infer(asking(ask, row))
        status, reply = await client.infer(asking(ask, row, baseline=baseline, target=1, steps=3), V2)
    found = tensors(reply)
    assert status == 200
    assert not found["attributions"].any()
    assert found["baseline_prediction"] == pytest.approx(tensors(answer)["logits"][:, 1], abs=1e-5)


async def test_v1_tells_the_same_row_by_row(running: Any, ask: Ask) -> None:
    nested = np.reshape(ROW, (1, 4, 4)).tolist()
    async with running() as client:
        _, reply = await client.infer(asking(ask, steps=5), V2)
        status, told = await client.infer({"instances": [nested] * 2, "parameters": {"steps": 5}}, V1)
    assert status == 200
    found = tensors(reply)
    for row in told["explanations"]:
        assert row.keys() == found.keys()
        for name, values in found.items():
            assert np.array(row[name]) == pytest.approx(values[0], abs=1e-5)


async def test_binary_tensors_and_chosen_outputs_are_as_of_an_inference(running: Any, ask: Ask) -> None:
    body = asking(ask) | {"outputs": [{"name": "attributions", "parameters": {"binary_data": True}}]}
    async with running() as client, client.session.post(client.base + V2, json=body) as response:
        raw, length = await response.read(), int(response.headers["Inference-Header-Content-Length"])
        _, reply = await client.infer(asking(ask), V2)
    assert np.frombuffer(raw[length:], "<f4") == pytest.approx(tensors(reply)["attributions"].ravel())


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"steps": 0}, "parameters.steps is 0; expected a whole number from 1 to 1000"),
        ({"steps": 1001}, "parameters.steps is 1001; expected"),
        ({"steps": True}, "parameters.steps is true; expected"),
        ({"target": 3}, "parameters.target is 3; expected a class from 0 to 2"),
        ({"target": "two"}, 'parameters.target is "two"; expected the number of a class'),
        ({"baseline": "noise"}, 'parameters.baseline is "noise"; expected zero, mean, a number, or a list'),
        ({"baseline": [1, 2]}, "parameters.baseline holds 2 values; expected 16 for shape [1, 1, 4, 4]"),
        ({"baseline": [["a"]]}, "parameters.baseline has 1 entries at depth 2"),
        ({"baseline": 1e39}, "parameters.baseline[0] is 1e+39; that does not fit datatype FP32"),
    ],
)
async def test_bad_parameters_are_refused_by_name(running: Any, ask: Ask, parameters: Any, words: str) -> None:
    async with running() as client:
        status, reply = await client.infer(asking(ask, **parameters), V2)
    assert (status, words in reply["error"]) == (400, True), reply


async def test_the_mean_is_refused_where_the_card_has_none(running: Any, ask: Ask) -> None:
    async with running(card={"preprocessing": None}) as client:
        status, reply = await client.infer(asking(ask, baseline="mean"), V2)
    assert status == 400
    assert "the model's card has no mean of its inputs; expected zero, a number, or a list" in reply["error"]


@pytest.mark.parametrize(
    ("card", "why"),
    [
        (
            {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 1, 4, 4]}]},
            "its input 'image' is UINT8, and there is nothing between two whole numbers",
        ),
        (
            {"architecture": {"model": "cnn", "parameters": {"inputShape": [1, 4, 4], "outputs": 3, "width": 4}}},
            None,
        ),
        (
            {"architecture": {"model": "lstm", "parameters": {"inputShape": [1, 4, 4], "outputs": 3, "hidden": 8}}},
            None,
        ),
        (
            {"architecture": {"model": "transformer", "parameters": {"inputShape": [1, 4, 4], "outputs": 3, "dim": 8}}},
            None,
        ),
    ],
    ids=["integers", "cnn", "lstm", "transformer"],
)
async def test_models_with_a_gradient_are_explained_others_refused(running: Any, ask: Ask, card: Any, why: str) -> None:
    async with running(card=card) as client:
        body = asking(ask, [1.0] * 16) if why is None else ask(datatype="UINT8", data=[1] * 16)
        status, reply = await client.infer(body, V2)
    assert (status, reply.get("error")) == (
        (200, None) if why is None else (400, f"model 'digits' cannot be explained by integrated gradients: {why}")
    )


@pytest.mark.parametrize("steps", [1, 7])
async def test_a_layer_that_rounds_is_refused_by_name(running: Any, ask: Ask, steps: int) -> None:
    async with running() as client:
        module = client.server.repository.only.model.module
        name, linear = next((name, one) for name, one in module.named_modules() if isinstance(one, torch.nn.Linear))
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, Int8WeightLinear.of(linear))
        status, reply = await client.infer(asking(ask, steps=steps), V2)
    assert status == 400
    assert f"its layer {name!r} computes with weights in int8, which have no gradient" in reply["error"]


async def test_an_answer_that_hangs_on_no_input_is_refused(
    running: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = preprocess
    async with running() as client:
        monkeypatch.setattr(gradients, "preprocess", lambda card, rows: original(card, rows).detach())
        status, reply = await client.infer(asking(ask), V2)
    assert status == 400
    assert "its answer has no gradient by its input 'image'" in reply["error"]


async def test_a_deadline_ends_an_explanation_and_frees_its_place(running: Any, ask: Ask) -> None:
    body = asking(ask, ROW * 64, steps=1000)
    async with running() as client:
        headers = {"X-Trainyard-Deadline-Ms": "40"}
        began = time.perf_counter()
        for _ in range(MOST + 1):
            async with client.session.post(client.base + V2, json=body, headers=headers) as response:
                status, reply = response.status, await response.json()
        took = time.perf_counter() - began
        text = (await (await client.session.get(client.base + "/metrics")).text()).splitlines()
    assert status == 504
    assert "points" in reply["error"]
    assert took < 5
    assert f'trainyard_server_explanations_total{{code="504"}} {MOST + 1}.0' in text
    assert not any(line.startswith('trainyard_server_requests_total{code="504"}') for line in text)


async def test_more_than_a_few_at_a_time_are_refused_with_429(running: Any, ask: Ask) -> None:
    gate = threading.Event()
    async with running() as client:
        batcher = client.server.repository.only.batcher
        blocked = asyncio.create_task(batcher.aside(lambda: gate.wait(10)))
        waiting = [asyncio.create_task(client.infer(asking(ask), V2)) for _ in range(MOST)]
        await made(client, MOST)
        status, reply = await client.infer(asking(ask), V2)
        gate.set()
        await blocked
        answers = await asyncio.gather(*waiting)
    assert status == 429
    assert f"{MOST} explanations are being made, which is the limit" in reply["error"]
    assert [status for status, _ in answers] == [200] * MOST


async def test_inferences_go_between_the_slices_of_an_explanation(running: Any, ask: Ask) -> None:
    async with running() as client:
        long = asyncio.create_task(client.infer(asking(ask, ROW * 64, steps=1000), V2))
        await made(client, 1)
        for _ in range(20):
            assert (await client.infer(ask()))[0] == 200
        assert not long.done()
        long.cancel()


async def test_a_version_is_explained_by_its_own_path_and_an_unknown_model_is_404(running: Any, ask: Ask) -> None:
    async with running() as client:
        status, reply = await client.infer(asking(ask), "/v2/models/digits/versions/1/explain")
        assert (await client.infer(asking(ask), "/v2/models/other/explain"))[0] == 404
    assert status == 200
    assert reply["model_version"] == "1"


async def test_a_model_that_raises_is_500_and_says_so(running: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as client:

        def broken(_model: Model, _rows: Any) -> Any:
            raise RuntimeError("no memory")

        monkeypatch.setattr(gradients, "_outputs", broken)
        status, reply = await client.infer(asking(ask), V2)
    assert status == 500
    assert reply["error"] == "the model raised RuntimeError: no memory"
