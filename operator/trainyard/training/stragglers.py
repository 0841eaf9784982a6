"""Which worker of a gang holds the others up, from what its trainer told of the last steps. Pure.

A trainer compares its workers every few seconds: how long their own part of a step takes the one in the middle and the slowest one,
without their waiting for each other. One comparison says little, so the same worker has to be the slowest by far in nearly all of
the last ones; or the same node, whose workers may take turns. The larger their part of the gang, the more comparisons are asked
for: chance would point to one of two workers every other time. Who was found is let go at a lower factor than he was found at, so
that nobody comes and goes. Neighbours: `reports` keeps the series, `straggler_watch` writes the status.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from trainyard.api.straggler import Straggler
from trainyard.api.training_job import TrainingJobStatus

FOUND = 1.3
"""So many times as long as the others takes a straggler."""
OVER = 1.15
"""And so many times one who is none any more."""
KEPT = 20
"""Comparisons that are remembered."""
APART_SECONDS = 8.0
"""Comparisons that follow each other sooner are left out, lest a short while decide. The built-in program's are ten seconds apart."""
_ENOUGH = ((0.25, 5, 4), (0.5, 12, 11))
"""Up to which part of the gang so many of the last so many comparisons must point to it. Larger parts are no exception but the rule."""
_CALM = 5
"""Comparisons in which nobody is slow."""
_NOTICEABLE_SECONDS = 0.001
"""What a step takes longer: less than that is what the clock and the machine's other programs do."""
_MOST = 100.0


class Pace(NamedTuple):
    """One comparison of the workers."""

    at: float
    """When it was told, seconds since 1970."""
    rank: int
    """Of the slowest."""
    factor: float
    """What its part of a step takes, by what it takes the others."""
    seconds: float
    """What it takes."""


@dataclass(frozen=True, slots=True)
class Slow:
    """Who holds the others up."""

    rank: int
    node: str
    factor: float
    since: float
    """Seconds since 1970."""


def pace(at: float, median: float, slowest: float, rank: int, ranks: int) -> Pace | None:
    """A comparison as a trainer told it, in seconds of a step; None where there is nobody to compare with, or it makes no sense."""
    if ranks < 2 or not 0 <= rank < ranks or not 0 < median <= slowest:  # noqa: PLR2004  two can be compared
        return None
    # The median of two is their mean, which the slow one draws to itself.
    others = 2 * median - slowest if ranks == 2 else median  # noqa: PLR2004
    if slowest - others < _NOTICEABLE_SECONDS:
        return Pace(at, rank, 1.0, slowest)
    return Pace(at, rank, min(_MOST, slowest / others) if others > 0 else _MOST, slowest)


def added(series: tuple[Pace, ...], new: Pace | None) -> tuple[Pace, ...]:
    """The series with a comparison more; the same series if it was told before, as reports come more often than comparisons."""
    if new is None or (series and (series[-1][1:] == new[1:] or new.at - series[-1].at < APART_SECONDS)):
        return series
    return (*series, new)[-KEPT:]


def found(series: Sequence[Pace], nodes: Sequence[str]) -> Slow | None:
    """Who holds the others up now, if somebody does. nodes: of each rank."""
    return _standing_out(series, nodes, lambda rank: rank) or _standing_out(series, nodes, lambda rank: nodes[rank])


def _standing_out(series: Sequence[Pace], nodes: Sequence[str], part: Callable[[int], object]) -> Slow | None:
    for largest, count, enough in _ENOUGH:
        last = series[-count:]
        slow = [each for each in last if each.factor >= FOUND and each.rank < len(nodes)]
        if len(last) < count or len(slow) < enough:
            continue
        name, times = Counter(part(each.rank) for each in slow).most_common(1)[0]
        if times >= enough and sum(part(rank) == name for rank in range(len(nodes))) <= largest * len(nodes):
            mine = [each for each in slow if part(each.rank) == name]
            rank = Counter(each.rank for each in mine).most_common(1)[0][0]
            factor = round(statistics.median(each.factor for each in mine), 2)
            return Slow(rank, nodes[rank], factor, mine[0].at)
    return None


def over(series: Sequence[Pace], node: str, nodes: Sequence[str]) -> bool:
    """Whether a straggler on this node is none any more: nobody is slow, or others have been for long. nodes: of each rank."""
    last = series[-_CALM:]
    if len(last) == _CALM and all(each.factor < OVER for each in last):
        return True
    return len(series) >= KEPT and not any(
        each.factor >= OVER and each.rank < len(nodes) and nodes[each.rank] == node for each in series
    )


def current(known: Sequence[Straggler]) -> list[Straggler]:
    """Those that hold their job up now."""
    return [each for each in known if each.until is None]


def added_to(before: Sequence[Straggler], after: Sequence[Straggler]) -> list[Straggler]:
    """Those that were found in between."""
    known = {(each.node, each.since) for each in before}
    return [each for each in after if (each.node, each.since) not in known]


def closed(known: Sequence[Straggler], now: datetime) -> list[Straggler]:
    """None of them is a straggler any more."""
    return [each if each.until else each.model_copy(update={"until": now}) for each in known]


def outlived(status: TrainingJobStatus) -> bool:
    """Whether the status names a straggler whose attempt is over."""
    over_now = status.admission is None or status.completion_time is not None
    return any(over_now or each.attempt != status.attempt for each in current(status.stragglers))
