"""A series to foretell, made rather than found: chaotic, so that what comes next follows from what was, but not linearly."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.catalogue import Task
from trainer.datasets.raw import RawData

_COUNT: Final = 60
_LENGTH: Final = 400
"""Of each series, in units of time; it is read once in each."""
_SETTLING: Final = 2000
"""Time after which courses that began alike are as far apart as any two."""
_STEP: Final = 0.1
_DELAY: Final = 17
_NOISE: Final = 0.02
"""Deviation of what is read from what is; the series' own is about 0.23."""
_BETWEEN_WINDOWS: Final = 3
_SEED: Final = 20


def series(parameters: Mapping[str, Any]) -> RawData:
    """Sixty courses of one system, cut into windows of `context` readings, each with the one `horizon` after its last.

    The system is that of Mackey and Glass (Oscillation and chaos in physiological control systems, Science 1977), the
    number of blood cells: dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - x(t) / 10. The same numbers everywhere. A course
    is wholly trained on or wholly held out.
    """
    context, horizon = int(parameters["context"]), int(parameters["horizon"])
    read = _readings()
    starts = np.arange(0, _LENGTH - context - horizon + 1, _BETWEEN_WINDOWS)
    inputs = np.lib.stride_tricks.sliding_window_view(read, context, axis=1)[:, starts]
    targets = read[:, starts + context - 1 + horizon]
    groups = np.repeat(np.arange(_COUNT), len(starts))
    return RawData(inputs.reshape(-1, context).copy(), targets.reshape(-1), Task.REGRESSION, groups=groups)


@cache
def _readings() -> NDArray[np.float32]:
    random = np.random.default_rng(_SEED)
    true = courses(random.uniform(0.5, 1.3, _COUNT))
    return (true + random.normal(0.0, _NOISE, true.shape)).astype(np.float32)


def courses(beginnings: NDArray[np.float64]) -> NDArray[np.float64]:
    """One for each value at which it stood before: (courses, _LENGTH), by Euler's method, when they have settled."""
    delay, steps = round(_DELAY / _STEP), round((_SETTLING + _LENGTH) / _STEP)
    values = np.empty((delay + steps, len(beginnings)))
    values[:delay] = beginnings
    for now in range(delay, len(values)):
        before, last = values[now - delay], values[now - 1]
        values[now] = last + _STEP * (0.2 * before / (1 + before**10) - 0.1 * last)
    return values[delay + round(_SETTLING / _STEP) :: round(1 / _STEP)].T
