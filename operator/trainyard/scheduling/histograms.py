"""Distributions of times that are spread over orders of magnitude, learned one observation at a time and small enough to be kept.

A histogram has bins of equal width in the logarithm. Cases that resemble each other most say most about each other, but there
are few of them; so each histogram is a correction of a more general one. Each is kept at three rates of forgetting, since what
people do comes in bursts. Neighbours: `durations` learns how long jobs run, `forecast` how wrong it was.
"""

import base64
import math
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 96
LONGEST = 10**7.5
"""Seconds; about a year. The first bin begins at one second."""
WIDTH = math.log(LONGEST) / BINS
"""Of a bin in the natural logarithm: 20 % in time."""
CENTRE = BINS // 2
"""The bin that begins at 1, in histograms of ratios."""
EDGES = np.arange(BINS + 1, dtype=np.float64)
"""In bins."""
LOGARITHMS = (EDGES[:-1] + 0.5) * WIDTH
"""Of the middle of each bin, in seconds."""

_HALF_LIVES = (1000.0, 50.0, 6.0)
"""In observations of the same context."""
_DECAY = 0.5 ** (1.0 / np.array(_HALF_LIVES))[:, None]
_STRENGTHS = (20.0, 30.0, 30.0)
"""As many observations count as much as what is more general, for each half-life."""
_MOST_CONTEXTS = 1000
"""Kept, those that were observed last: below 1 MiB as JSON, which is what a ConfigMap holds."""
_FORMAT = 1

Context = tuple[str, ...]
Chances = NDArray[np.float64]
"""(BINS,), in all 1."""


class Histograms:
    """What was observed in each context."""

    def __init__(self) -> None:
        self._counts: dict[Context, NDArray[np.float64]] = {}
        """(half-lives, BINS) of each context, that observed last at the end."""

    def count(self, context: Context, number: int) -> None:
        """An observation fell into that bin."""
        counts = self._counts.pop(context, None)
        if counts is None:
            counts = np.zeros((len(_HALF_LIVES), BINS))
            if len(self._counts) >= _MOST_CONTEXTS:
                del self._counts[next(iter(self._counts))]
        counts *= _DECAY
        counts[:, number] += 1.0
        self._counts[context] = counts

    def corrected(self, chances: Chances, contexts: Iterable[Context]) -> Chances:
        """What is believed beforehand, corrected by what was seen in contexts from general to special."""
        for context in contexts:
            counts = self._counts.get(context)
            if counts is None:
                continue
            # What is forgotten slowly comes first: it is the more general.
            for row, strength in zip(counts, _STRENGTHS, strict=True):
                chances = (row + strength * chances) / (row.sum() + strength)
        return chances

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it. Weights are rounded to three digits."""
        contexts = list(self._counts.items())  # at once: another thread may learn meanwhile
        rounded = np.array([counts for _, counts in contexts]).astype("<f2")
        return {
            "format": _FORMAT,
            "contexts": [list(context) for context, _ in contexts],
            "counts": base64.b64encode(zlib.compress(rounded.tobytes(), 9)).decode(),
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "Histograms":
        """The inverse of `to_dict`; what another version wrote in another format is not read. Raises ValueError if it is damaged."""
        learned = cls()
        if kept.get("format") != _FORMAT:
            return learned
        try:
            contexts = [tuple(map(str, each)) for each in kept["contexts"]]
            weights = np.frombuffer(zlib.decompress(base64.b64decode(kept["counts"])), dtype="<f2").astype(np.float64)
            counts = weights.reshape(len(contexts), len(_HALF_LIVES), BINS)
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise ValueError(f"learned histograms are damaged and are to be deleted: {error}") from error
        learned._counts = {context: counts[number].copy() for number, context in enumerate(contexts)}
        return learned


def normalised(weights: NDArray[np.float64]) -> Chances:
    """Chances in proportion to weights, (BINS,)."""
    chances: Chances = weights / weights.sum()
    return chances


def bin_of(seconds: float) -> int:
    """The bin of a time; the first and the last take what lies beyond."""
    return clipped(int(math.log(max(seconds, 1.0)) / WIDTH))


def bin_of_ratio(ratio: float) -> int:
    """The bin of a ratio above 0."""
    return clipped(math.floor(math.log(ratio) / WIDTH) + CENTRE)


def clipped(number: int) -> int:
    return min(max(number, 0), BINS - 1)


def shifted(chances: Chances, by: int) -> Chances:
    """Moved by so many bins; what would fall off an end stays in the last bin."""
    moved: Chances = np.bincount(np.clip(np.arange(BINS) + by, 0, BINS - 1), weights=chances, minlength=BINS).astype(
        np.float64
    )
    return moved


def below(chances: Chances) -> NDArray[np.float64]:
    """The chance of less than each of EDGES, (BINS + 1,); at the end exactly 1."""
    total = np.concatenate(([0.0], np.cumsum(chances)))
    total /= total[-1]
    return total
