"""Each optimizer's update against its formula, the course of the learning rate, and parts of a step against the whole."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from trainer.optimization import build_optimizer, learning_rate
from trainer.specification import SCHEDULES, Training, parse_specification

from tests.unit.trainer.gang import StartGang, specification
from tests.unit.trainer.test_training import NO_DROPOUT, TOLERANCE, finished, furthest, weights

Vector = NDArray[np.float64]
RATE, STEPS = 0.1, 5


def training(**fields: Any) -> Training:
    document = {"model": {"name": "linear"}, "dataset": {"name": "digits"}, "training": fields}
    return parse_specification(json.dumps(document)).training


def gradient(weight: Vector) -> Vector:
    """Of a small problem: half the squared distance to (3, -1), the second axis ten times as steep."""
    found: Vector = np.array([1.0, 10.0]) * (weight - np.array([3.0, -1.0]))
    return found


def sgd(momentum: float) -> Callable[[Vector, dict[str, Vector], int], Vector]:
    """v = momentum v + g; w = w - rate v (Polyak 1964, as torch starts it: v is g in the first step)."""

    def update(weight: Vector, state: dict[str, Vector], _step: int) -> Vector:
        slope = gradient(weight)
        state["v"] = slope if "v" not in state else momentum * state["v"] + slope
        return weight - RATE * state["v"]

    return update


def adam(decay: float) -> Callable[[Vector, dict[str, Vector], int], Vector]:
    """Kingma and Ba 2015, algorithm 1, with decay apart from the gradient as in Loshchilov and Hutter 2019."""
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def update(weight: Vector, state: dict[str, Vector], step: int) -> Vector:
        weight = weight * (1 - RATE * decay)
        slope = gradient(weight / (1 - RATE * decay))
        state["m"] = beta1 * state.get("m", np.zeros(2)) + (1 - beta1) * slope
        state["v"] = beta2 * state.get("v", np.zeros(2)) + (1 - beta2) * slope**2
        first, second = state["m"] / (1 - beta1**step), state["v"] / (1 - beta2**step)
        found: Vector = weight - RATE * first / (np.sqrt(second) + epsilon)
        return found

    return update


@pytest.mark.parametrize(
    ("fields", "formula"),
    [
        ({"optimizer": "gd"}, sgd(0.0)),
        ({"optimizer": "gd", "momentum": 0.5}, sgd(0.0)),
        ({"optimizer": "sgd", "momentum": 0.0}, sgd(0.0)),
        ({"optimizer": "sgd", "momentum": 0.8}, sgd(0.8)),
        ({"optimizer": "adam"}, adam(0.0)),
        ({"optimizer": "adamw"}, adam(0.01)),
        ({"optimizer": "adamw", "weightDecay": 0.3}, adam(0.3)),
    ],
)
def test_an_optimizer_updates_by_its_formula(
    fields: dict[str, Any], formula: Callable[[Vector, dict[str, Vector], int], Vector]
) -> None:
    parameter = torch.nn.Parameter(torch.tensor([0.0, 0.0], dtype=torch.float64))
    optimizer = build_optimizer(training(learningRate=RATE, **fields), [parameter])
    expected, state = np.zeros(2), dict[str, Vector]()
    for step in range(1, STEPS + 1):
        parameter.grad = torch.from_numpy(gradient(parameter.detach().numpy()))
        optimizer.step()
        expected = formula(expected, state, step)
        assert parameter.detach().numpy() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25, 0.01]),
        ("cosine", [1, (1 + math.cos(math.pi / 4)) / 2, 0.5, (1 + math.cos(3 * math.pi / 4)) / 2, 0.000247]),
        ("trapezoid", [1, 1, 1, 0.625, 0.025]),
    ],
)
def test_a_schedule_takes_its_course(schedule: str, rates: list[float]) -> None:
    asked = training(schedule=schedule, warmupSteps=0, learningRate=1.0)
    found = [learning_rate(asked, step, 100) for step in (0, 25, 50, 75, 99)]
    assert found == pytest.approx(rates, abs=1e-5)


def test_the_rate_rises_in_as_many_steps_as_asked_for() -> None:
    asked = training(schedule="constant", warmupSteps=4, learningRate=1.0)
    assert [learning_rate(asked, step, 100) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


@given(
    schedule=st.sampled_from(SCHEDULES),
    total=st.integers(1, 5000),
    warmup=st.one_of(st.none(), st.integers(0, 100)),
    data=st.data(),
)
def test_the_rate_is_above_zero_and_at_most_what_was_asked_for(
    schedule: str, total: int, warmup: int | None, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, total - 1))
    asked = replace(training(learningRate=0.5), schedule=schedule, warmup_steps=warmup)
    assert 0 < learning_rate(asked, step, total) <= 0.5


@pytest.mark.parametrize("workers", [1, 2])
def test_a_step_in_parts_is_the_whole_step(start_gang: StartGang, tmp_path: Path, workers: int) -> None:
    fields: dict[str, Any] = {"batchSize": 17, "optimizer": "sgd", "learningRate": 0.05, "clipNorm": 0.5}
    whole = finished(start_gang(specification(NO_DROPOUT, **fields), directory=tmp_path / "whole"))
    in_parts = specification(NO_DROPOUT, accumulateSteps=3, **fields)
    parts = finished(start_gang(in_parts, workers=workers, directory=tmp_path / "parts"))
    assert whole["loss"] == pytest.approx(parts["loss"], rel=TOLERANCE)
    assert furthest(weights(tmp_path / "whole"), weights(tmp_path / "parts")) < TOLERANCE


def test_a_clipped_step_is_as_long_as_it_may_be(start_gang: StartGang, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"optimizer": "gd", "epochs": 1, "warmupSteps": 0, "schedule": "constant"}
    runs: dict[str, dict[str, Any]] = {
        "begin": {"learningRate": 1e-30},
        "free": {"learningRate": 1.0},
        "tied": {"learningRate": 1.0, "clipNorm": 1e-2},
    }
    for name, more in runs.items():
        ended = finished(start_gang(specification(NO_DROPOUT, **fields, **more), directory=tmp_path / name))
        assert ended["totalSteps"] == 1, "a full batch is one step an epoch"
    begin, free, tied = (weights(tmp_path / name) for name in runs)
    assert furthest(free, tied) > 1e-3, "the free step goes further"
    lengths = [float(sum((begin[key] - end[key]).square().sum() for key in begin)) ** 0.5 for end in (free, tied)]
    assert lengths[0] > 2e-2
    assert lengths[1] == pytest.approx(1e-2, rel=1e-2)


def test_half_precision_learns_as_well(start_gang: StartGang, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"epochs": 8, "batchSize": 16, "learningRate": 0.01}
    full = finished(start_gang(specification("linear", **fields), directory=tmp_path / "fp32"))
    half = finished(start_gang(specification("linear", precision="bf16", **fields), directory=tmp_path / "bf16"))
    assert half["metrics"]["accuracy"] >= full["metrics"]["accuracy"] - 0.05
    assert {each.dtype for each in weights(tmp_path / "bf16").values()} == {torch.float32}
