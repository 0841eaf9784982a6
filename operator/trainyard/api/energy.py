"""Energy and money: what somebody who holds a place draws and pays, and what that came to. Estimated and measured never add up."""

from dataclasses import dataclass

from pydantic import Field

from trainyard.api.meta import Model

JOULES_PER_KWH = 3_600_000.0
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Draw:
    """At one moment, by the figures of the flavor; 0 where it states none."""

    busy_watts: float = 0.0
    """While it computes."""
    idle_watts: float = 0.0
    """While it holds its place and computes nothing."""
    price_per_hour: float = 0.0

    def joules(self, seconds: float, *, busy: bool) -> float:
        return seconds * (self.busy_watts if busy else self.idle_watts)

    def cost(self, seconds: float) -> float:
        return seconds * self.price_per_hour / _HOUR


NOTHING = Draw()


class EnergySpent(Model):
    """What a job's place came to until now."""

    estimated_joules: float = Field(
        default=0,
        description="By wattsPerUnit and idleWattsPerUnit of its flavors, over all the time for which it held a place.",
    )
    measured_joules: float = Field(
        default=0,
        description="By the GPUs' own counters, while its trainers ran and reported; no part of what is estimated. 0 where nobody measured.",
    )
    cost: float = Field(default=0, description="By pricePerHour of its flavors, in their currency.")
    carbon_grams: float | None = Field(
        default=None, description="CO2 of what is estimated, if the operator is told the grams per kWh."
    )


class PowerUse(Model):
    """What everybody of a queue who holds a place draws and pays now, on one flavor. Estimated, under load."""

    queue: str = Field(description="Name of the queue.")
    flavor: str = Field(description="Name of the flavor.")
    watts: float = Field(description="Power under load.")
    cost_per_hour: float = Field(description="In the currency of the flavors.")
    carbon_grams_per_hour: float | None = Field(
        default=None, description="CO2, if the operator is told the grams per kWh."
    )


def carbon(joules: float, grams_per_kwh: float | None) -> float | None:
    """Grams of CO2; None if nobody knows."""
    return None if grams_per_kwh is None else joules / JOULES_PER_KWH * grams_per_kwh
