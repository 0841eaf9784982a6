"""One value of one series, and how values become what prometheus_client can encode.

Each family has a cap: a cluster with more objects than anybody planned for must not take Prometheus down with it. What
is left out is itself a series.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client.metrics_core import Metric as Family

from trainyard.metrics.definitions import ALL, SERIES_DROPPED, Metric

CAP = 50_000
"""Series of one family in one scrape."""


class Sample(NamedTuple):
    """A value of the series of `metric` with these label values, in the order of its labels."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


def families(samples: Iterable[Sample], cap: int = CAP) -> Iterator[Family]:
    """One family for each metric that has samples, in the order of the definitions, and one that counts what was left out."""
    found: dict[str, Family] = {}
    dropped: dict[str, int] = {}
    for metric, labels, value in samples:
        family = found.get(metric.name)
        if family is None:
            family = found[metric.name] = Family(metric.family, metric.meaning, metric.kind.value)
        if len(family.samples) >= cap:
            dropped[metric.name] = dropped.get(metric.name, 0) + 1
            continue
        family.add_sample(metric.name, dict(zip(metric.labels, labels, strict=True)), value)
    yield from (found[metric.name] for metric in ALL if metric.name in found)
    if dropped:
        left_out = Family(SERIES_DROPPED.family, SERIES_DROPPED.meaning, SERIES_DROPPED.kind.value)
        for name, count in sorted(dropped.items()):
            left_out.add_sample(SERIES_DROPPED.name, {"family": name}, count)
        yield left_out
