"""A compiled model is used only where it is faster and answers the same."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from server import compiling
from server.compiling import Comparison, Fitted, compiled, faster_from
from server.config import Settings, from_environment
from server.errors import StartError
from server.loading import load
from server.metrics import Metrics
from server.model import prepare
from server.starting import read_model

SLOW = {1: 1.0, 8: 2.0, 64: 4.0}


def comparison(**changes: Any) -> Comparison:
    return replace(Comparison(1e-6, 1e-4, same_labels=True, before=SLOW, after=SLOW), **changes)


@pytest.mark.parametrize(
    ("after", "rows"),
    [
        ({1: 0.5, 8: 1.0, 64: 2.0}, 1),
        ({1: 1.5, 8: 1.0, 64: 2.0}, 8),
        ({1: 0.5, 8: 2.5, 64: 2.0}, 64),  # what lies between slower sizes is not trusted
        ({1: 0.96, 8: 1.0, 64: 2.0}, 8),  # four hundredths may be chance
    ],
)
def test_a_compiled_model_is_used_from_the_size_on_from_which_all_are_faster(
    after: dict[int, float], rows: int
) -> None:
    assert faster_from(comparison(after=after)) == rows


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"after": {1: 0.5, 8: 1.0, 64: 4.1}}, "64 rows take 4.1e+03 ms and took 4e+03 ms; expected 5% less"),
        ({"difference": 2e-4}, "differ by 2.0e-04 of the largest value; allowed is 1e-04"),
        ({"difference": float("nan")}, "differ by nan"),
        ({"same_labels": False}, "other labels"),
    ],
)
def test_one_that_gains_nothing_or_answers_otherwise_is_refused_with_the_figures(
    changes: dict[str, Any], why: str
) -> None:
    reason = faster_from(comparison(**({"after": {1: 0.5, 8: 1.0, 64: 2.0}} | changes)))
    assert isinstance(reason, str)
    assert why in reason


def test_small_batches_run_as_loaded() -> None:
    fitted = Fitted(torch.nn.Identity(), torch.nn.ReLU(), 2)
    assert fitted(torch.tensor([[-1.0]])).item() == -1
    assert fitted(torch.tensor([[-1.0], [-1.0]])).tolist() == [[0], [0]]


def test_a_model_with_rows_of_any_shape_is_left_as_it_is(export: Any) -> None:
    model = prepare(load(export(), None), "cpu", 1)
    anything = replace(model, card=replace(model.card, input=replace(model.card.input, shape=(-1, -1))))
    assert compiled(anything, 4) is anything


def test_a_compiler_that_fails_keeps_no_model_from_being_served(
    export: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: Any, **_more: Any) -> Any:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", broken)
    model = prepare(load(export(), None), "cpu", 1)
    assert compiled(model, 4) is model
    assert "RuntimeError: no compiler here" in caplog.text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++, which is not here")
def test_a_compiled_model_answers_as_before_and_no_caller_waits_for_a_kernel(
    export: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "faster_from", lambda _found: 2)  # too small a model to gain anything
    folder: Path = export()
    loaded = prepare(load(folder, None), "cpu", 1)
    model = read_model(folder, None, 8, Settings(model_path=folder, threads=1, compile=True), Metrics())
    assert isinstance(model.module, Fitted)
    assert model.warm_seconds is None, "kernels are not for the event loop"
    made = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for rows in (1, 2, 3, 5, 8, 9):
        batch = np.random.default_rng(rows).random((rows, 1, 4, 4)).astype(np.float32)
        name = model.card.output.name
        np.testing.assert_allclose(model.infer(batch)[name], loaded.infer(batch)[name], rtol=1e-4, atol=1e-6)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == made


def test_a_wrong_wish_to_compile_is_refused_by_name() -> None:
    with pytest.raises(StartError, match="TRAINYARD_COMPILE is 'yes'; expected 1 or 0"):
        from_environment({"TRAINYARD_MODEL_PATH": "x", "TRAINYARD_COMPILE": "yes"})
