"""How long jobs run, learned from those that ended: hardly anybody declares it well, and backfill and forecasts need it.

What is learned is a distribution, not a number, since durations of GPU jobs are spread over six orders of magnitude: of all jobs,
of those of the same size, of the same queue and size, of the same name. A duration that the user declares is corrected by how true
and declared durations related before. Neighbours: `histograms` holds the distributions; `forecast` adds them up over a cluster; the
engine asks for `expected`.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainyard.scheduling.histograms import (
    CENTRE,
    EDGES,
    LOGARITHMS,
    LONGEST,
    WIDTH,
    Chances,
    Context,
    Histograms,
    below,
    bin_of,
    bin_of_ratio,
    normalised,
    shifted,
)

LOW, HIGH = 0.1, 0.9
"""Bounds of the band that people see."""
EXPECTED = 0.8
"""Backfill takes a job to run so long that this share of its kind ends earlier: a start that was promised rather comes early than late."""

_NODE = 8
"""GPUs of a usual node; a job of more is distributed."""
_TRUST = 0.9
"""In what was declared. The rest is what is learned of like jobs in spite of it, so that nothing is thought impossible."""
_SUFFIX = re.compile(r"[-_.]?[0-9a-z]*[0-9][0-9a-z]*$")
_ANYTHING = normalised(np.exp(-0.5 * ((LOGARITHMS - math.log(1800.0)) / 2.5) ** 2) + 0.01)
"""Before anything was observed: half an hour, give or take a factor of twelve, and any duration with some chance."""
_AWAY = LOGARITHMS - LOGARITHMS[CENTRE]
_BELIEVED = normalised(np.exp(-np.abs(_AWAY) / np.where(_AWAY < 0, 0.5, 0.15)))
"""True by declared duration before anything was observed: people declare too much rather than too little."""


@dataclass(frozen=True, slots=True)
class Features:
    """What is known of a job before it runs."""

    queue: str
    gpus: float
    declared: float | None = None
    """Seconds that its user expects it to run."""
    name: str = ""
    """Jobs whose names differ only in a last part with a number in it are taken for repetitions."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A distribution of durations. No bin is without any chance."""

    chances: Chances

    def quantile(self, share: float) -> float:
        """Seconds below which this share of such jobs ends; share from 0 to 1."""
        return total_quantiles(self, 0.0, share)[0]

    @property
    def low(self) -> float:
        return self.quantile(LOW)

    @property
    def median(self) -> float:
        return self.quantile(0.5)

    @property
    def high(self) -> float:
        return self.quantile(HIGH)

    @property
    def expected(self) -> float:
        """Seconds that backfill counts on."""
        return self.quantile(EXPECTED)


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left of a job that runs already, in seconds."""

    low: float
    median: float
    high: float
    expected: float
    """What backfill counts on."""


def remaining(estimate: Estimate, elapsed: float) -> Remaining:
    """What is left after `elapsed` seconds: who outlives an estimate is judged by those that did so too.

    Never less than a second, so that an over-run always gets a new end in the future.
    """
    totals = total_quantiles(estimate, elapsed, LOW, 0.5, HIGH, EXPECTED)
    return Remaining(*(max(1.0, total - elapsed) for total in totals))


def total_quantiles(estimate: Estimate, elapsed: float, *shares: float) -> list[float]:
    """Seconds in all below which each share ends of those jobs that run at least `elapsed` seconds."""
    if elapsed >= LONGEST:
        # Nothing like it was ever seen: what lasted so long lasts about as long again (Lindy's law).
        return [elapsed / (1.0 - min(share, 0.99)) for share in shares]
    ended = below(estimate.chances)
    gone = np.interp(math.log(max(elapsed, 1.0)) / WIDTH, EDGES, ended)
    positions = np.interp(gone + np.array(shares) * (1.0 - gone), ended, EDGES)
    return [float(each) for each in np.exp(positions * WIDTH)]


class Durations:
    """Learns from each job that ends, and says how long others will run. Not for several threads at once."""

    def __init__(self, learned: Histograms | None = None) -> None:
        self._learned = learned or Histograms()

    def observe(self, features: Features, seconds: float) -> None:
        """A job ran so long and ended by itself. One that was stopped says nothing and is not to be observed."""
        for context in _contexts(features):
            self._learned.count(context, bin_of(seconds))
        if features.declared is not None:
            for context in _declared_contexts(features):
                self._learned.count(context, bin_of_ratio(max(seconds, 1.0) / max(features.declared, 1.0)))

    def predict(self, features: Features) -> Estimate:
        """How long a job of this kind runs. Before anything was observed a declared duration is believed, and else it may be anything."""
        chances = self._learned.corrected(_ANYTHING, _contexts(features))
        if features.declared is not None:
            ratios = self._learned.corrected(_BELIEVED, _declared_contexts(features))
            declared = round(math.log(max(features.declared, 1.0)) / WIDTH)
            chances = _TRUST * shifted(ratios, declared - CENTRE) + (1.0 - _TRUST) * chances
        return Estimate(chances)

    def to_dict(self) -> dict[str, Any]:
        """What was learned, as JSON can hold it, in less than 1 MiB."""
        return self._learned.to_dict()

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "Durations":
        """The inverse of `to_dict`. Raises ValueError if it is damaged."""
        return cls(Histograms.from_dict(kept))


def size_class(gpus: float) -> str:
    """Jobs of one class run about equally long: no GPU, one or a part of one, a part of a node, a node, several."""
    if gpus <= 0:
        return "none"
    return "one" if gpus <= 1 else "part" if gpus < _NODE else "node" if gpus == _NODE else "many"


def name_prefix(name: str) -> str:
    """A name without a last part that has a digit in it: train-12 and train-x7k are both train."""
    return _SUFFIX.sub("", name) or name


def _contexts(features: Features) -> Iterator[Context]:
    """From general to special."""
    size = size_class(features.gpus)
    yield ("all",)
    yield ("size", size)
    yield ("queue", features.queue, size)
    if features.name:
        yield ("name", features.queue, size, name_prefix(features.name))


def _declared_contexts(features: Features) -> Iterator[Context]:
    """The same for true by declared duration."""
    yield ("declared",)
    yield ("declared-queue", features.queue)
    if features.name:
        yield ("declared-name", features.queue, name_prefix(features.name))
