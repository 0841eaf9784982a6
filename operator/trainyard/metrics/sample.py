"""One value of one series, and how values become families that prometheus_client can encode.

Each family has a cap: a cluster with more objects than anybody planned for must not take Prometheus down with it. What
is left out is itself a series.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample as LibrarySample
from prometheus_client.utils import floatToGoString

from trainyard.metrics.definitions import ALL, SERIES_DROPPED, Metric

CAP = 50_000
"""Series of one family in one scrape."""


class Sample(NamedTuple):
    """A value of the series of `metric` with these label values, in the order of its labels."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


class Rows:
    """The samples of one family, made when somebody looks at them.

    The library's own take half a kilobyte each and its encoder 10 µs; with ten thousand jobs that was 70 MB and a tenth of
    a core.
    """

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._labels: list[tuple[str, ...]] = []
        self._values = array("d")

    def add(self, labels: tuple[str, ...], value: float) -> None:
        self._labels.append(labels)
        self._values.append(value)

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[LibrarySample]:
        for labels, value in zip(self._labels, self._values, strict=True):
            yield LibrarySample(self._metric.name, dict(zip(self._metric.labels, labels, strict=True)), value)

    def text(self) -> str:
        """A line for each, as both formats have it."""
        names = ",".join(f'{name}="%s"' for name in self._metric.labels)
        line = f"{self._metric.name}{{{names}}} %s\n" if names else f"{self._metric.name} %s\n"
        rows = zip(self._labels, self._values, strict=True)
        number: Callable[[float], str] = floatToGoString
        return "".join(line % (*map(_escaped, labels), number(value)) for labels, value in rows)


@lru_cache(4096)
def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def families(samples: Iterable[Sample], cap: int = CAP) -> Iterator[Family]:
    """One family for each metric that has samples, in the order of the definitions, and one that counts what was left out.

    The samples of each are `Rows`.
    """
    found: dict[str, Rows] = {}
    dropped: dict[str, int] = {}
    for metric, labels, value in samples:
        rows = found.get(metric.name)
        if rows is None:
            rows = found[metric.name] = Rows(metric)
        if len(rows) >= cap:
            dropped[metric.name] = dropped.get(metric.name, 0) + 1
        else:
            rows.add(labels, value)
    if dropped:
        left_out = found[SERIES_DROPPED.name] = Rows(SERIES_DROPPED)
        for name, count in sorted(dropped.items()):
            left_out.add((name,), count)
    for metric in ALL:
        if rows := found.pop(metric.name, None):
            family = Family(metric.family, metric.meaning, metric.kind.value)
            family.samples = rows  # type: ignore[assignment]  # which is iterated only
            yield family
