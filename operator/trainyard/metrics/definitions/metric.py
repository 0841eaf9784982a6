"""What a metric is, and the three kinds of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

PREFIX = "trainyard_"


class Kind(StrEnum):
    """Types as Prometheus knows them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Group(StrEnum):
    """Chapters of the documentation."""

    OPERATOR = "Operator"
    QUEUES = "Queues"
    NODES = "Nodes"
    TRAINING = "Training jobs"
    INFERENCE = "Inference services"
    ENERGY = "Energy and money"


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of series. `name` is what a query says, with `_total` for a counter."""

    name: str
    kind: Kind
    group: Group
    meaning: str
    labels: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()

    @property
    def family(self) -> str:
        """Name of the family in OpenMetrics: a counter's is without `_total`."""
        return self.name.removesuffix("_total") if self.kind is Kind.COUNTER else self.name


def counter(name: str, group: Group, meaning: str, *labels: str, **values: tuple[str, ...]) -> Metric:
    return Metric(f"{PREFIX}{name}_total", Kind.COUNTER, group, meaning, labels, values)


def gauge(name: str, group: Group, meaning: str, *labels: str, **values: tuple[str, ...]) -> Metric:
    return Metric(PREFIX + name, Kind.GAUGE, group, meaning, labels, values)


def histogram(
    name: str, group: Group, meaning: str, buckets: tuple[float, ...], *labels: str, **values: tuple[str, ...]
) -> Metric:
    return Metric(PREFIX + name, Kind.HISTOGRAM, group, meaning, labels, values, buckets)
