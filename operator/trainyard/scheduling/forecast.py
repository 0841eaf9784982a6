"""When what waits will start: a band, learned from how long others waited that found a like line when they came.

A forecast by simulation knows everything but how long jobs run, and that is what it stands or falls with. So the line is
measured in one number, the seconds in which all GPUs together would work off what is expected of everybody ahead, and what such
a number meant before, for jobs of that size and queue, is learned as a distribution. It is right on average by construction, says
how sure it is, and costs next to nothing. Neighbours: `durations` says what is expected of each; `histograms` learns.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trainyard.scheduling.durations import HIGH, LOW, Estimate, size_class, total_quantiles
from trainyard.scheduling.histograms import LOGARITHMS, Context, Histograms, bin_of, normalised

_NOTHING_LEARNED = normalised(np.exp(-0.5 * ((LOGARITHMS - math.log(3600.0)) / 2.5) ** 2) + 0.01)
"""Before anything was observed: an hour, give or take a factor of twelve."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a workload found when it came and could not start."""

    queue: str
    gpus: float
    seconds: float
    """In which all GPUs there are would do what is expected of those that wait ahead."""
    within: bool
    """Its queue is within what it is guaranteed: others make room for it."""
    ahead: int = 0
    """How many of its queue wait ahead of it."""


@dataclass(frozen=True, slots=True)
class StartBand:
    """Seconds from now until a start."""

    earliest: float
    likely: float
    latest: float


class Forecast:
    """Learns from each start of something that waited. Not for several threads at once."""

    def __init__(self, learned: Histograms | None = None) -> None:
        self._learned = learned or Histograms()

    def observe(self, line: Line, waited: float) -> None:
        """Something that found this line started after so many seconds."""
        for context in _contexts(line):
            self._learned.count(context, bin_of(waited))

    def predict(self, line: Line) -> Estimate:
        """How long it will have waited in all when it starts."""
        return Estimate(self._learned.corrected(_NOTHING_LEARNED, _contexts(line)))

    def band(self, line: Line, waited: float) -> StartBand:
        """From now on, for something that found this line and waited so long already."""
        low, middle, high = total_quantiles(self.predict(line), waited, LOW, 0.5, HIGH)
        return StartBand(*(max(0.0, each - waited) for each in (low, middle, high)))


def _contexts(line: Line) -> Iterator[Context]:
    """From general to special."""
    size = size_class(line.gpus)
    load = str(_doublings(line.seconds / 60.0))
    within = str(line.within)
    yield ("all", within)
    yield ("load", within, load)
    yield ("size", within, size)
    yield ("size and load", within, size, load)
    yield ("queue", within, line.queue, size)
    yield ("queue and load", within, line.queue, size, load)


def _doublings(value: float) -> int:
    return max(0, math.ceil(math.log2(max(value, 1e-9))))
