"""What the instruments count, and how /metrics is served."""

import asyncio

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from prometheus_client import parser as plain_text
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import parser as open_metrics

from tests.unit.metrics.scripted_world import (
    collector_of,
    incident,
    running_job,
    scripted_world,
    used_metrics,
    value,
    values,
)
from trainyard.api.reasons import Waiting
from trainyard.metrics.definitions import ALL
from trainyard.metrics.instruments import Metrics
from trainyard.metrics.loop_lag import watch_event_loop
from trainyard.runtime.clock import SystemClock
from trainyard.runtime.health import HealthServer
from trainyard.scheduling.snapshot import Verdict, Wait, Words, WorkloadKey

OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


def _open_metrics(text: str) -> list[Family]:
    """Read strictly, as Prometheus would."""
    return list(open_metrics.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def test_requests_are_counted_by_verb_resource_and_code_and_watches_are_not_timed() -> None:
    registry = CollectorRegistry()
    used_metrics(registry)
    labels = {"verb": "list", "resource": "pods", "code": "200"}
    assert value(registry, "trainyard_kube_requests_total", **labels) == 1
    assert value(registry, "trainyard_kube_request_duration_seconds_sum", **labels) == 0.01
    assert value(registry, "trainyard_kube_transferred_bytes_total", verb="list", resource="pods") == 2000
    watch = labels | {"verb": "watch"}
    assert value(registry, "trainyard_kube_requests_total", **watch) == 1
    assert value(registry, "trainyard_kube_request_duration_seconds_count", **watch) is None


def test_reconciles_are_counted_by_result() -> None:
    registry = CollectorRegistry()
    used_metrics(registry)
    assert value(registry, "trainyard_reconcile_total", kind="TrainingJob", result="ok") == 1
    assert value(registry, "trainyard_reconcile_total", kind="TrainingJob", result="error") == 1
    assert value(registry, "trainyard_reconcile_wait_seconds_sum", kind="TrainingJob") == pytest.approx(0.2)


def test_a_cycle_is_told_by_what_came_out_of_it() -> None:
    metrics = Metrics(CollectorRegistry())
    wait = Wait(WorkloadKey("TrainingJob", "team", "a"), "uid", Words(Verdict(Waiting.ON_HOLD, "")), 1)
    metrics.cycle(0.1, [])
    metrics.cycle(0.1, [wait])
    name = "trainyard_admission_cycle_seconds_count"
    assert value(metrics.registry, name, result="idle") == 1
    assert value(metrics.registry, name, result="waiting") == 1


def test_the_counters_of_a_queue_begin_before_their_first_event() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.has_queue("research")
    assert (
        value(metrics.registry, "trainyard_training_job_failures_total", **{"queue": "research", "class": "Hang"}) == 0
    )
    assert value(metrics.registry, "trainyard_training_job_completions_total", queue="research", result="failed") == 0
    assert value(metrics.registry, "trainyard_preempted_gpu_seconds_lost_total", queue="research") == 0


def test_who_makes_way_for_whom_is_counted_from_0_for_a_bounded_number_of_queues() -> None:
    metrics = Metrics(CollectorRegistry())
    for name in ("research", "production", "research"):
        metrics.has_queue(name)
    name = "trainyard_preemptions_total"
    pairs = [("production", "research"), ("research", "production"), ("research", "research")]
    assert [value(metrics.registry, name, queue=queue, by_queue=other) for queue, other in pairs] == [0, 0, 0]
    for number in range(200):
        metrics.has_queue(f"queue-{number}")
    assert len([series for series, _ in values(metrics.registry) if series == name]) == 32**2


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("reconcile_total", {"kind": "Queue", "result": "error"}),
        ("reconcile_duration_seconds_count", {"kind": "TrainingJob"}),
        ("admission_cycle_seconds_count", {"result": "admitted"}),
        ("inference_service_start_stage_seconds_count", {"stage": "image"}),
        ("invariant_violations_total", {"invariant": "OverQuota"}),
    ],
)
def test_what_is_counted_by_known_values_begins_with_the_operator(name: str, labels: dict[str, str]) -> None:
    assert value(Metrics(CollectorRegistry()).registry, f"trainyard_{name}", **labels) == 0


def test_failures_are_counted_by_class() -> None:
    registry = CollectorRegistry()
    used_metrics(registry)
    labels = {"queue": "research", "class": "OutOfMemory"}
    assert value(registry, "trainyard_training_job_failures_total", **labels) == 1


def test_two_operators_in_one_process_do_not_share_anything() -> None:
    one, other = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    one.completed("research", "complete")
    assert (
        value(other.registry, "trainyard_training_job_completions_total", queue="research", result="complete") is None
    )


async def test_the_format_is_what_the_scraper_asks_for() -> None:
    server = HealthServer("127.0.0.1", 0, Metrics(CollectorRegistry()).handler())
    async with TestClient(TestServer(server.app())) as client:
        plain = await client.get("/metrics")
        assert plain.content_type == "text/plain"
        names = {family.name for family in plain_text.text_string_to_metric_families(await plain.text())}
        modern = await client.get("/metrics", headers={"Accept": OPEN_METRICS, "Accept-Encoding": "gzip"})
        assert modern.content_type == "application/openmetrics-text"
        assert modern.headers["Content-Encoding"] == "gzip"
        families = {family.name for family in _open_metrics(await modern.text())}
    assert "trainyard_build_info" in names & families
    assert not [name for name in names | families if name.endswith("_created")]


async def test_a_full_scrape_is_valid_open_metrics_and_shows_the_world_of_its_moment() -> None:
    registry, world = CollectorRegistry(), scripted_world()
    metrics = used_metrics(registry)
    registry.register(collector_of(world))
    server = HealthServer("127.0.0.1", 0, metrics.handler())
    async with TestClient(TestServer(server.app())) as client:
        first = await client.get("/metrics", headers={"Accept": OPEN_METRICS})
        families = {family.name: family for family in _open_metrics(await first.text())}
        world.observe("TrainingJob", running_job(), None)
        second = await client.get("/metrics")
        assert 'training_job="digits"' not in await second.text()
    assert families["trainyard_training_job_restarts"].type == "counter"
    assert len(families) == len(ALL) - 1  # nothing was left out, so nothing says how much


@pytest.mark.fault(40)
async def test_a_blocked_event_loop_is_noticed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("trainyard.metrics.loop_lag.LATE_SECONDS", 0.05)
    lags: list[float] = []
    watcher = asyncio.create_task(watch_event_loop(lags.append, every=0.01))
    await asyncio.sleep(0)
    started = SystemClock().monotonic()
    while SystemClock().monotonic() - started < 0.1:
        pass
    await asyncio.sleep(0.02)
    watcher.cancel()
    assert max(lags) >= 0.08
    assert "the event loop was late" in caplog.text


def test_an_incident_is_counted_by_its_class_and_a_planned_one_is_not() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.interrupted(incident())
    metrics.interrupted(incident().model_copy(update={"cause": "Preempted", "planned": True}))
    metrics.interrupted(incident().model_copy(update={"recovered_at": None}))
    assert value(registry, "trainyard_incident_detection_seconds_sum", **{"class": "Node"}) == 50
    assert value(registry, "trainyard_incident_recovery_seconds_sum", **{"class": "Node"}) == 90
    assert value(registry, "trainyard_incident_recovery_seconds_count", **{"class": "Node"}) == 1
    assert value(registry, "trainyard_incident_lost_gpu_seconds_total", **{"class": "Node"}) == 2880
    assert value(registry, "trainyard_incident_lost_gpu_seconds_total", **{"class": "GPU"}) == 0


def test_preemptions_missed_estimates_and_violations_are_counted() -> None:
    registry = CollectorRegistry()
    used_metrics(registry)
    assert value(registry, "trainyard_preemptions_total", queue="research", by_queue="production") == 1
    assert value(registry, "trainyard_preempted_gpu_seconds_lost_total", queue="research") == 7200
    assert value(registry, "trainyard_start_eta_error_seconds_sum", queue="research") == 40
    assert value(registry, "trainyard_invariant_violations_total", invariant="OverQuota") == 1
    assert value(registry, "trainyard_invariant_violations_total", invariant="OrphanPods") == 0
