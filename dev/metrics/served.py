"""What gateways and model servers measure themselves, read from the code of their images."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.config import Settings
from gateway.endpoint import Endpoint
from gateway.runtime import Runtime
from gateway.sidecar import Sidecar
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family
from server.graph.metrics import RouterMetrics
from server.metrics import Metrics as ServerMetrics

SCRAPED = ("namespace", "inference_service", "pod")
"""What scraping adds to every series of a service's pods: see the chart's PodMonitor."""


@dataclass(frozen=True, slots=True)
class ServedMetric:
    """One family of series. name: as a query says it, with `_total` for a counter; labels: its own."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...]


def of_gateways() -> tuple[ServedMetric, ...]:
    settings = Settings("", "", folder=Path(), slo_milliseconds=1)
    endpoint = Endpoint(settings, Sidecar(settings, Runtime(settings)))
    return tuple(_metric(family, family) for family in endpoint.collect())


def of_servers() -> tuple[ServedMetric, ...]:
    return tuple(_of(ServerMetrics().registry))


def of_routers() -> tuple[ServedMetric, ...]:
    """What routers of graphs have besides what a server has, too."""
    known = {each.name for each in of_servers()}
    return tuple(each for each in _of(RouterMetrics().registry) if each.name not in known)


def _of(registry: CollectorRegistry) -> Iterator[ServedMetric]:
    for instrument in _instruments(registry):
        for family in instrument.collect():
            yield _metric(family, instrument)


def _instruments(registry: CollectorRegistry) -> Iterable[Any]:
    return list(registry._collector_to_names)  # noqa: SLF001  a registry tells no instruments, and a family no labels


def _metric(family: Family, of: Any) -> ServedMetric:
    """of: the instrument, or the family itself where a collector made it: both know the labels before there is a sample."""
    name = f"{family.name}_total" if family.type == "counter" else family.name
    buckets = tuple(getattr(of, "_kwargs", {}).get("buckets", ()))
    return ServedMetric(name, family.type, family.documentation, tuple(of._labelnames), buckets)  # noqa: SLF001
