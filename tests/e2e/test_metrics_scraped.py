"""A real Prometheus scrapes a real /metrics: what arrives there is what the world says."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from dev.prometheus import Prometheus, PrometheusError, prometheus
from tests.unit.metrics.scripted_world import collector_of, running_job, scripted_world, used_metrics
from trainyard.metrics.definitions import ALL, PREFIX, SERIES_DROPPED
from trainyard.runtime.health import HealthServer
from trainyard.workloads.world import World

pytestmark = pytest.mark.e2e


@pytest.fixture
def world() -> World:
    return scripted_world()


@pytest.fixture
async def server(world: World) -> AsyncIterator[HealthServer]:
    registry = CollectorRegistry()
    metrics = used_metrics(registry)
    registry.register(collector_of(world))
    server = HealthServer("127.0.0.1", 0, metrics.handler())
    yield server
    await server.stop()


async def test_prometheus_shows_what_the_world_says_and_forgets_what_is_deleted(
    server: HealthServer, world: World
) -> None:
    port = await server.start()
    with prometheus({"operator": f"127.0.0.1:{port}"}, interval=0.5) as scraped:
        await asyncio.to_thread(_compare, scraped)
        world.observe("TrainingJob", running_job(), None)
        await asyncio.to_thread(scraped.wait_for, 'absent(trainyard_training_job_step{training_job="digits"})')
        assert _runs(scraped.pid)
    assert not _runs(scraped.pid)


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _compare(scraped: Prometheus) -> None:
    """Blocks, while the event loop serves."""
    scraped.wait_for('up{job="operator"} == 1')
    families = scraped.families(PREFIX)
    assert families == {metric.family for metric in ALL if metric is not SERIES_DROPPED}
    assert len(families) >= 12
    assert scraped.value('trainyard_training_job_step{namespace="team",training_job="digits"}') == 100
    assert scraped.value('sum(trainyard_node_gpus{state="free"})') == 3
    assert scraped.value("sum(trainyard_node_gpus)") == 28
    assert scraped.value('trainyard_quota_used{queue="research"} / trainyard_quota_guaranteed') == 0.375
    assert scraped.value('sum(trainyard_queue_pending_workloads{reason="WaitingForQuota"})') == 2
    assert scraped.value("histogram_quantile(0.5, trainyard_admission_wait_seconds_bucket)") == pytest.approx(20)
    assert scraped.value('trainyard_kube_requests_total{verb="list",resource="pods",code="200"}') == 1
    assert scraped.targets()
    with pytest.raises(PrometheusError, match="parse error"):
        scraped.query("sum(")
