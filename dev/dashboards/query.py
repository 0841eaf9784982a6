"""Expressions of PromQL from definitions of metrics, so that no query names a series or a label that is not there.

A variable of a dashboard is called after the label that it selects. `Scope` adds a matcher for each variable whose label a
metric has; `cluster` is added always, and matches series without that label where its variable is at All.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

CLUSTER = "cluster"
WINDOW = "$__rate_interval"
"""At least four scrapes, whatever the time range."""
RANGE = "$__range"
"""The whole time range of the dashboard."""
MOST = 10
"""Series that a panel shows of what there can be any number of."""


class Source(Protocol):
    """A family of series: a metric of the operator's definitions, or of `served`."""

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Scope:
    """The variables of a dashboard besides the data source and the cluster, by the labels that they select."""

    variables: tuple[str, ...] = ()

    def series(self, source: Source, /, suffix: str = "", **matchers: str) -> str:
        """The selector. matchers: label to a regular expression. ValueError for a label that the metric has not."""
        unknown = set(matchers) - set(source.labels)
        if unknown:
            raise ValueError(f"{source.name} has the labels {', '.join(source.labels)}; got {', '.join(unknown)}")
        asked = dict.fromkeys((CLUSTER, *self.variables))
        chosen = [(each, f"${each}") for each in asked if each in (CLUSTER, *source.labels)]
        pairs = ", ".join(f'{label}=~"{value}"' for label, value in (*chosen, *matchers.items()))
        return f"{source.name}{suffix}{{{pairs}}}"

    def once(self, source: Source, /, **matchers: str) -> str:
        """Each series of an object once: an operator that stands by renders the same ones as the leader."""
        return f"max by ({_list((CLUSTER, *source.labels))}) ({self.series(source, **matchers)})"

    def rate(self, source: Source, /, by: Sequence[str] = (), suffix: str = "", **matchers: str) -> str:
        """Increase of a counter a second."""
        return total(f"rate({self.series(source, suffix, **matchers)}[{WINDOW}])", by)

    def increase(self, source: Source, /, by: Sequence[str] = (), window: str = WINDOW, **matchers: str) -> str:
        """Increase of a counter of events within the window. A series that began within it counts from 0: its first event made it."""
        series = self.series(source, **matchers)
        return total(f"({series} unless {series} offset {window}) or increase({series}[{window}])", by)

    def slope(self, source: Source, /, by: Sequence[str], window: str = WINDOW, **matchers: str) -> str:
        """Growth a second of a sum that falls when objects are deleted, which is no growth."""
        labels = _list((CLUSTER, *source.labels))
        return total(f"clamp_min(max by ({labels}) (deriv({self.series(source, **matchers)}[{window}])), 0)", by)

    def quantile(self, share: float, source: Source, /, by: Sequence[str] = (), **matchers: str) -> str:
        """Of a histogram, e.g. 0.95 for the 95th percentile."""
        return f"histogram_quantile({share:g}, {self.rate(source, ('le', *by), '_bucket', **matchers)})"

    def mean(self, source: Source, by: Sequence[str] = (), window: str = WINDOW) -> str:
        """Of a histogram's observations within the window."""
        parts = (total(f"increase({self.series(source, each)}[{window}])", by) for each in ("_sum", "_count"))
        return " / ".join(parts)


def total(expr: str, by: Sequence[str] = ()) -> str:
    """The sum by these labels."""
    return f"sum by ({_list(by)}) ({expr})" if by else f"sum ({expr})"


def top(expr: str, most: int = MOST) -> str:
    """The greatest, at each moment."""
    return f"topk({most}, {expr})"


def bottom(expr: str, most: int = MOST) -> str:
    """The smallest, at each moment."""
    return f"bottomk({most}, {expr})"


def _list(labels: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(labels))
