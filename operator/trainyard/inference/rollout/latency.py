"""Which requests count as slow: a limit taken from the stable revision before the comparison begins, so that it favours nobody.

Times fall into buckets whose bounds grow by an eighth of an octave from 1 ms, as the gateways count them.
"""

from collections.abc import Mapping
from math import ceil, log2

PER_OCTAVE = 8
BUCKETS = 160
"""The last holds everything from about 15 minutes."""
TAIL = 0.05
"""Share of the stable revision's answers that are slower than its limit."""
LEAST_ANSWERS = 50
"""Of the stable revision, before a limit is taken from them."""


def bucket(milliseconds: float) -> int:
    """Index of the bucket; bucket i holds times up to `bound(i)`."""
    return min(BUCKETS - 1, max(0, ceil(PER_OCTAVE * log2(milliseconds)))) if milliseconds > 1 else 0


def bound(index: int) -> float:
    """Longest time of a bucket, in ms."""
    return float(2 ** (index / PER_OCTAVE))


def limit_of(histogram: Mapping[int, int]) -> int | None:
    """Bucket that no more than TAIL of the answers lie above, or None if they are too few to say."""
    total = sum(histogram.values())
    if total < LEAST_ANSWERS:
        return None
    above = 0
    for index in sorted(histogram, reverse=True):
        above += histogram[index]
        if above > TAIL * total:
            return index
    return None


def allowed(limit: int, ratio: float) -> int:
    """The canary's limit: that of the stable revision times `ratio`, rounded up to a bucket."""
    return limit + ceil(PER_OCTAVE * log2(ratio) - 1e-9)


def slower(histogram: Mapping[int, int], limit: int) -> int:
    """Answers above the limit."""
    return sum(count for index, count in histogram.items() if index > limit)
