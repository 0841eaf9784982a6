"""One explanation: many points, computed in slices for which the model's thread has time between inferences."""

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf

import numpy as np
from numpy.typing import NDArray

from server.batcher import Batcher
from server.errors import BadRequest, DeadlineExceeded
from server.explain.gradients import answers, slopes
from server.explain.path import Array, Pace, attributions, points
from server.explain.requests import ATTRIBUTIONS, BASELINE_PREDICTION, GAP, PREDICTION, TARGET, Asked
from server.inference import Results
from server.model import Model


async def explain(model: Model, batcher: Batcher, pace: Pace, asked: Asked, seconds: float) -> Results:
    """Tensors of the answer by name; seconds: until it is worthless. Raises DeadlineExceeded, BadRequest, ModelFailed."""
    work = _Work(model, batcher, pace, asked)
    try:
        async with asyncio.timeout(None if seconds == inf else seconds):
            return await work.explanation()
    except TimeoutError as error:
        raise DeadlineExceeded(f"its deadline passed after {work.done} of {work.points} points") from error


class _Work:
    """Of one explanation."""

    def __init__(self, model: Model, batcher: Batcher, pace: Pace, asked: Asked) -> None:
        self._model, self._batcher, self._pace, self._asked = model, batcher, pace, asked
        self.points, self.done = len(asked.rows) * asked.steps, 0

    async def explanation(self) -> Results:
        rows, baseline = self._asked.rows, self._asked.baseline
        values = await self._answers(np.concatenate([rows, baseline]))
        targets = _targets(values[:-1], self._asked.target)
        found = attributions(rows, baseline, await self._climbed(targets), self._asked.steps)
        here, there = values[np.arange(len(rows)), targets], values[-1, targets]
        total = found.reshape(len(rows), -1).sum(axis=1, dtype=np.float64)
        gap = (total - (here.astype(np.float64) - there)).astype(np.float32)
        return {ATTRIBUTIONS: found, TARGET: targets, PREDICTION: here, BASELINE_PREDICTION: there, GAP: gap}

    async def _answers(self, ends: Array) -> Array:
        """(N, C) of what the model answers at the ends of the lines."""
        parts: list[Array] = []
        await self._sliced(len(ends), lambda begin, end: parts.append(answers(self._model, ends[begin:end])))
        return np.concatenate(parts)

    async def _climbed(self, targets: NDArray[np.int64]) -> Array:
        """(N, ...) gradients along the line of each row, added up."""
        asked = self._asked
        summed = np.zeros(asked.rows.shape, dtype=np.float64)

        def climb(begin: int, end: int) -> None:
            places, row = points(asked.rows, asked.baseline, asked.steps, begin, end)
            np.add.at(summed, row, slopes(self._model, places, targets[row]))
            self.done = end

        await self._sliced(self.points, climb)
        return summed

    async def _sliced(self, count: int, work: Callable[[int, int], None]) -> None:
        """work(begin, end) in the compute thread for all of 0 .. count, as much at a time as pace and memory allow."""
        begin = 0
        while begin < count:
            end = min(count, begin + min(self._pace.points, self._batcher.limits.max_batch))
            await self._batcher.aside(partial(self._pace.timed, work, begin, end))
            begin = end


def _targets(values: Array, target: int | None) -> NDArray[np.int64]:
    """Which output is explained of each row: the one asked for, or the greatest, the first on a tie."""
    if target is None:
        greatest: NDArray[np.int64] = values.argmax(axis=1)
        return greatest
    if target >= values.shape[1]:
        raise BadRequest(f"parameters.target is {target}; expected a class from 0 to {values.shape[1] - 1}")
    return np.full(len(values), target, dtype=np.int64)
