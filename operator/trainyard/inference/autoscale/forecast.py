"""What the demand will be when a replica that is started now answers: by the trend, and by the same time of earlier days."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, sqrt

PARTS = 8
_CERTAIN = 2.5
"""Standard errors by which a slope must differ from none."""
HALF_HOURS = 48
_DAY = 86_400.0
_SLOT = _DAY / HALF_HOURS
_NEW_DAY_WEIGHT = 0.4
_TRUSTED_ERROR = 0.4
_ERROR_MEMORY = 24.0
"""Half-hours over which the profile's own error is averaged."""


def slope(rates: Sequence[float], seconds: float) -> float:
    """How much the rate rises a second, if random arrivals do not explain it; else 0.

    rates: requests a second in equal parts of the last `seconds`. Least squares; the error is the larger of what a Poisson
    process would have and what is left beside the line.
    """
    count = len(rates)
    if count < PARTS // 2 or seconds <= 0:
        return 0.0
    step = seconds / count
    times = [step * (each - (count - 1) / 2) for each in range(count)]
    spread = sum(each * each for each in times)
    mean = sum(rates) / count
    rise = sum(time * (rate - mean) for time, rate in zip(times, rates, strict=True)) / spread
    left = sum((rate - mean - rise * time) ** 2 for time, rate in zip(times, rates, strict=True)) / (count - 2)
    error = sqrt(max(left, mean / step) / spread)
    return rise if abs(rise) > _CERTAIN * error else 0.0


@dataclass(slots=True)
class DailyProfile:
    """Mean demand in each half-hour of the day (UTC), learned day by day.

    It is asked only once it has foretold well: until then it says nothing.
    """

    levels: list[float] = field(default_factory=lambda: [-1.0] * HALF_HOURS)
    """Negative where nothing is known."""
    error: float = 1.0
    """Mean of |foretold - seen| / the larger of both, over the last half day; 1 at the beginning."""
    _slot: int = -1
    _sum: float = 0.0
    _seconds: float = 0.0
    changes: int = 0

    def add(self, wall: float, demand: float, seconds: float) -> None:
        """The demand was so high for the last `seconds` before `wall` (seconds since 1970, UTC)."""
        slot = _slot(wall)
        if slot != self._slot:
            if self._seconds >= _SLOT / 2:
                self._learn(self._slot, self._sum / self._seconds)
            self._slot, self._sum, self._seconds = slot, 0.0, 0.0
        self._sum += demand * max(0.0, seconds)
        self._seconds += max(0.0, seconds)

    def at(self, wall: float) -> float | None:
        """Demand expected at that time, or None if nothing can be said."""
        if self.error > _TRUSTED_ERROR:
            return None
        here = self.levels[_slot(wall)]
        # Between the middles of two half-hours the level moves from one to the other.
        place = (wall % _DAY) / _SLOT - 0.5
        low, part = int(place // 1), place % 1
        before, after = self.levels[low % HALF_HOURS], self.levels[(low + 1) % HALF_HOURS]
        if before < 0 or after < 0:
            return here if here >= 0 else None
        return before + part * (after - before)

    def _learn(self, slot: int, seen: float) -> None:
        known = self.levels[slot]
        if known >= 0:
            largest = max(known, seen, 0.5)
            keep = exp(-1 / _ERROR_MEMORY)
            self.error = keep * self.error + (1 - keep) * abs(known - seen) / largest
        self.levels[slot] = seen if known < 0 else known + _NEW_DAY_WEIGHT * (seen - known)
        self.changes += 1


def _slot(wall: float) -> int:
    return int(wall % _DAY // _SLOT) % HALF_HOURS
