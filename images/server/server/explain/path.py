"""The straight lines from a baseline to rows, in points, and how many of them are worth one slice. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SLICE_SECONDS = 0.005
"""An inference that arrives in the midst of a slice waits for no longer, where one point takes less than that."""


def points(rows: Array, baseline: Array, steps: int, begin: int, end: int) -> tuple[Array, NDArray[np.int64]]:
    """Of the len(rows) x steps points those from begin to end, and the row that each belongs to.

    rows: (N, ...), baseline: (1, ...). Each row has the midpoints of `steps` equal parts of its line: the error of their
    mean falls with the square of their number where the gradient is smooth.
    """
    index = np.arange(begin, end)
    row = index // steps
    share = ((index % steps + 0.5) / steps).astype(rows.dtype).reshape(-1, *[1] * (rows.ndim - 1))
    return baseline + share * (rows[row] - baseline), row


def attributions(rows: Array, baseline: Array, summed: Array, steps: int) -> Array:
    """summed: (N, ...) gradients, added up over the points of each row. Returns FP32 of the same shape."""
    found: Array = ((rows.astype(np.float64) - baseline) * summed / steps).astype(np.float32)
    return found


@dataclass
class Pace:
    """Points of the next slice: doubled while two slices would fit into the time of one, halved when one does not."""

    points: int = 1

    def timed(self, work: Callable[[int, int], None], begin: int, end: int) -> None:
        """Do a slice and learn from it; in the compute thread."""
        started = perf_counter()
        work(begin, end)
        self.measured(end - begin, perf_counter() - started)

    def measured(self, done: int, seconds: float) -> None:
        """A slice of `done` points took so long."""
        if seconds > SLICE_SECONDS:
            self.points = max(1, min(self.points, done // 2))
        elif done == self.points and 2 * seconds <= SLICE_SECONDS:
            self.points *= 2
