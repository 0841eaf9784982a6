"""The client, the informer, the election and the token reviews against a real API server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest

from dev.cluster import Cluster
from tests.simulation.conformance import CHECKS, Check, World
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.events import EventRecorder
from trainyard.cluster.informer import Informer
from trainyard.cluster.lease import LeaseElection, LeaseSettings
from trainyard.cluster.resources import CONFIG_MAPS, EVENTS, NAMESPACES, Object
from trainyard.cluster.sender import ClientSettings
from trainyard.cluster.sight import Sight
from trainyard.cluster.tokens import TokenRejected, TokenReviewer
from trainyard.cluster.transport import KubeTransport
from trainyard.runtime.clock import SystemClock

pytestmark = pytest.mark.apiserver

CLOCK = SystemClock()
CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="module")
def cluster(api_cluster: Cluster) -> Cluster:
    """The cluster, with our kinds."""
    api_cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    api_cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
    return api_cluster


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    """A client and a namespace of one's own."""
    transport = await KubeTransport.connect(cluster.kubeconfig)
    client = ClusterClient(transport, CLOCK, Random(1), ClientSettings(page=2))
    name = f"client-{uuid4().hex[:8]}"
    await client.create(NAMESPACES, {"metadata": {"name": name}})
    await settled(client, name)
    try:
        yield World(client, name)
    finally:
        await client.delete(NAMESPACES, None, name)
        await client.close()


async def settled(client: ClusterClient, namespace: str) -> None:
    """Wait for the ConfigMap that the controller manager puts into every namespace, lest a test count it or not."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while await client.get(CONFIG_MAPS, namespace, "kube-root-ca.crt") is None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_real_api_server(check: Check, world: World) -> None:
    await check(world)


@pytest.mark.fault(8)
async def test_an_informer_follows_and_repairs(world: World) -> None:
    informer = Informer(
        world.client, CONFIG_MAPS, CLOCK, Random(1), label_selector="app=x", sight=Sight((world.namespace,))
    )
    gone = asyncio.Event()
    informer.on_change(lambda old, new: gone.set() if old and not new else None)
    await world.client.create(CONFIG_MAPS, world.config("a", app="x"))
    task = asyncio.create_task(informer.run())
    async with asyncio.timeout(20):
        await informer.synced.wait()
        await world.client.create(CONFIG_MAPS, world.config("b", {"large": "x" * 900_000}, app="x"))
        await world.client.delete(CONFIG_MAPS, world.namespace, "a")
        await gone.wait()
        await informer.relist()
    assert {key[1] for key in informer.store} == {"b"}
    assert "managedFields" not in informer.store[world.namespace, "b"]["metadata"]
    assert informer.repaired == 0, "the watch had missed nothing"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_lease_changes_hands(world: World) -> None:
    settings = LeaseSettings(duration=6, renew_deadline=4, retry_period=0.5, attempt=2, old_writes=0.5)
    lost: list[str] = []

    def candidate(name: str) -> LeaseElection:
        return LeaseElection(
            world.client, CLOCK, lost.append, namespace=world.namespace, name="lead", identity=name, settings=settings
        )

    first, second = candidate("first"), candidate("second")
    tasks = [asyncio.create_task(first.run())]
    async with asyncio.timeout(30):
        await first.acquired.wait()
        tasks.append(asyncio.create_task(second.run()))
        await asyncio.sleep(7)
        assert first.is_leader
        assert not second.is_leader
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        await first.release(writes_ended=True)
        await second.acquired.wait()
    assert second.epoch == first.epoch + 1
    assert lost == []
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_pods_token_is_ours_only_for_our_audience(cluster: Cluster, world: World) -> None:
    token = cluster.kubectl("create", "token", "default", "-n", world.namespace, "--audience", "trainyard.dev").strip()
    other = cluster.kubectl("create", "token", "default", "-n", world.namespace).strip()
    reviewer = TokenReviewer(world.client, CLOCK)
    caller = await reviewer.review(token)
    assert (caller.namespace, caller.service_account, caller.pod_name) == (world.namespace, "default", "")
    assert await reviewer.review(token) == caller
    assert reviewer.reviews == 1
    with pytest.raises(TokenRejected):
        await reviewer.review(other)


async def test_events_are_accepted_and_counted(world: World) -> None:
    recorder = EventRecorder(world.client, CLOCK, "trainyard", "pod-a")
    about: Object = await world.client.create(CONFIG_MAPS, world.config("a"))
    recorder.record(about, "Warning", "Evicted", "node lost")
    recorder.record(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}}, "Normal", "A", "b"
    )
    await recorder.flush()
    recorder.record(about, "Warning", "Evicted", "node lost")
    series = next(iter(recorder._known.values()))
    recorder._enqueue(series)
    await recorder.flush()
    assert (recorder.written, recorder.dropped) == (3, 0)
    events = (await world.client.list(EVENTS, world.namespace)).items
    assert [(event["reason"], event["count"]) for event in events] == [("Evicted", 2)]
