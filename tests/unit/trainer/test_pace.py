"""A worker that is slow is named, though the clock shows all of them the same."""

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn
from trainer.objective import Objective
from trainer.pace import Slowest, slowest_of

from tests.unit.trainer.gang import StartGang, specification
from tests.unit.trainer.layouts import few_documents, language_job

SLOW = "1"


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        ([0.2], Slowest(0.2, 0.2, 0)),
        ([0.2, 0.2, 0.9, 0.2], Slowest(0.2, 0.9, 2)),
        # a parameter server computes no gradients
        ([0.0, 0.3, 0.1], Slowest(0.2, 0.3, 1)),
        ([0.0, 0.0], None),
    ],
)
def test_the_slowest_is_named_beside_the_median(seconds: list[float], found: Slowest | None) -> None:
    assert slowest_of(seconds) == found


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.pace.WINDOW_SECONDS", 0.4)


def slowed(forward: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    def slow(*arguments: Any, **options: Any) -> Any:
        if os.environ["RANK"] == SLOW:
            time.sleep(seconds)
        return forward(*arguments, **options)

    return slow


@pytest.mark.usefixtures("short_windows")
def test_a_slow_worker_is_named(start_gang: StartGang, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Objective, "forward", slowed(Objective.forward, 0.05))
    gang = start_gang(specification(epochs=100_000), workers=3)
    found = gang.wait_for(lambda progress: progress["stepSeconds"] is not None)["stepSeconds"]
    assert found["slowestRank"] == 1
    assert found["slowest"] > max(0.05, 2 * found["p50"])


@pytest.mark.usefixtures("short_windows")
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module")  # of its output, which nothing changes in place
@pytest.mark.parametrize("parallelism", [{"data": "sharded"}, {"tensor": 2}, {"pipeline": 2}], ids=str)
def test_a_slow_worker_is_named_also_where_weights_are_divided(
    start_gang: StartGang, monkeypatch: pytest.MonkeyPatch, parallelism: dict[str, Any]
) -> None:
    few_documents(monkeypatch)
    monkeypatch.setattr(nn.RMSNorm, "forward", slowed(nn.RMSNorm.forward, 0.02))
    gang = start_gang(language_job(parallelism, epochs=100_000), workers=2)
    found = gang.wait_for(lambda progress: progress["stepSeconds"] is not None)["stepSeconds"]
    assert found["slowestRank"] == 1
    assert found["slowest"] > 0.04
    quick = 2 * found["p50"] - found["slowest"]  # the median of two is their mean
    assert found["slowest"] > 2 * quick


@pytest.mark.usefixtures("short_windows")
def test_a_worker_alone_is_measured_too(start_gang: StartGang) -> None:
    gang = start_gang(specification(epochs=100_000))
    found = gang.wait_for(lambda progress: progress["stepSeconds"] is not None)["stepSeconds"]
    assert found["p50"] == found["slowest"] > 0
    assert found["slowestRank"] == 0
