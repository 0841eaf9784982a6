"""What a router's /metrics shows. Requests have the names that they have at a model server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class RouterMetrics:
    """The series of one router, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "trainyard_server_requests",
            "Requests by HTTP status; 499 is a caller that left before the answer.",
            ["code"],
            registry=self.registry,
        )
        self.latency = Histogram(
            "trainyard_server_request_seconds",
            "From the end of the headers to the answer.",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.in_flight = Gauge(
            "trainyard_server_in_flight_requests", "Requests accepted and not yet answered.", registry=self.registry
        )
        self.stage_requests = Counter(
            "trainyard_server_stage_requests",
            "Requests to the targets of a stage by HTTP status; 499 is one that was given up, 502 one without an answer.",
            ["stage", "code"],
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "trainyard_server_stage_seconds",
            "What a stage took, targets and combination together.",
            ["stage"],
            registry=self.registry,
            buckets=_SECONDS,
        )

    def render(self) -> bytes:
        return generate_latest(self.registry)
