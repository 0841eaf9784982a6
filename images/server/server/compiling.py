"""A compiled model in the place of a loaded one, where it gives the same answers sooner; else why not.

torch.compile writes kernels for this device at the start, which takes from seconds to minutes: so it is asked for
(TRAINYARD_COMPILE). What it gains depends on model, device and batch size and is not taken for granted: both run the
same random batches, and the compiled one is used from the size on from which it is faster, if their answers agree.
What would need another kernel later runs as it was loaded, so that no caller waits for a compiler.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isqrt
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from server.card import DATATYPES
from server.errors import ModelFailed
from server.model import Model

LEAST_SAVED = 0.05
_RELATIVE = {torch.float32: 1e-4, torch.float64: 1e-8}
_COARSE = 2e-2  # of 16 bits and fewer: about four units in the last place of BF16
_TIMED, _ROUNDS = 10, 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """Of a compiled model with the one it was made from. difference: largest, relative to the largest value. seconds: by rows."""

    difference: float
    allowed: float
    same_labels: bool
    before: Mapping[int, float]
    after: Mapping[int, float]


def faster_from(found: Comparison) -> int | str:
    """The number of rows from which the compiled model is used, or why it is not taken."""
    if not found.difference <= found.allowed:
        return f"its answers differ by {found.difference:.1e} of the largest value; allowed is {found.allowed:.0e}"
    if not found.same_labels:
        return "it gives other labels"
    least: int | None = None
    for rows in sorted(found.before, reverse=True):
        if found.after[rows] > found.before[rows] * (1 - LEAST_SAVED):
            break
        least = rows
    if least is None:
        most = max(found.before)
        before, after = (f"{each[most] * 1e3:.3g} ms" for each in (found.before, found.after))
        return f"{most} rows take {after} and took {before}; expected {LEAST_SAVED:.0%} less"
    return least


class Fitted(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Small batches as loaded, larger ones compiled."""

    def __init__(self, loaded: nn.Module, compiled: nn.Module, rows: int) -> None:
        super().__init__()
        self.loaded, self.compiled, self.rows = loaded, compiled, rows

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (N, ...). Returns (N, ...)."""
        answer: Tensor = self.compiled(inputs) if len(inputs) >= self.rows else self.loaded(inputs)
        return answer


def compiled(model: Model, max_batch: int) -> Model:
    """The model compiled, or as it was with the reason in the log; blocks. The current thread's count of torch threads holds."""
    if -1 in model.card.input.shape[1:]:
        _log.info("not compiled: rows of any shape would need a kernel for each")
        return model
    began = time.perf_counter()
    try:
        candidate = replace(model, module=_compile(model.module))
        for rows in {1, 2, max_batch}:  # two: from there on any size is one kernel's
            candidate.infer(_random(model, rows))
        sizes = {1, isqrt(max_batch), max_batch}
        found = faster_from(_compare(model, candidate, {rows: _random(model, rows) for rows in sizes}))
    except Exception as error:  # noqa: BLE001 - a compiler fails in many ways, and none of them may keep a model from being served
        found = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    seconds = time.perf_counter() - began
    # From here on nobody waits for a compiler: what has no kernel runs as it was loaded.
    torch.compiler.set_stance("eager_on_recompile")
    if isinstance(found, str):
        _log.warning("not compiled, after %.1f s: %s", seconds, found)
        return model
    _log.info("compiled in %.1f s, for batches of %d rows and more", seconds, found)
    return replace(model, module=Fitted(model.module, candidate.module, found))


def _compile(module: nn.Module) -> nn.Module:
    torch.compiler.set_stance("default")
    made: nn.Module = torch.compile(module, dynamic=True)
    return made


def _compare(model: Model, candidate: Model, batches: Mapping[int, NDArray[Any]]) -> Comparison:
    name, labels = model.card.output.name, model.card.label_output
    difference, same = 0.0, True
    for rows in batches.values():
        wanted, given = model.infer(rows), candidate.infer(rows)
        scale = float(np.abs(wanted[name]).max()) or 1.0
        difference = max(difference, float(np.abs(wanted[name].astype(np.float64) - given[name]).max()) / scale)
        same = same and (labels is None or bool(np.array_equal(wanted[labels.name], given[labels.name])))
    before: dict[int, list[float]] = {rows: [] for rows in batches}
    after: dict[int, list[float]] = {rows: [] for rows in batches}
    for _ in range(_ROUNDS):  # in turns, so that both have the same of whatever else the machine does
        for size, rows in batches.items():
            before[size].append(_seconds(model, rows))
            after[size].append(_seconds(candidate, rows))
    return Comparison(
        difference,
        _allowed(model.module),
        same,
        {size: min(times) for size, times in before.items()},
        {size: min(times) for size, times in after.items()},
    )


def _seconds(model: Model, rows: NDArray[Any]) -> float:
    times = []
    for _ in range(_TIMED):
        began = time.perf_counter()
        model.infer(rows)
        times.append(time.perf_counter() - began)
    return median(times)


def _allowed(module: nn.Module) -> float:
    kinds = {weight.dtype for weight in module.parameters() if weight.is_floating_point()}
    return max((_RELATIVE.get(kind, _COARSE) for kind in kinds), default=_RELATIVE[torch.float32])


def _random(model: Model, rows: int) -> NDArray[Any]:
    """A batch like those the model was trained on, as far as its card tells."""
    spec, generator = model.card.input, np.random.default_rng(7)
    shape = (rows, *spec.shape[1:])
    dtype = np.dtype(DATATYPES[spec.datatype])
    if dtype.kind != "f":
        raise ModelFailed(f"inputs of {spec.datatype} are not tried")
    return generator.random(shape).astype(dtype)
