"""Pruned models are smaller ones of the same kind; a student learns what its teacher answers."""

from pathlib import Path

import pytest
import torch
from trainer.compression.measuring import latencies, quality
from trainer.compression.methods import make, steps_of
from trainer.compression.pruning import kept_of, pruned
from trainer.compression.specification import Asked
from trainer.compression.unsuitable import UnsuitableError
from trainer.models import build_model

from tests.unit.trainer.compressing import exported, parameters_of, parent_of

TUNING = {"epochs": 0, "learningRate": 0.01, "batchSize": 32, "temperature": 2.0, "softWeight": 0.7}


def ignore(_loss: float) -> None:
    """No step is watched."""


@pytest.mark.parametrize(
    ("units", "fraction", "kept"), [(10, 0.5, 5), (128, 0.5, 64), (100, 0.5, 48), (4, 0.99, 1), (1, 0.5, 1)]
)
def test_at_least_one_unit_stays_and_of_many_an_even_number(units: int, fraction: float, kept: int) -> None:
    assert kept_of(units, fraction) == kept


def test_pruning_shrinks_the_shapes_of_a_layer_and_of_what_follows_it() -> None:
    architecture = {"model": "mlp", "parameters": {"inputShape": [4], "outputs": 3, "hidden": [32, 12]}}
    smaller, described = pruned(build_model("mlp", architecture["parameters"]), architecture, 0.5)  # type: ignore[arg-type]
    shapes = [shape for name, shape in parameters_of(smaller).items() if name.endswith("weight")]
    assert shapes == [(16, 4), (6, 16), (3, 6)]
    assert described["parameters"]["hidden"] == [16, 6]


def test_units_that_do_nothing_are_the_ones_that_go() -> None:
    torch.manual_seed(2)
    parameters = {"inputShape": [4], "outputs": 3, "hidden": [10, 8]}
    module = build_model("mlp", parameters).eval()
    with torch.no_grad():
        module.body[1].weight[::2] = 0
        module.body[1].bias[::2] = 0
        module.body[7].weight[:, 1::2] = 0  # nobody listens to these
    smaller, _ = pruned(module, {"model": "mlp", "parameters": parameters}, 0.5)
    inputs = torch.randn(20, 4)
    with torch.inference_mode():
        assert torch.allclose(smaller(inputs), module(inputs), atol=1e-6)


def test_channels_of_a_convolution_go_with_what_follows_them() -> None:
    parameters = {"inputShape": [1, 8, 8], "outputs": 10, "width": 16}
    module = build_model("cnn", parameters).eval()
    smaller, described = pruned(module, {"model": "cnn", "parameters": parameters}, 0.5)
    assert described["parameters"]["width"] == 8
    shapes = parameters_of(smaller)
    assert shapes == parameters_of(build_model("cnn", described["parameters"]))
    assert shapes["body.0.weight"] == (8, 1, 3, 3)
    assert shapes["body.12.weight"] == (10, 32 * 16)
    assert smaller(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    first = module.state_dict()["body.0.weight"]
    assert all((first == channel).flatten(1).all(dim=1).any() for channel in smaller.state_dict()["body.0.weight"])


def test_gates_of_a_decoder_that_let_nothing_pass_are_the_ones_that_go() -> None:
    torch.manual_seed(2)
    parameters = {"inputShape": [6], "outputs": 11, "vocabulary": 11, "dim": 16, "layers": 2, "heads": 2}
    parameters |= {"keyValueHeads": 1, "hidden": 24, "theta": 10_000.0}
    module = build_model("llama", parameters).eval()
    with torch.no_grad():
        for block in module.blocks():
            block.feed.up.weight[:12] = 0
    smaller, described = pruned(module, {"model": "llama", "parameters": parameters}, 0.5)
    tokens = torch.randint(11, (3, 6))
    with torch.inference_mode():
        assert torch.allclose(smaller(tokens), module(tokens), atol=1e-5)
    assert described["parameters"]["hidden"] == 12


def test_a_kind_of_model_that_cannot_be_thinned_is_refused_with_those_that_can(tmp_path: Path) -> None:
    parent = parent_of(exported(tmp_path / "parent", "lstm"))
    with pytest.raises(
        UnsuitableError, match="needs a model whose layers can be thinned: mlp, cnn, llama; this is lstm"
    ):
        make(Asked("half", "Pruned", {"fraction": 0.5, **TUNING}), parent, ignore)


@pytest.mark.parametrize("dataset", ["iris", "diabetes"])
def test_a_student_comes_near_its_teacher(tmp_path: Path, dataset: str) -> None:
    parent = parent_of(exported(tmp_path / "parent", "mlp", dataset, hidden=[32]))
    student = {"name": "mlp", "parameters": {"hidden": [8], "dropout": 0.0}}
    ends = []
    for epochs in (1, 20):
        parameters = {**TUNING, "epochs": epochs, "softWeight": 1.0}
        asked = Asked("small", "Distilled", parameters, student)
        losses: list[float] = []
        made = make(asked, parent, losses.append)
        assert len(losses) == steps_of(asked, parent)
        assert made.architecture["parameters"]["hidden"] == [8]
        ends.append(quality(made.module, parent).sqnr)
    assert ends[1] > ends[0] + 3


def test_a_student_of_another_shape_is_refused(tmp_path: Path) -> None:
    parent = parent_of(exported(tmp_path / "parent", "mlp", "digits"))
    asked = Asked("small", "Distilled", TUNING, {"name": "gan", "parameters": {}})
    with pytest.raises(UnsuitableError, match="needs a student that"):
        make(asked, parent, ignore)


def test_the_quality_of_a_copy_is_the_parents_own(tmp_path: Path) -> None:
    parent = parent_of(exported(tmp_path / "parent"))
    found = quality(parent.module, parent)
    with torch.inference_mode():
        right = parent.module(parent.held_out.inputs).argmax(dim=1) == parent.held_out.targets
    assert found.metric == pytest.approx(float(right.float().mean()))
    assert found.sqnr == float("inf")


def test_a_smaller_model_is_measured_to_be_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.compression.measuring._SECONDS", 0.0)
    parent = parent_of(exported(tmp_path / "parent", hidden=[2048, 2048]))
    small = build_model("mlp", {"inputShape": [4], "outputs": 3, "hidden": [8]}).eval()
    own, its = latencies(parent, small, (1, 64))
    assert list(own) == list(its) == [1, 64]
    assert all(its[size] < own[size] for size in own)
