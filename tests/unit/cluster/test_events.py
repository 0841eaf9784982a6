"""Events tell people what happened without ever standing in the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random

import pytest

from tests.simulation.fake_api import FakeApi
from tests.simulation.fake_faults import on, verb
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.events import EventRecorder, EventSettings
from trainyard.cluster.resources import EVENTS, NAMESPACES, QUEUES, TRAINING_JOBS, Object
from trainyard.runtime.clock import LoopClock

pytestmark = pytest.mark.looptime

CLOCK = LoopClock(datetime(2026, 11, 23, tzinfo=UTC))
NO_LIMITS = EventSettings(per_object=1000)


class Scene:
    """A server with a job, and a recorder."""

    def __init__(self, settings: EventSettings | None = None) -> None:
        self.api = FakeApi(CLOCK)
        self.job = self.api.put(TRAINING_JOBS, {"metadata": {"name": "j", "namespace": "team"}, "spec": {}})
        client = ClusterClient(self.api.connect(), CLOCK, Random(1))
        self.recorder = EventRecorder(client, CLOCK, "trainyard", "pod-a", settings)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.recorder.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def events(self) -> list[Object]:
        return self.api.all(EVENTS)


async def test_an_event_is_what_kubectl_describe_shows() -> None:
    scene = Scene()
    async with scene.running():
        scene.recorder.record(scene.job, "Normal", "Admitted", "8 GPUs on n1")
        await asyncio.sleep(1)
    (event,) = scene.events()
    reference = event["involvedObject"]
    assert (reference["kind"], reference["name"], reference["uid"]) == (
        "TrainingJob",
        "j",
        scene.job["metadata"]["uid"],
    )
    assert event["metadata"]["namespace"] == "team"
    assert (event["type"], event["reason"], event["message"]) == ("Normal", "Admitted", "8 GPUs on n1")
    assert (event["count"], event["source"]["component"]) == (1, "trainyard")
    assert event["firstTimestamp"] == event["lastTimestamp"]


async def test_repeats_are_counted_in_one_event_and_seldom_written() -> None:
    scene = Scene()
    async with scene.running():
        for _ in range(100):
            scene.recorder.record(scene.job, "Warning", "Evicted", "node lost")
            await asyncio.sleep(3)
        await asyncio.sleep(5)
    (event,) = scene.events()
    assert event["count"] > 80
    assert event["lastTimestamp"] > event["firstTimestamp"]
    assert len(scene.api.writes) <= 6
    assert scene.recorder.suppressed == 99


async def test_after_the_window_the_same_thing_is_a_new_event() -> None:
    scene = Scene()
    async with scene.running():
        scene.recorder.record(scene.job, "Normal", "Admitted", "8 GPUs")
        await asyncio.sleep(601)
        scene.recorder.record(scene.job, "Normal", "Admitted", "8 GPUs")
        await asyncio.sleep(1)
    assert len(scene.events()) == 2


async def test_different_reasons_messages_and_objects_are_different_events() -> None:
    scene = Scene()
    other = scene.api.put(TRAINING_JOBS, {"metadata": {"name": "k", "namespace": "team"}, "spec": {}})
    async with scene.running():
        scene.recorder.record(scene.job, "Normal", "Admitted", "8 GPUs")
        scene.recorder.record(scene.job, "Normal", "Admitted", "9 GPUs")
        scene.recorder.record(scene.job, "Normal", "Started", "8 GPUs")
        scene.recorder.record(other, "Normal", "Admitted", "8 GPUs")
        await asyncio.sleep(5)
    assert len(scene.events()) == 4


@pytest.mark.fault(97)
async def test_an_object_that_flaps_cannot_flood_and_what_is_dropped_is_counted() -> None:
    scene = Scene(EventSettings(per_object=5, per_object_seconds=100))
    async with scene.running():
        for number in range(50):
            scene.recorder.record(scene.job, "Normal", "Moved", f"to {number}")
        await asyncio.sleep(200)
        scene.recorder.record(scene.job, "Normal", "Moved", "once more")
        await asyncio.sleep(10)
    assert len(scene.events()) == 6
    assert scene.recorder.dropped == 45


async def test_all_objects_together_are_bounded_in_rate_and_queue() -> None:
    scene = Scene(EventSettings(per_object=1000, per_second=10, queue=50))
    async with scene.running():
        for number in range(80):
            scene.recorder.record(scene.job, "Normal", "Moved", f"to {number}")
        await asyncio.sleep(2)
        assert 15 <= len(scene.events()) <= 21
        await asyncio.sleep(10)
    assert len(scene.events()) == 50
    assert scene.recorder.dropped == 30


async def test_the_name_of_an_event_is_one_however_long_that_of_the_object_is() -> None:
    scene = Scene()
    long = f"{'n' * 228}-.{'n' * 20}"
    scene.job = scene.api.put(TRAINING_JOBS, {"metadata": {"name": long, "namespace": "team"}, "spec": {}})
    async with scene.running():
        scene.recorder.record(scene.job, "Normal", "A", "b")
        await asyncio.sleep(1)
    (event,) = scene.events()
    assert event["metadata"]["name"].rpartition(".")[0] == "n" * 228


async def test_an_event_that_ends_with_its_namespace_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.api.put(NAMESPACES, {"metadata": {"name": "team", "deletionTimestamp": "2026-11-23T00:00:00Z"}})
    async with scene.running():
        scene.recorder.record(scene.job, "Normal", "A", "lost")
        await asyncio.sleep(5)
    assert (scene.events(), scene.recorder.dropped, scene.recorder.written) == ([], 0, 0)
    assert caplog.records == []


@pytest.mark.fault(97)
async def test_a_failure_is_counted_and_holds_up_nothing() -> None:
    scene = Scene()
    scene.api.faults.fail(on(EVENTS), 403, message="namespace is being terminated")
    async with scene.running():
        scene.recorder.record(scene.job, "Normal", "A", "lost")
        scene.recorder.record(scene.job, "Normal", "B", "kept")
        await asyncio.sleep(5)
    assert [event["reason"] for event in scene.events()] == ["B"]
    assert (scene.recorder.dropped, scene.recorder.written) == (1, 1)


async def test_a_lost_answer_does_not_make_a_second_event() -> None:
    scene = Scene()
    scene.api.faults.lose(verb("create"))
    async with scene.running():
        scene.recorder.record(scene.job, "Normal", "A", "once")
        await asyncio.sleep(30)
    assert len(scene.events()) == 1
    assert scene.recorder.dropped == 0


async def test_an_event_about_a_cluster_scoped_object_lives_in_the_default_namespace() -> None:
    scene = Scene()
    queue = scene.api.put(QUEUES, {"metadata": {"name": "research"}, "spec": {}})
    scene.recorder.record(queue, "Warning", "OverCommitted", "x" * 5000)
    await scene.recorder.flush()
    (event,) = scene.events()
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["involvedObject"]
    assert len(event["message"]) == 1024


async def test_an_event_that_expired_is_made_again_when_it_repeats() -> None:
    scene = Scene(EventSettings(window=7200))
    async with scene.running():
        scene.recorder.record(scene.job, "Normal", "A", "again")
        await asyncio.sleep(3600)
        for event in scene.events():
            scene.api.remove(EVENTS, "team", event["metadata"]["name"])
        scene.recorder.record(scene.job, "Normal", "A", "again")
        await asyncio.sleep(5)
    (event,) = scene.events()
    assert event["count"] == 2
