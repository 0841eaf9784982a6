"""How often gangs are interrupted, for each flavor: learned from the jobs that ran there, beginning with published figures. Pure.

Interruptions are taken to come at random, at a rate for each GPU. What is known of a rate is how many interruptions were seen in how
many hours of GPUs; what was published counts like a few interruptions of one's own (a gamma prior), and less the more there are. The
rate of one job's gang is found in the same way, with the flavor's rate in place of what was published: a job whose own program dies
every hour is soon expected to. What was long ago weighs less.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from trainyard.scheduling.snapshot import Standing

PUBLISHED = 419 / (16_384 * 54 * 24)
"""Interruptions an hour of a GPU: Llama Team, The Llama 3 Herd of Models, 2024, section 3.3.4. A GPU in 5.8 years, 1,024 in two days."""
WEIGHT = 3.0
"""Interruptions of one's own as which the expectation counts."""
HALF_LIFE = timedelta(days=30)
AT_RISK = 30.0
"""How many times as often a node fails whose errors foretell it. Of alarms on a simulated fleet 41 to 86 % were followed by a failure
within about three days, 66 to 250 times what chance gives; half of the lesser, as what the fleet announces is assumed there."""
MOST = 1000
"""Flavors that are remembered."""
_NEWS = 0.05
"""Of the hours, from which on more of them are worth being kept: jobs tell of theirs every half minute."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Interruptions, and hours of GPUs in which they came; those of a half-life ago count half, as of `at`."""

    hours: float
    times: float
    at: datetime

    def as_of(self, now: datetime) -> "Seen":
        kept = math.exp2(-(max(timedelta(0), now - self.at) / HALF_LIFE))
        return Seen(self.hours * kept, self.times * kept, max(now, self.at))


def expected(rate: float, hours: float, times: float) -> float:
    """Interruptions an hour where so many were seen in so many hours, and `rate` was expected before."""
    return (WEIGHT + times) / (WEIGHT / rate + hours)


def weight(standing: Standing) -> float:
    """How many times as often as others a node interrupts what runs there."""
    return max(1.0, standing.lemon, AT_RISK if standing.risk else 1.0)


class Interruptions:
    """What was seen of each flavor."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}
        self._fresh: dict[str, float] = {}
        """Hours since there was news last."""

    def ran(self, flavor: str, gpu_hours: float, times: int, now: datetime) -> float | None:
        """A gang ran for so many hours more, and was interrupted so often. The hours since the last news, if that is worth being kept."""
        before = self._seen.pop(flavor, Seen(0.0, 0.0, now)).as_of(now)
        self._seen[flavor] = seen = Seen(before.hours + gpu_hours, before.times + times, now)
        while len(self._seen) > MOST:
            self._fresh.pop(dropped := next(iter(self._seen)), None)
            del self._seen[dropped]
        fresh = self._fresh.get(flavor, 0.0) + gpu_hours
        if times == 0 and fresh <= _NEWS * seen.hours:
            self._fresh[flavor] = fresh
            return None
        self._fresh[flavor] = 0.0
        return fresh

    def rate(self, flavor: str, now: datetime) -> float:
        """Interruptions an hour that are expected of a GPU of the flavor."""
        seen = self._seen.get(flavor, Seen(0.0, 0.0, now)).as_of(now)
        return expected(PUBLISHED, seen.hours, seen.times)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            flavor: [round(each.hours, 3), round(each.times, 4), each.at.isoformat()]
            for flavor, each in self._seen.items()
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "Interruptions":
        """The inverse. Raises ValueError if it is damaged."""
        try:
            seen = {
                str(flavor): Seen(float(hours), float(times), datetime.fromisoformat(at).astimezone(UTC))
                for flavor, (hours, times, at) in kept.items()
            }
        except (TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"what was learned of interruptions is damaged and is to be deleted: {error!r}") from error
        if not all(0 <= each.hours < math.inf and 0 <= each.times < math.inf for each in seen.values()):
            raise ValueError("what was learned of interruptions is damaged and is to be deleted: expected at least 0")
        found = cls()
        found._seen = seen
        return found
