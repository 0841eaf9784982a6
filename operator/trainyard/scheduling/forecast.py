"""When what waits will start: a band, learned from how long others waited that found a like line when they came.

A forecast by simulation knows everything but how long jobs run, and stands or falls with that. So the line is measured in two
numbers, what is expected of everybody in it and how many there are, and what such numbers meant before, for jobs of that size and
queue, is learned as a distribution. That costs next to nothing. Neighbours: `durations` says what is expected of each;
`histograms` learns.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainyard.api.names import GPU
from trainyard.scheduling.durations import Estimate, size_class, total_quantiles
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.fleet import DEVICE
from trainyard.scheduling.histograms import LOGARITHMS, Context, Histograms, bin_of, normalised
from trainyard.scheduling.quota import demand
from trainyard.scheduling.snapshot import Workload

LEVELS = (0.002, 0.5, 0.97)
"""Of what was learned, for a band that four starts out of five fall into.

Not 0.1 and 0.9: jobs that wait in one line start in one burst, so what was seen last is less various than what comes next. Chosen
on the two replays of the benchmark `philly`, which are no proof of it therefore; docs/benchmarks.md has what they hold there.
"""
_NOTHING_LEARNED = normalised(np.exp(-0.5 * ((LOGARITHMS - math.log(3600.0)) / 2.5) ** 2) + 0.01)
"""Before anything was observed: an hour, give or take a factor of twelve."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a workload found when it came and could not start."""

    queue: str
    gpus: float
    seconds: float
    """In which all GPUs there are would do what is expected of those that wait."""
    waiting: int
    """How many wait."""


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

    def to_dict(self) -> dict[str, Any]:
        """What was learned, as JSON can hold it."""
        return self._learned.to_dict()

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "Forecast":
        """The inverse of `to_dict`. Raises ValueError if it is damaged."""
        return cls(Histograms.from_dict(kept))

    def observe(self, line: Line, waited: float) -> None:
        """Something that found this line started after so many seconds."""
        for context in _contexts(line):
            self._learned.count(context, bin_of(waited))

    def band(self, line: Line, waited: float) -> StartBand:
        """From now on, for something that found this line and waited so many seconds since."""
        estimate = Estimate(self._learned.corrected(_NOTHING_LEARNED, _contexts(line)))
        return StartBand(*(max(0.0, each - waited) for each in total_quantiles(estimate, waited, *LEVELS)))


@dataclass(frozen=True, slots=True)
class Crowd:
    """All that waits and could start, for those who came in one cycle."""

    work: float
    """GPU-seconds that are expected of them."""
    count: int
    gpus: float
    """That there are, at least one."""


def crowd(engine: Engine) -> Crowd:
    """As of now."""
    asked = [each for each in engine.pending.classes.values() if each.standing is None]
    there = float(engine.fleet.capacity[:, engine.fleet.columns[GPU]].sum()) / DEVICE
    work = sum(len(each) * gpus(each.sample) * engine.seconds(each.sample) for each in asked)
    return Crowd(work, sum(map(len, asked)), max(1.0, there))


def line_for(engine: Engine, workload: Workload, among: Crowd) -> Line:
    """The line in which a workload waits, itself left out."""
    mine = gpus(workload)
    ahead = max(0.0, among.work - mine * engine.seconds(workload))
    return Line(workload.queue, mine, ahead / among.gpus, max(0, among.count - 1))


def gpus(workload: Workload) -> float:
    """GPUs of all its pods."""
    return demand(workload).get(GPU, 0) / DEVICE


def _contexts(line: Line) -> Iterator[Context]:
    """From general to special."""
    size = size_class(line.gpus)
    minutes = str(round(2 * _doublings(line.seconds / 60.0)))
    yield ("size", size)
    yield ("line", size, minutes)
    yield ("queue", line.queue, size)
    yield ("queue and line", line.queue, size, minutes)
    yield ("queue and number", line.queue, size, str(round(_doublings(line.waiting))))


def _doublings(value: float) -> float:
    return math.log2(max(value, 1.0))
