"""The sidecar's own port: /readyz, /healthz and /metrics.

Readiness is computed from what HAProxy was last seen to do, so a pod whose HAProxy died leaves the Service at once.
"""

from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.config import Settings
from gateway.report import state_of
from gateway.sidecar import Sidecar


class Endpoint(Collector):
    """Serves one sidecar's standing."""

    def __init__(self, settings: Settings, sidecar: Sidecar) -> None:
        self._settings = settings
        self._sidecar = sidecar
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self.stopping = False
        self.port = settings.endpoint_port

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.add_routes(
            [
                web.get("/readyz", self._readyz),
                web.get("/healthz", self._healthz),
                web.get("/metrics", self._metrics),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, self._settings.endpoint_host or None, self._settings.endpoint_port).start()
        self.port = runner.addresses[0][1]
        return runner

    async def _readyz(self, _request: web.Request) -> web.Response:
        if self.stopping:
            return web.json_response({"error": "the gateway is stopping"}, status=503)
        if not self._ready():
            return web.json_response({"error": "no membership is applied, or no replica is up"}, status=503)
        return web.json_response({"ready": True})

    def _ready(self) -> bool:
        return self._sidecar.standing.ready(holds=self._settings.hold_seconds > 0)

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), content_type="text/plain", charset="utf-8")

    def collect(self) -> Iterator[Metric]:
        """Series of the moment, for the Prometheus client."""
        standing, sidecar = self._sidecar.standing, self._sidecar
        prefix = "trainyard_gateway"
        yield _gauge(f"{prefix}_generation", "Newest membership generation that HAProxy follows.", standing.applied)
        yield _gauge(f"{prefix}_ready", "1 while /readyz answers 200.", self._ready() and not self.stopping)
        yield _gauge(f"{prefix}_operator_away", "1 while the operator does not answer.", sidecar.operator_away)
        observed = standing.observed
        held = 0 if observed is None else observed.held
        yield _gauge(f"{prefix}_held", "Requests that wait for a first replica.", held)
        queued = 0 if observed is None else observed.queued
        yield _gauge(f"{prefix}_queued", "Requests that wait for a replica that has room.", queued)
        yield _gauge(f"{prefix}_queue_limit", "Requests that may wait so for each model.", self._settings.queue_limit)
        yield CounterMetricFamily(
            f"{prefix}_held_refused",
            "Requests that were not held, because as many as may were waiting.",
            0 if observed is None else observed.refused_holds,
        )
        yield CounterMetricFamily(
            f"{prefix}_ejections",
            "Replicas that got nothing for a while, because they failed.",
            sidecar.ejections.total,
        )
        if self._settings.slo_milliseconds:
            slo = sidecar.objective
            yield CounterMetricFamily(
                f"{prefix}_slo_requests", "Requests that the service was to answer.", slo.requests
            )
            yield CounterMetricFamily(
                f"{prefix}_slo_good", "Those of them that were answered, and within the objective's time.", slo.good
            )
        members = GaugeMetricFamily(f"{prefix}_members", "Servers by state.", labels=["state"])
        servers = () if observed is None else observed.servers
        for state in ("UP", "DOWN", "DRAIN"):
            members.add_metric([state], sum(state_of(server) == state for server in servers))
        yield members
        slowness = GaugeMetricFamily(
            f"{prefix}_slowness",
            "Time of a replica as a multiple of the median one's, where it is clearly another.",
            labels=["member"],
        )
        for name, factor in sidecar.slowness.items():
            if factor != 1.0:
                slowness.add_metric([name], factor)
        yield slowness
        syncs = CounterMetricFamily(f"{prefix}_syncs", "Calls to the operator by result.", labels=["result"])
        syncs.add_metric(["ok"], sidecar.syncs)
        syncs.add_metric(["failed"], sidecar.failed_syncs)
        yield syncs
        yield from _comparison(prefix, sidecar, 0 if observed is None else observed.dropped_copies)
        yield CounterMetricFamily(
            f"{prefix}_haproxy_restarts", "HAProxy restarts that were repaired.", standing.haproxy_restarts
        )


def _comparison(prefix: str, sidecar: Sidecar, dropped: int) -> Iterator[Metric]:
    copies = sidecar.copies
    for name, text, value in (
        ("copies_sent", "Copies of requests that the canary was asked with.", copies.sent),
        (
            "copies_dropped",
            "Copies that came to nothing: too many, too large, not to be compared, or the canary was busy.",
            copies.dropped + dropped,
        ),
        ("answers_compared", "Answers of the canary that were compared with the stable revision's.", copies.compared),
        ("answers_different", "Of these, those that differed.", copies.different),
    ):
        yield CounterMetricFamily(f"{prefix}_{name}", text, value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))
