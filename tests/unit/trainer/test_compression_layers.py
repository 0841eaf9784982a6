"""Weights in 8 and 16 bits: how near their answers are, and that a stored variant answers as the one that was made."""

import json
from pathlib import Path

import pytest
import torch
from server.loading import load
from torch import nn
from trainer.compression.layers import Float8Linear, Int8DynamicLinear, Int8WeightLinear, QuantisedLinear
from trainer.compression.methods import make
from trainer.compression.specification import Asked
from trainer.compression.unsuitable import UnsuitableError
from trainer.export import write_model
from trainer.models import ArtifactError, load_exported

from tests.unit.trainer.compressing import exported, parent_of

STORED = ["Int8Dynamic", "Int8Weights", "BFloat16", "Float16"]


def decibels(right: torch.Tensor, found: torch.Tensor) -> float:
    return float(10 * (right.square().sum() / (right - found).square().sum()).log10())


def ignore(_loss: float) -> None:
    """No step is watched."""


@pytest.mark.parametrize(("kind", "least"), [(Int8DynamicLinear, 30), (Int8WeightLinear, 40), (Float8Linear, 25)])
@pytest.mark.parametrize("shape", [(64,), (1, 64), (7, 64), (3, 5, 64)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_rounded_layer_answers_nearly_the_same(
    kind: type[QuantisedLinear], least: float, shape: tuple[int, ...], bias: bool
) -> None:
    torch.manual_seed(1)
    linear, inputs = nn.Linear(64, 48, bias=bias), torch.randn(shape) + 0.5
    with torch.inference_mode():
        found = kind.of(linear)(inputs)
        assert found.shape == linear(inputs).shape
        assert decibels(linear(inputs), found) > least


@pytest.mark.parametrize("inputs", [torch.zeros(2, 8), torch.full((2, 8), 3.0), torch.full((2, 8), -3.0)])
def test_inputs_that_do_not_vary_are_no_trouble(inputs: torch.Tensor) -> None:
    linear = nn.Linear(8, 5)
    with torch.inference_mode():
        assert torch.allclose(Int8DynamicLinear.of(linear)(inputs), linear(inputs), atol=0.05)


def test_a_layer_of_zeros_stays_one() -> None:
    linear = nn.Linear(8, 5, bias=False)
    nn.init.zeros_(linear.weight)
    with torch.inference_mode():
        assert not Int8DynamicLinear.of(linear)(torch.randn(2, 8)).any()


def test_what_the_device_cannot_compute_is_refused_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> torch.Tensor:
        raise RuntimeError("no such primitive. Set a variable")

    parent = parent_of(exported(tmp_path / "parent", "mlp", "digits"))
    monkeypatch.setattr(Int8WeightLinear, "forward", broken)
    with pytest.raises(UnsuitableError, match=r"needs arithmetic that this device does not have: no such primitive$"):
        make(Asked("small", "Int8Weights"), parent, ignore)


@pytest.mark.parametrize("method", STORED)
@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet", "lstm", "transformer"])
def test_a_stored_variant_answers_as_it_did_and_is_smaller(tmp_path: Path, model: str, method: str) -> None:
    parent = parent_of(exported(tmp_path / "parent", model, "digits"))
    try:
        made = make(Asked("small", method), parent, ignore)
    except UnsuitableError as error:
        assert (model, method) == ("lstm", "Float16")
        pytest.skip(str(error))
    assert made.scheme is not None
    (tmp_path / "small").mkdir()
    card = {**parent.card, "architecture": dict(made.architecture), "compression": dict(made.scheme)}
    write_model(tmp_path / "small", made.module.state_dict(), card)
    again, _ = load_exported(tmp_path / "small")
    inputs = parent.held_out.inputs[:16]
    with torch.inference_mode():
        assert torch.equal(again(inputs), made.module(inputs))
        assert again(inputs).dtype == torch.float32
        assert decibels(parent.module(inputs), again(inputs)) > 15
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("small", "parent")]
    assert sizes[0] < sizes[1]


def test_the_server_loads_a_variant(tmp_path: Path) -> None:
    parent = parent_of(exported(tmp_path / "parent"))
    made = make(Asked("small", "Int8Dynamic"), parent, ignore)
    (tmp_path / "small").mkdir()
    digest = write_model(
        tmp_path / "small", made.module.state_dict(), {**parent.card, "compression": dict(made.scheme or {})}
    )
    loaded = load(tmp_path / "small", digest)
    with torch.inference_mode():
        assert torch.equal(loaded.module(parent.held_out.inputs), made.module(parent.held_out.inputs))


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ({"method": "Int2", "layers": ["body.1"]}, "compression.method is 'Int2'; this version loads Int8Dynamic"),
        ({"method": "Int8Dynamic", "layers": ["body.77"]}, "there is no layer body.77"),
        ({"method": "Int8Dynamic", "layers": ["body.2"]}, "body.2 is a ReLU"),
        ({"method": "Int8Dynamic", "layers": "body.1"}, "expected the names of layers"),
        ({"method": "Int8Dynamic", "layers": ["body.1"]}, "scale"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(tmp_path: Path, scheme: dict[str, object], words: str) -> None:
    folder = exported(tmp_path / "model")
    card = json.loads((folder / "card.json").read_bytes())
    (folder / "card.json").write_text(json.dumps(card | {"compression": scheme}))
    with pytest.raises(ArtifactError, match=words):
        load_exported(folder)


def test_products_in_8_bit_floating_point_need_a_gpu_that_has_them(tmp_path: Path) -> None:
    with pytest.raises(UnsuitableError, match=r"^needs an NVIDIA GPU of compute capability 8\.9 or more"):
        make(Asked("fp8", "Float8"), parent_of(exported(tmp_path / "parent")), ignore)


def test_a_model_without_linear_layers_has_nothing_to_round(tmp_path: Path) -> None:
    parent = parent_of(exported(tmp_path / "parent", "linear"))
    parent.module.body = nn.Sequential(nn.Flatten(), nn.Bilinear(4, 4, 3))
    with pytest.raises(UnsuitableError, match="needs a linear layer"):
        make(Asked("int8", "Int8Dynamic"), parent, ignore)
