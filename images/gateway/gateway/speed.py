"""How much slower a replica is than the others, from the times of its answers, so that it gets fewer requests at a time. Pure.

HAProxy's `leastconn` gives every replica as many requests at a time, and an idle one its turn, however slow it is. Times alone do not tell who
is slow, since who is fast is given more. So they are compared as they would be beside no other request:

    log(time) = replica + burden x log(requests at a time)

The burden is one number for all, by least squares within each replica: 1 where they take one request after the other, 0 where others cost
nothing. What chance explains is no difference, and differences of less than a fifth are none, so replicas of one kind are left to `leastconn`.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway import BACKEND, GRPC_BACKEND

_MEMORY_ANSWERS = 128
_MEMORY_SECONDS = 60.0  # so a replica that was avoided is tried again
_SOFT_MS = 2.0  # HAProxy's milliseconds are whole
_CHANCE = 9.0  # squared: three standard errors
_PRIOR_ANSWERS, _PRIOR_SQUARES = 8.0, 4.0  # what spread of times is reckoned with as long as few are known
_STEPS = 2  # for each doubling
_MOST_STEPS = 8
_LINE = re.compile(
    rf"backend=(?:{BACKEND}|{GRPC_BACKEND}) server=(\S+) status=2\d\d method=POST term=-- .*"
    r"ttfb_ms=(\d+) .*retries=0 .*grpc=- beside=(\d+)"
)


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one replica's answers, older ones with less weight: x is log(requests at a time), y log(time). at is in seconds of the clock."""

    count: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0
    at: float = 0.0

    def and_one(self, x: float, y: float, now: float) -> "Sums":
        keep = (1 - 1 / _MEMORY_ANSWERS) * math.exp(-(now - self.at) / _MEMORY_SECONDS)
        return Sums(
            keep * self.count + 1,
            keep * self.x + x,
            keep * self.y + y,
            keep * self.xx + x * x,
            keep * self.xy + x * y,
            keep * self.yy + y * y,
            now,
        )

    def within(self) -> tuple[float, float, float]:
        """Sums of squares round the replica's own means: of x, of x and y, of y."""
        x, y = self.x / self.count, self.y / self.count
        return self.xx - self.count * x * x, self.xy - self.count * x * y, self.yy - self.count * y * y

    def alone(self, burden: float) -> float:
        """Log of the time beside no other request."""
        return (self.y - burden * self.x) / self.count

    def answers(self, now: float) -> float:
        """How many there are, as far as they are remembered."""
        return self.count * math.exp(-(now - self.at) / _MEMORY_SECONDS)


class Speeds:
    """What is known of each replica, by its name."""

    def __init__(self) -> None:
        self._sums: dict[str, Sums] = {}

    def take(self, line: str, now: float) -> None:
        """One line of HAProxy's log. What failed, was tried twice or is no inference tells nothing of a replica's speed."""
        if found := _LINE.search(line):
            name, milliseconds, beside = found.groups()
            self.see(name, float(milliseconds), int(beside), now)

    def see(self, name: str, milliseconds: float, beside: int, now: float) -> None:
        """An answer, and how many other requests this gateway had at the replica then."""
        before = self._sums.get(name, Sums(at=now))
        self._sums[name] = before.and_one(math.log(1 + beside), math.log(milliseconds + _SOFT_MS), now)

    def slowness(self, names: Collection[str], now: float) -> dict[str, float]:
        """Time of each of them as a multiple of the (lower) median replica's, 1.0 where no difference is known. Others are forgotten."""
        self._sums = {name: sums for name, sums in self._sums.items() if name in names}
        if not self._sums:
            return dict.fromkeys(names, 1.0)
        xx, xy, yy = (sum(part) for part in zip(*(sums.within() for sums in self._sums.values()), strict=True))
        burden = min(1.0, max(0.0, xy / xx)) if xx > 0 else 0.0
        answers = sum(sums.count - 1 for sums in self._sums.values())
        variance = (_PRIOR_SQUARES + max(0.0, yy - burden * xy)) / (_PRIOR_ANSWERS + answers)
        alone = {name: sums.alone(burden) for name, sums in self._sums.items()}
        median = sorted(alone.values())[(len(alone) - 1) // 2]
        return {
            name: _step(alone[name] - median, variance / self._sums[name].answers(now)) if name in alone else 1.0
            for name in names
        }


def as_knob(slowness: Mapping[str, float]) -> str:
    """For `run.map`: `name:percent,...`, or nothing where all are equally fast."""
    if all(factor == 1.0 for factor in slowness.values()):
        return ""
    return ",".join(f"{name}:{round(100 * factor)}" for name, factor in sorted(slowness.items()))


def _step(difference: float, variance: float) -> float:
    """Factor of a difference of logs, in steps, without what chance explains."""
    if difference == 0:
        return 1.0
    sure = difference * max(0.0, 1 - _CHANCE * variance / difference**2)
    steps = round(_STEPS * sure / math.log(2))
    return float(2 ** (max(-_MOST_STEPS, min(_MOST_STEPS, steps)) / _STEPS))
