"""8 bits where the hardware has them, a refusal where it has not, and the same weights in either."""

import pytest
import torch
from torch import Tensor, nn
from trainer.errors import ConfigurationError
from trainer.models import build_model
from trainer.optimization import Loss
from trainer.precision import check_precision, multiply_in_8_bits

from tests.unit.trainer.gang import StartGang, specification
from tests.unit.trainer.test_specification import parse

GPU = torch.device("cuda", 0)
_LLAMA = {"dim": 32, "layers": 2, "heads": 2, "keyValueHeads": 1, "hidden": 64, "vocabulary": 64}


def test_a_job_in_8_bits_fails_at_once_without_a_gpu(start_gang: StartGang, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.train.load_raw", lambda *_: pytest.fail("data was read"))
    gang = start_gang(specification(precision="fp8"), workers=2)
    assert gang.exit_codes() == [64, 64]
    assert "training.precision: 'fp8' is not usable" in gang.outcome()["cause"]
    assert "compute capability 8.9 or more" in gang.outcome()["cause"]


@pytest.mark.parametrize("capability", [(8, 0), (8, 6), (7, 5)])
def test_a_gpu_without_8_bits_is_named(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    with pytest.raises(ConfigurationError, match=rf"'fp8'.*NVIDIA A100 has {capability[0]}\.{capability[1]}"):
        check_precision("fp8", GPU)


@pytest.mark.parametrize("capability", [(8, 9), (9, 0), (10, 0), (12, 0)])
def test_a_gpu_with_8_bits_may_use_them(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    check_precision("fp8", GPU)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_are_everywhere(precision: str) -> None:
    check_precision(precision, torch.device("cpu"))


def test_matrices_shared_by_workers_are_not_multiplied_in_8_bits() -> None:
    with pytest.raises(ConfigurationError, match="1 with precision fp8") as caught:
        parse({"precision": "fp8", "parallelism": {"tensor": 2}}, model={"name": "llama"}, dataset={"name": "docs"})
    assert caught.value.field == "training.parallelism.tensor"


def llama() -> nn.Module:
    torch.manual_seed(0)
    return build_model("llama", {**_LLAMA, "inputShape": [24], "outputs": 64})


def gradients(module: nn.Module) -> dict[str, Tensor]:
    tokens = torch.arange(3 * 25).view(3, 25) * 7 % 64  # 72 of them: no multiple of 16
    with torch.autocast("cpu", torch.bfloat16):
        Loss("cross-entropy", 0.0, 1.0).summed(module(tokens[:, :-1]), tokens[:, 1:]).backward()
    return {name: each.grad for name, each in module.named_parameters() if each.grad is not None}


@pytest.mark.slow  # imports what multiplies in 8 bits
@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # in the library, where Python compiles it anew
def test_8_bits_give_nearly_the_same_gradients_to_the_same_weights() -> None:
    plain, rounded = llama(), llama()
    multiply_in_8_bits(rounded, emulate=True)
    assert list(plain.state_dict()) == list(rounded.state_dict())
    assert {name for name, each in rounded.named_modules() if type(each) is nn.Linear} == {"head"}
    expected, found = gradients(plain), gradients(rounded)
    assert {each.dtype for each in found.values()} == {torch.float32}
    alike = {
        name: nn.functional.cosine_similarity(expected[name].flatten(), found[name].flatten(), 0) for name in found
    }
    assert min(alike.values()) > 0.98
    assert not torch.equal(expected["layers.0.feed.up.weight"], found["layers.0.feed.up.weight"])


@pytest.mark.slow  # likewise
@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_a_model_without_matrices_for_8_bits_is_refused() -> None:
    module = build_model("linear", {"inputShape": [64], "outputs": 16})
    with pytest.raises(ConfigurationError, match="no linear layer of this model") as caught:
        multiply_in_8_bits(module)
    assert caught.value.field == "training.precision"
