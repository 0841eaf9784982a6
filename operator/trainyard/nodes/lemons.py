"""Nodes on which attempts of jobs fail far more often than elsewhere, whatever monitors say: "lemons".

A score from outcomes alone, as Meta's study of its clusters proposes (Kokolis et al., Revisiting Reliability in Large-Scale Machine
Learning Research Clusters, 2024). Each attempt that ended is a trial of every node it ran on, and a failure of the one that failed first
and by no fault of the program. A node's share of failures is compared with that of all others by the lower end of its Wilson interval:
few trials prove little. What was long ago weighs less. A job that leaves a node because it will be gone soon says nothing of the node,
and what several jobs of a node fail of within a few minutes is one event.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from trainyard.api.failure import Failure, FailureClass
from trainyard.scheduling.unwritten import Unwritten

BLAMED = frozenset({FailureClass.GPU, FailureClass.NODE, FailureClass.HANG, FailureClass.NETWORK})
"""Classes of failure that may be a node's."""
HALF_LIFE = timedelta(days=14)
Z = 1.96
"""95 % of a normal distribution lie within so many standard deviations."""
ONE_EVENT = timedelta(minutes=5)
"""Failures of a node so soon after one that counted are the same one."""
LEAST_FAILURES = 1.5
"""A single one may be chance; two of which one is a little old are not forgotten at once."""
RATIO = 3.0
"""So many times the others' share at least, and a node is the last choice."""
MOST = 20_000
"""Nodes that are remembered."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Attempts and failures of a node, those of a half-life ago counted half, as of `at`."""

    trials: float
    failures: float
    at: datetime
    failed: datetime | None = None
    """When a failure was counted last; forgotten by a restart, as it matters for minutes."""

    def as_of(self, now: datetime) -> "Tally":
        kept = math.exp2(-(max(timedelta(0), now - self.at) / HALF_LIFE))
        return Tally(self.trials * kept, self.failures * kept, max(now, self.at), self.failed)

    def tried(self, failed: bool, now: datetime) -> "Tally":
        """After one more attempt."""
        if failed and self.failed is not None and now - self.failed < ONE_EVENT:
            return self
        to_now = self.as_of(now)
        last = now if failed else self.failed
        return Tally(to_now.trials + 1, to_now.failures + failed, to_now.at, last)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How an attempt ended. failed: the node to blame; empty if it did not fail."""

    nodes: frozenset[str]
    failed: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Lemon:
    """What is held of a node. low and high: the 95 % interval of its share of failures; elsewhere: the share of the others."""

    trials: float
    failures: float
    low: float
    high: float
    elsewhere: float

    @property
    def ratio(self) -> float:
        """How many times as often as elsewhere attempts fail there, at least."""
        return self.low / self.elsewhere

    @property
    def sour(self) -> bool:
        return self.failures >= LEAST_FAILURES and self.ratio >= RATIO

    def words(self) -> str:
        return f"{self.failures:.3g} of {self.trials:.3g} attempts failed there, at least {self.ratio:.2g} times as often as elsewhere (95 % sure)"


class Lemons:
    """The tallies of all nodes."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self._all: Tally | None = None
        """Their sum: all fade alike, so it fades like one."""
        self.unwritten = Unwritten[_Outcome]()

    def outcome(self, nodes: Iterable[str], failed: str, now: datetime) -> None:
        """An attempt on these nodes ended. failed: the node to blame; empty if it did not fail."""
        told = _Outcome(frozenset(nodes), failed, now)
        self._count(told)
        self.unwritten.add(told)

    def _count(self, told: "_Outcome") -> None:
        for name in told.nodes:
            before = self._tallies.pop(name, Tally(0.0, 0.0, told.at))
            self._tallies[name] = before.tried(name == told.failed, told.at)
        while len(self._tallies) > MOST:
            self._tallies.pop(next(iter(self._tallies)))
        self._all = None

    def of(self, name: str, now: datetime) -> Lemon | None:
        """None for a node on which nothing ended yet."""
        own = self._tallies.get(name)
        if own is None:
            return None
        mine, together = own.as_of(now), self._sum(now)
        # Half a failure more: where none was seen, few trials do not make the share zero.
        elsewhere = (max(0.0, together.failures - mine.failures) + 0.5) / (max(0.0, together.trials - mine.trials) + 1)
        low, high = wilson(mine.failures, mine.trials)
        return Lemon(mine.trials, mine.failures, low, high, elsewhere)

    def _sum(self, now: datetime) -> Tally:
        if self._all is None:
            aged = [each.as_of(now) for each in self._tallies.values()]
            self._all = Tally(sum(each.trials for each in aged), sum(each.failures for each in aged), now)
        return self._all.as_of(now)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            name: [round(each.trials, 4), round(each.failures, 4), each.at.isoformat()]
            for name, each in self._tallies.items()
        }

    def recall(self, kept: Mapping[str, Any]) -> None:
        """The inverse of `to_dict`; what was learned here and is not written yet is added. Raises ValueError if it is damaged."""
        try:
            found = {
                str(name): Tally(float(trials), float(failures), datetime.fromisoformat(at).astimezone(UTC))
                for name, (trials, failures, at) in kept.items()
            }
        except (TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"what was learned of nodes is damaged and is to be deleted: {error!r}") from error
        if any(not 0 <= each.failures <= each.trials for each in found.values()):
            raise ValueError("what was learned of nodes is damaged and is to be deleted: more failures than attempts")
        self._tallies, self._all = found, None
        for each in self.unwritten:
            self._count(each)


def blames(failure: Failure) -> bool:
    """Whether it may be the node's fault: one that sends its pods away, or is left before it goes, does not fail."""
    return failure.kind in BLAMED and not failure.blameless


def wilson(failures: float, trials: float) -> tuple[float, float]:
    """The interval in which the true share lies with 95 %; Wilson 1927, which also holds for few trials."""
    if trials <= 0:
        return 0.0, 1.0
    share, square = failures / trials, Z * Z
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = Z / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    return max(0.0, middle - half), min(1.0, middle + half)
