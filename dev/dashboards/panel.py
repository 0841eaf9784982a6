"""What a panel is: a question, a unit, and the queries that answer it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Unit(StrEnum):
    """As Grafana writes units."""

    COUNT = "short"
    GPUS = "suffix: GPUs"
    GPU_HOURS = "suffix: GPU h"
    JOBS = "suffix: jobs"
    STEPS = "suffix: steps"
    FACTOR = "suffix:x"
    SECONDS = "s"
    SHARE = "percentunit"
    PER_SECOND = "ops"
    REQUESTS = "reqps"
    BYTES_PER_SECOND = "Bps"
    YES = "bool_yes_no"
    WATTS = "watt"
    GRAMS = "massg"
    MONEY = "suffix: money"


WHOLE = frozenset({Unit.COUNT, Unit.GPUS, Unit.JOBS, Unit.STEPS})
"""Units of what is counted."""


class Look(StrEnum):
    """How a panel shows its series."""

    LINES = "timeseries"
    STACK = "stack"
    BARS = "bars"
    NUMBER = "stat"
    RANKING = "bargauge"
    RIBBON = "state-timeline"
    HEAT = "heatmap"


INSTANT = frozenset({Look.NUMBER, Look.RANKING})
"""Looks of now, or of the whole time range as one number."""


class Color(StrEnum):
    """What colours mean in all dashboards; the names are Grafana's."""

    GOOD = "green"
    IDLE = "blue"
    BUSY = "dark-blue"
    WAIT = "yellow"
    DOUBT = "orange"
    BAD = "red"
    WORSE = "dark-red"
    OFF = "semi-dark-purple"
    PLAIN = "text"


@dataclass(frozen=True, slots=True)
class Query:
    """An expression of PromQL. legend: words, and labels as {{label}}."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Limit:
    """From this value on the color holds. value: None for the smallest values."""

    value: float | None
    color: Color


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. title: the question that it answers. description: what the numbers are, and what to do about bad ones.

    limits: colors by value, from the smallest; colors: by the name of a series; opens: uid of the dashboard that a click on a
    series opens, with the labels of the series as its variables; width: of 24.
    """

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    look: Look = Look.LINES
    width: int = 12
    height: int = 8
    limits: tuple[Limit, ...] = ()
    colors: Mapping[str, Color] = field(default_factory=dict)
    opens: str = ""
    empty: str = ""


def number(
    title: str, description: str, unit: Unit, expr: str, *limits: Limit, width: int = 4, empty: str = ""
) -> Panel:
    """One number, coloured by its limits. empty: what stands there without a series."""
    return Panel(title, description, unit, (Query(expr, ""),), Look.NUMBER, width, 4, limits, empty=empty)


def growing(doubt: float, bad: float) -> tuple[Limit, ...]:
    """Limits of what is better small."""
    return Limit(None, Color.GOOD), Limit(doubt, Color.DOUBT), Limit(bad, Color.BAD)


def falling(bad: float, doubt: float) -> tuple[Limit, ...]:
    """Limits of what is better large: bad below the first, in doubt below the second."""
    return Limit(None, Color.BAD), Limit(bad, Color.DOUBT), Limit(doubt, Color.GOOD)


PLAIN = (Limit(None, Color.PLAIN),)
NEVER = (Limit(None, Color.GOOD), Limit(1e-9, Color.BAD))
"""Anything but 0 is bad."""
