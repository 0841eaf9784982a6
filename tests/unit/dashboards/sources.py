"""Pages of metrics for dashboards: the operator's of the scripted world, a gateway's and a server's own registries.

Of gateways and servers it is their own code that renders; what happened to them is told to it here, without requests.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gateway.config import Settings
from gateway.eject import Ejections
from gateway.endpoint import Endpoint
from gateway.members import Membership
from gateway.observed import Observed, Server
from gateway.runtime import Runtime
from gateway.sidecar import Sidecar
from prometheus_client import CollectorRegistry, generate_latest
from server.graph.metrics import RouterMetrics
from server.metrics import Metrics as ServerMetrics

from tests.unit.metrics.scripted_world import (
    KEY,
    ago,
    collector_of,
    incident,
    running_job,
    scripted_world,
    used_metrics,
)
from trainyard.api.failure import FailureClass
from trainyard.api.node_health import NodeState
from trainyard.metrics.instruments import Metrics

SERVED = {"namespace": "team", "inference_service": "digits"}
"""What scraping adds to the pods of a service."""


def operator_pages() -> Iterator[bytes]:
    """Of an operator before and after a while in which something of everything happened."""
    world, registry = scripted_world(), CollectorRegistry()
    metrics = used_metrics(registry)
    _happens(metrics)
    registry.register(collector_of(world))
    yield generate_latest(registry)
    _happens(metrics)
    later = running_job()
    later["status"]["progress"] |= {"step": 160, "updatedAt": ago(seconds=5)}
    later["status"]["ledger"]["since"] = ago(minutes=2)
    world.observe("TrainingJob", running_job(), later)
    yield generate_latest(registry)


def _happens(metrics: Metrics) -> None:
    for code in (200, 409):
        metrics.kube_call("list", "pods", code, 0.01, 2000)
    for failed in (False, True):
        metrics.reconciled(KEY, waited=0.1, worked=0.2, failed=failed)
    metrics.cycle(0.02, [])
    metrics.admitted("research", 12.0)
    metrics.completed("research", "complete")
    metrics.failed("research", FailureClass.OUT_OF_MEMORY)
    metrics.interrupted(incident())
    metrics.straggler("research")
    metrics.drew("research", "team", 8.4e6, 4.2, 900.0)
    metrics.measured("research", "team", 7.9e6)
    metrics.event("Normal", "Admitted")
    metrics.loop_lag(0.004)
    metrics.missed("research", 40.0)
    metrics.started("load", 12.0)
    metrics.preempting("research", "production")
    metrics.preempted("research", 7200.0)
    metrics.node_became(NodeState.SUSPECT)
    metrics.xid(79)


def gateway_pages(folder: Path) -> Iterator[bytes]:
    """Of a gateway with two replicas, of which one is slow, before and after fifty requests."""
    settings = Settings("digits", "uid-service", folder=folder, slo_milliseconds=250)
    sidecar = Sidecar(settings, Runtime(settings))
    endpoint = Endpoint(settings, sidecar)
    servers = (
        Server("digits-replica-1", "10.0.0.1", 8080),
        Server("digits-replica-2", "10.0.0.2", 8080, running=False),
    )
    sidecar.standing = sidecar.standing.seen(
        Observed("boot", servers, frozenset(), queued=2, held=3), Membership(1, ())
    )
    sidecar.slowness = {"digits-replica-1": 2.0}
    yield generate_latest(endpoint._registry)
    sidecar.objective.requests, sidecar.objective.good = 50, 49
    sidecar.ejections = replace(Ejections(), total=1)
    yield generate_latest(endpoint._registry)


def server_pages() -> Iterator[bytes]:
    """Of a server of one language model, before and after a request."""
    metrics = ServerMetrics()
    metrics.describe([("digits", "sha256:ab")])
    for _ in range(2):
        _answers(metrics)
        yield metrics.render()


def _answers(metrics: ServerMetrics) -> None:
    for code in ("200", "429"):
        metrics.requests(code).inc()
    for histogram in (metrics.latency, metrics.queue_seconds, metrics.compute_seconds, metrics.explanation_seconds):
        histogram.observe(0.02)
    metrics.batch_rows.observe(4)
    metrics.queue_depth.set(2)
    metrics.in_flight.set(3)
    metrics.saved_rows.labels("deadline").inc()
    metrics.wasted_rows.labels("cancelled").inc()
    metrics.explanations.labels("200").inc()
    metrics.load_seconds.set(3)
    metrics.warm_up_seconds.set(1)
    metrics.ready.set(1)
    language = metrics.language
    counters = (language.prompt_tokens, language.cached_tokens, language.generated_tokens)
    for counter in (*counters, language.preemptions, language.expired):
        counter.labels("writer").inc(20)
    for gauge in (language.running, language.waiting, language.cache_used):
        gauge.labels("writer").set(0.5)
    for seconds in (language.first_token, language.next_token, language.step):
        seconds.labels("writer").observe(0.05)


def router_pages() -> Iterator[bytes]:
    """Of a router of a graph, before and after a request."""
    metrics = RouterMetrics()
    for _ in range(2):
        metrics.stage_requests.labels("scale", "200").inc()
        metrics.stage_seconds.labels("scale").observe(0.02)
        yield metrics.render()
