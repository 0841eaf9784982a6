"""What amounts of a flavor's resources draw and cost, by the figures that the flavor states for one unit of its first resource.

A power cap is a quota of the pseudo resource `WATTS`: nobody asks for it, it follows from what is asked for (`quota_tree`). Amounts are
thousandths, so those of `WATTS` are milliwatts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from trainyard.api.energy import Draw
from trainyard.api.flavor import FlavorSpec
from trainyard.scheduling.resources import Amounts

_UNIT = 1000


@dataclass(frozen=True, slots=True)
class Power:
    """Of one flavor."""

    resource: str
    """Of which one unit draws so much."""
    watts: float

    def of(self, amounts: Amounts) -> int:
        """Milliwatts under load, rounded up: a cap is never passed by rounding."""
        return math.ceil(amounts.get(self.resource, 0) * self.watts)


def powers(flavors: Mapping[str, FlavorSpec]) -> dict[str, Power]:
    """By name, of the flavors that state their power."""
    return {
        name: Power(spec.resources[0], spec.watts_per_unit)
        for name, spec in flavors.items()
        if spec.watts_per_unit is not None
    }


def draw(flavor: FlavorSpec, amounts: Amounts) -> Draw:
    """Of these amounts on the flavor."""
    units = amounts.get(flavor.resources[0], 0) / _UNIT
    busy = flavor.watts_per_unit or 0.0
    idle = busy if flavor.idle_watts_per_unit is None else flavor.idle_watts_per_unit
    return Draw(units * busy, units * idle, units * (flavor.price_per_hour or 0.0))
