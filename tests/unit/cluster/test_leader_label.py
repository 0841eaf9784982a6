"""The Service finds the pod that leads, and no pod says so that does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random

import pytest

from tests.simulation.fake_api import FakeApi
from tests.simulation.fake_faults import writes
from trainyard.api.names import LEADS_LABEL
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.leader_label import LeaderLabel
from trainyard.cluster.resources import PODS
from trainyard.runtime.clock import LoopClock

pytestmark = pytest.mark.looptime

CLOCK = LoopClock(datetime(2026, 11, 23, tzinfo=UTC))


class Scene:
    """A server with the operator's pod, which an earlier process of it left labelled, or not."""

    def __init__(self, **labels: str) -> None:
        self.api = FakeApi(CLOCK)
        self.api.put(PODS, {"metadata": {"name": "one", "namespace": "system", "labels": labels}, "spec": {}})
        self.leads = False
        self.label = LeaderLabel("system", "one", lambda: self.leads)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        client = ClusterClient(self.api.connect(), CLOCK, Random(1))
        task = asyncio.create_task(self.label.run(client))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def shown(self) -> str | None:
        pod = self.api.get(PODS, "system", "one")
        assert pod is not None
        shown: str | None = (pod["metadata"].get("labels") or {}).get(LEADS_LABEL)
        return shown


async def test_a_pod_is_labelled_when_its_process_leads() -> None:
    scene = Scene()
    async with scene.running():
        await asyncio.sleep(1)
        assert scene.label.problem() is None
        scene.leads = True
        assert scene.label.problem() is not None
        await asyncio.sleep(1)
        assert scene.shown == "true"
        assert scene.label.problem() is None


async def test_a_label_of_an_earlier_process_goes() -> None:
    scene = Scene(**{LEADS_LABEL: "true", "mine": "x"})
    assert scene.label.problem() is not None
    async with scene.running():
        await asyncio.sleep(1)
    assert scene.shown is None
    assert scene.label.problem() is None


async def test_it_is_tried_again_until_the_api_server_takes_it() -> None:
    scene = Scene(**{LEADS_LABEL: "true"})
    scene.api.faults.fail(writes(PODS), status=403, times=None, reason="Forbidden")
    async with scene.running():
        await asyncio.sleep(30)
        assert LEADS_LABEL in str(scene.label.problem())
        scene.api.faults.clear()
        await asyncio.sleep(6)
    assert scene.label.problem() is None


async def test_nothing_is_written_while_nothing_changes() -> None:
    scene = Scene()
    async with scene.running():
        await asyncio.sleep(1)
        await asyncio.sleep(3600)
    assert len(scene.api.writes) == 1
