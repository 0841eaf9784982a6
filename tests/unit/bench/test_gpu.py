"""What the GPU's benchmark prints: its arithmetic, and that it claims nothing of hardware it does not know."""

from dataclasses import replace

import pytest
from trainer.models import build_model

from tests.bench.gpu import DECODER, FIRST, TINY, Measured, line, tokens

H200 = "NVIDIA H200"


def measured(seconds: float) -> Measured:
    """A first step of a minute, and then ten alike, in the last of which the loop waits."""
    counts = [5] * (FIRST + 10) + [6]
    return Measured([60.0] + [seconds] * (FIRST + 9), losses=[10.4, 7.25], waits=counts)


def test_utilisation_is_operations_over_the_peak() -> None:
    # 1.04 billion weights that are multiplied, and the attention's own: 6.63e9 operations a token
    found = line(DECODER, "bf16", H200, measured(0.5), 50.0)
    speed = 16 * 2048 / 0.5
    assert found["tokensPerSecond"] == speed
    assert found["value"] == pytest.approx(100 * speed * 6.63e9 / 989.4e12, rel=0.01)
    assert (found["unit"], found["bar"], found["met"]) == ("% of peak (MFU)", 45.0, False)
    assert line(DECODER, "bf16", H200, measured(0.45), 50.0)["met"]
    assert (found["stepSeconds"], found["compileSeconds"], found["waitsPerStep"]) == (
        {"p50": 0.5, "p95": 0.5},
        59.5,
        0.0,
    )


@pytest.mark.parametrize(
    ("device", "precision"), [("NVIDIA H200 NVL", "bf16"), ("CPU, 2 cores", "bf16"), (H200, "fp8")]
)
def test_without_a_known_peak_there_is_no_utilisation(device: str, precision: str) -> None:
    found = line(DECODER, precision, device, measured(0.5), 50.0)
    assert (found["unit"], found["value"], found["peakTeraflops"]) == ("tokens/s", 65536.0, None)
    assert "bar" not in found


def test_the_weights_are_counted_as_they_are() -> None:
    module = build_model("llama", {**TINY.architecture, "inputShape": [8], "outputs": TINY.vocabulary})
    assert sum(each.numel() for each in module.parameters()) == TINY.weights
    assert DECODER.weights == pytest.approx(1.1e9, rel=0.02)


def test_each_token_is_followed_by_the_next() -> None:
    data = tokens(replace(TINY, context=8), 3, seed=0)
    assert (data.inputs[:, 1:] == data.targets[:, :-1]).all()
    assert data.inputs.max() < TINY.vocabulary
