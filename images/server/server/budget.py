"""How long a batch may wait for company under a latency budget, and where to compute it. Pure, but for the record of measured times.

The time of a batch is learned from measured batches: the median of the last few for each number of rows, made
monotone, since one more row never makes a batch faster. Where a model takes rows of variable shape, these are mixed.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import median

from server.lineup import Place

_KEPT = 32  # measured batches of each size
_REFIT = 8  # new measurements for each known size, after which the curves are made again
NOT_AT_ONCE_SECONDS = 0.02  # one that took longer shows that the model is not what was measured
AT_ONCE_SECONDS = 0.001  # others are kept waiting so long; a busy loop and a thread keep each other waiting longer


@dataclass(frozen=True)
class Curve:
    """Seconds of a batch by its rows: rising sizes with seconds that never fall."""

    rows: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()

    def predict(self, rows: int) -> float | None:
        """Seconds of a batch of so many rows, None while nothing is known.

        Straight lines between known sizes; below them the smallest's time; above them the largest's time a row.
        """
        if not self.rows:
            return None
        above = bisect_right(self.rows, rows)
        if above == 0:
            return self.seconds[0]
        low, fast = self.rows[above - 1], self.seconds[above - 1]
        if above == len(self.rows):
            return fast * rows / low
        high, slow = self.rows[above], self.seconds[above]
        return fast + (slow - fast) * (rows - low) / (high - low)


def fit(samples: Mapping[int, Sequence[float]], of: Callable[[Sequence[float]], float] = median) -> Curve:
    """Curve through the medians of samples, seconds by rows: the monotone curve of least squares, sizes weighted by count.

    of: what stands for the samples of one size, where it is not the median.

    Source: the pool-adjacent-violators algorithm, Barlow et al., Statistical Inference under Order Restrictions, 1972.
    """
    pools: list[tuple[float, int, list[int]]] = []  # seconds, weight, sizes
    for rows in sorted(size for size, times in samples.items() if times):
        seconds, weight, sizes = of(samples[rows]), len(samples[rows]), [rows]
        while pools and pools[-1][0] > seconds:
            before, heavier, smaller = pools.pop()
            seconds = (before * heavier + seconds * weight) / (heavier + weight)
            weight, sizes = heavier + weight, smaller + sizes
        pools.append((seconds, weight, sizes))
    known = [(rows, seconds) for seconds, _, sizes in pools for rows in sizes]
    return Curve(tuple(rows for rows, _ in known), tuple(seconds for _, seconds in known))


@dataclass
class ComputeTimes:
    """Measured batches of one model, and the curves through their medians and through the fastest of them."""

    curve: Curve = field(default_factory=Curve)
    fastest: Curve = field(default_factory=Curve)
    _samples: dict[int, deque[float]] = field(default_factory=dict)
    _new: int = 0

    def measured(self, rows: int, seconds: float) -> None:
        """Take a computed batch into account."""
        times = self._samples.setdefault(rows, deque(maxlen=_KEPT))
        times.append(seconds)
        self._new += 1
        if self._new >= _REFIT * len(self._samples) or len(times) == 1:
            self.curve, self.fastest, self._new = fit(self._samples), fit(self._samples, min), 0


def compute_at_once(rows: int, fastest: Curve) -> bool:
    """Whether a batch is computed by the event loop itself rather than handed over to the compute thread.

    fastest: of the last batches, since a thread that has to wait for the interpreter makes the others look slow.
    Without a known time the thread computes.
    """
    seconds = fastest.predict(rows)
    return seconds is not None and seconds <= AT_ONCE_SECONDS


def hold_until(batch: Sequence[Place], curve: Curve, budget: float, max_rows: int) -> float:
    """When a batch must start, in seconds on its places' clock; -inf: at once.

    It may wait while age of its oldest + time of one more row <= budget, and while every deadline in it can be met.
    Without a known time nobody waits.
    """
    rows = sum(place.rows for place in batch)
    seconds = curve.predict(rows + 1)
    if not batch or budget <= 0 or rows >= max_rows or seconds is None:
        return -inf
    latest = min(place.since for place in batch) + budget
    return min(latest, *(place.deadline for place in batch)) - seconds
