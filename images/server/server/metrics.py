"""What /metrics shows. Every series is defined here once, with the line that explains it."""

from collections.abc import Callable, Iterable
from copy import copy
from functools import cache
from typing import Self, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from server.language.metrics import LanguageMetrics

_LATENCY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The series of one server, in a registry of its own so that tests do not share counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.language = LanguageMetrics(self.registry)
        requests = Counter(
            "trainyard_server_requests",
            "Inference requests by HTTP status; 499 is a caller that left before the answer.",
            ["code"],
            registry=self.registry,
        )
        self.requests: Callable[[str], Counter] = cache(requests.labels)
        self.latency = self._histogram("request_seconds", "From the end of the headers to the answer.", _LATENCY)
        self.queue_seconds = self._histogram("queue_seconds", "Wait for the compute thread.", _LATENCY)
        self.compute_seconds = self._histogram("compute_seconds", "One forward pass of one batch.", _LATENCY)
        self.batch_rows = self._histogram("batch_rows", "Rows computed together.", _ROWS)
        self.explanations = Counter(
            "trainyard_server_explanations",
            "Requests for explanations by HTTP status, which the requests above do not count; 499 as there.",
            ["code"],
            registry=self.registry,
        )
        self.explanation_seconds = self._histogram(
            "explanation_seconds", "From the end of the headers to the explanation.", _LONG
        )
        self.queue_depth = self._gauge("queue_depth", "Requests that wait for the compute thread.")
        self.in_flight = self._gauge("in_flight_requests", "Inference requests accepted and not yet answered.")
        self.ready = self._gauge("ready", "1 while the readiness probe answers 200.")
        self.load_seconds = self._gauge("load_seconds", "Time to check and load the model.")
        self.warm_up_seconds = self._gauge("warm_up_seconds", "Time to compute the warm-up batches.")
        self.saved_rows = Counter(
            "trainyard_server_saved_rows",
            "Rows dropped before they were computed, by reason: deadline, cancelled.",
            ["reason"],
            registry=self.registry,
        )
        self.wasted_rows = Counter(
            "trainyard_server_wasted_rows",
            "Rows computed though nobody waited any more, by reason: deadline, cancelled.",
            ["reason"],
            registry=self.registry,
        )
        for reason in ("deadline", "cancelled"):
            self.saved_rows.labels(reason)
            self.wasted_rows.labels(reason)
        self._model = Gauge(
            "trainyard_server_model_info", "Always 1; what is served.", ["model", "digest"], registry=self.registry
        )

    def describe(self, served: Iterable[tuple[str, str]]) -> None:
        """served: name and digest of each model."""
        self._model.clear()
        for name, digest in served:
            self._model.labels(name, digest).set(1)

    def of_model(self, waited: Callable[[float], None]) -> Self:
        """The same series for one model's batcher: `waited` is told each wait."""
        view = copy(self)
        view.queue_seconds = cast(Histogram, _Told(self.queue_seconds, waited))
        return view

    def render(self) -> bytes:
        return generate_latest(self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"trainyard_server_{name}", text, registry=self.registry, buckets=buckets)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"trainyard_server_{name}", text, registry=self.registry)


class _Told:
    """A histogram whose values go to one more reader."""

    def __init__(self, histogram: Histogram, reader: Callable[[float], None]) -> None:
        self._histogram = histogram
        self._reader = reader

    def observe(self, value: float) -> None:
        self._histogram.observe(value)
        self._reader(value)
