"""Which variants are published."""

from dataclasses import replace

import pytest
from trainer.compression.gate import Measured, Published, Refused, Terms, judge

ACCURACY = Terms("accuracy", 0.01, smaller_is_better=False)
LOSS = Terms("loss", 0.02, smaller_is_better=True)
PARENT = Measured(0.98, {1: 0.001, 32: 0.004}, 1000)
SPEAKER = Measured(1.50, {1: 0.001, 32: 0.004}, 1000)
NAN = float("nan")


@pytest.mark.parametrize(
    ("terms", "parent", "variant", "reason"),
    [
        (ACCURACY, PARENT, Measured(0.98, {1: 0.0005, 32: 0.002}, 250), ""),
        (ACCURACY, PARENT, Measured(0.99, {1: 0.0005, 32: 0.002}, 250), ""),
        (ACCURACY, PARENT, Measured(0.9701, {1: 0.0005, 32: 0.002}, 250), ""),
        (ACCURACY, PARENT, Measured(0.95, {1: 0.0005, 32: 0.002}, 250), "accuracy 0.95 is 0.03 worse than"),
        (ACCURACY, PARENT, Measured(NAN, {1: 0.0005, 32: 0.002}, 250), "accuracy nan"),
        (LOSS, SPEAKER, Measured(1.51, {1: 0.0005, 32: 0.002}, 250), ""),
        (LOSS, SPEAKER, Measured(1.40, {1: 0.0005, 32: 0.002}, 250), ""),
        (LOSS, SPEAKER, Measured(1.53, {1: 0.0005, 32: 0.002}, 250), "loss 1.53 is 0.03 worse than the parent's 1.5"),
        (ACCURACY, PARENT, Measured(0.98, {1: 0.002, 32: 0.002}, 250), "slower than the parent at batch size 1: 2 ms"),
        (ACCURACY, PARENT, Measured(0.98, {1: 0.0005, 32: 0.005}, 250), "slower than the parent at batch size 32"),
        (ACCURACY, PARENT, Measured(0.98, {1: NAN, 32: 0.002}, 250), "slower than the parent at batch size 1"),
        (ACCURACY, PARENT, Measured(0.98, {1: 0.00101, 32: 0.002}, 250), ""),
        (ACCURACY, PARENT, Measured(0.98, {1: 0.00099, 32: 0.00399}, 10), "no faster than the parent"),
        (ACCURACY, PARENT, Measured(0.5, {1: 0.002, 32: 0.005}, 250), "accuracy"),
    ],
    ids=[
        "as good and faster",
        "better and faster",
        "within the loss declared",
        "worse than declared",
        "no number",
        "a loss within bounds",
        "a loss that fell",
        "a loss that rose too far",
        "slower one by one",
        "slower in batches",
        "latency no number",
        "as fast one by one and faster in batches",
        "only smaller",
        "worse and slower: the metric is told",
    ],
)
def test_a_variant_is_published_only_if_it_is_good_enough_and_faster(
    terms: Terms, parent: Measured, variant: Measured, reason: str
) -> None:
    verdict = judge(parent, variant, terms)
    if reason:
        assert isinstance(verdict, Refused)
        assert verdict.reason.startswith(reason)
    else:
        assert isinstance(verdict, Published)


def test_the_speedup_is_the_mean_over_the_batch_sizes() -> None:
    verdict = judge(PARENT, Measured(0.98, {1: 0.0005, 32: 0.0005}, 250), ACCURACY)
    assert isinstance(verdict, Published)
    assert verdict.speedup == pytest.approx(4.0)


def test_figures_of_other_batch_sizes_are_not_compared() -> None:
    with pytest.raises(ValueError, match="batch sizes"):
        judge(PARENT, replace(PARENT, latency={1: 0.001}), ACCURACY)
