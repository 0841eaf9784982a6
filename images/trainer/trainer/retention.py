"""Which checkpoints stay: the newest, the best, and one for each so many hours. A pure choice, without files."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

_SMALLER_IS_BETTER: Final = ("loss", "mse", "mae")


@dataclass(frozen=True)
class Saved:
    """What the choice needs to know of a checkpoint.

    at: seconds since 1970. metric: its value in the newest evaluation before, which was made after step `evaluated`;
    None where there was none yet.
    """

    attempt: int
    step: int
    at: float
    metric: float | None = None
    evaluated: int | None = None

    @property
    def age(self) -> tuple[int, int]:
        """Grows with each checkpoint, also where a clock was set back."""
        return self.attempt, self.step


@dataclass(frozen=True)
class Retention:
    """What was asked for. newest, best: how many of them; every_seconds: a span of which one checkpoint stays."""

    newest: int
    best: int = 0
    smaller_is_better: bool = False
    every_seconds: float | None = None

    def kept(self, saved: Collection[Saved]) -> set[Saved]:
        """Those that stay. What is removed today would not be asked for again tomorrow, whatever is saved until then."""
        ordered = sorted(saved, key=lambda one: one.age)
        return {*ordered[-self.newest :], *self._best(ordered), *self._one_for_each_span(ordered)}

    def _best(self, ordered: Sequence[Saved]) -> list[Saved]:
        """For each of the best evaluations the checkpoint that was saved first after it; of equal ones the later."""
        judged = [one for one in ordered if one.metric is not None]
        firsts = [next(group) for _, group in groupby(judged, lambda one: (one.attempt, one.evaluated, one.metric))]
        sign = 1 if self.smaller_is_better else -1
        # The sort is stable, so those that are equal stay with the later one in front.
        firsts.sort(key=lambda one: one.age, reverse=True)
        firsts.sort(key=lambda one: sign * (one.metric or 0.0))
        return firsts[: self.best]

    def _one_for_each_span(self, ordered: Sequence[Saved]) -> list[Saved]:
        """The first of each span of the clock, as it will still be the first when more are saved."""
        if self.every_seconds is None:
            return []
        firsts: dict[int, Saved] = {}
        for one in ordered:
            firsts.setdefault(int(one.at // self.every_seconds), one)
        return list(firsts.values())


def is_smaller_better(metric: str) -> bool:
    """Whether a metric of that name counts an error, as loss, mse, mae and validationLoss do."""
    return any(word in metric.lower() for word in _SMALLER_IS_BETTER)
