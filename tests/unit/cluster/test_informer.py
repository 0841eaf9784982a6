"""The informer stays true to the server through gaps, silence and disorder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random

import pytest

from tests.simulation.fake_api import FakeApi
from tests.simulation.fake_faults import Fault, Request, on, verb
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.informer import ExternalCache, Informer
from trainyard.cluster.resources import NAMESPACES, PODS, TRAINING_JOBS, Object
from trainyard.cluster.sender import ClientSettings
from trainyard.cluster.sight import Sight
from trainyard.cluster.store import key_of
from trainyard.runtime.clock import LoopClock

pytestmark = pytest.mark.looptime

CLOCK = LoopClock(datetime(2026, 11, 23, tzinfo=UTC))


def pod(name: str, **labels: str) -> Object:
    metadata = {"name": name, "namespace": "team", "labels": labels, "managedFields": [{"manager": "x"}]}
    return {"metadata": metadata, "spec": {"containers": []}, "status": {"phase": "Pending"}}


class Scene:
    """A server with three Pods and an informer that follows them."""

    def __init__(self, **options: str) -> None:
        self.api = FakeApi(CLOCK)
        for name in "abc":
            self.api.put(PODS, pod(name, app="x"))
        self.informer = Informer(ClusterClient(self.api.connect(), CLOCK, Random(1)), PODS, CLOCK, Random(1), **options)  # type: ignore[arg-type]
        self.changes: list[tuple[str, str]] = []
        self.informer.on_change(self.note)

    def note(self, old: Object | None, new: Object | None) -> None:
        what = "added" if old is None else "gone" if new is None else "changed"
        self.changes.append((what, key_of(new or old or {})[1]))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.informer.run())
        await self.informer.synced.wait()
        await asyncio.sleep(1)
        self.changes.clear()
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def label(self, name: str, value: str) -> None:
        self.api.edit(PODS, "team", name, lambda obj: obj["metadata"]["labels"].update(app=value))

    def true_to_server(self) -> bool:
        world = {key_of(obj): obj["metadata"]["resourceVersion"] for obj in self.api.all(PODS)}
        return {key: obj["metadata"]["resourceVersion"] for key, obj in self.informer.store.items()} == world

    def asked(self, name: str) -> int:
        return sum(request.verb == name for request in self.api.requests)


async def test_changes_arrive_as_they_happen() -> None:
    scene = Scene()
    async with scene.running():
        scene.api.put(PODS, pod("d"))
        scene.label("a", "y")
        scene.api.remove(PODS, "team", "b")
        await asyncio.sleep(1)
        assert scene.changes == [("added", "d"), ("changed", "a"), ("gone", "b")]
        assert scene.true_to_server()
        assert "managedFields" not in scene.informer.store["team", "a"]["metadata"]


@pytest.mark.fault(8)
async def test_a_deletion_during_a_gap_is_noticed_when_the_place_was_lost() -> None:
    scene = Scene()
    async with scene.running():
        scene.api.faults.hang(verb("watch"), times=1)
        scene.api.faults.break_watches()
        await asyncio.sleep(1)
        scene.api.remove(PODS, "team", "b")
        scene.label("c", "y")
        scene.api.put(PODS, pod("d"))
        scene.api.storage.compact()
        await asyncio.sleep(120)
        assert sorted(scene.changes) == [("added", "d"), ("changed", "c"), ("gone", "b")]
        assert scene.true_to_server()
        assert scene.informer.relists == 2
        assert scene.informer.repaired == 3


@pytest.mark.fault(8)
async def test_an_error_in_the_stream_that_says_gone_leads_to_a_new_list() -> None:
    scene = Scene()
    async with scene.running():
        scene.api.faults.compact()
        await asyncio.sleep(5)
        assert scene.informer.relists == 2
        scene.label("a", "y")
        await asyncio.sleep(1)
        assert scene.changes == [("changed", "a")]


@pytest.mark.fault(9)
async def test_a_half_open_watch_is_noticed_by_its_silence() -> None:
    scene = Scene()
    async with scene.running():
        scene.api.faults.silence_watches()
        scene.api.remove(PODS, "team", "b")
        await asyncio.sleep(60)
        assert scene.changes == []
        await asyncio.sleep(30)
        assert scene.changes == [("gone", "b")]
        assert scene.informer.relists == 1, "the watch goes on from where it was, without a list"


async def test_bookmarks_keep_a_quiet_watch_alive_and_its_place_fresh() -> None:
    scene = Scene()
    async with scene.running():
        await asyncio.sleep(3600)
        assert scene.asked("list") == 1
        assert CLOCK.monotonic() - scene.informer.last_activity <= 61


async def test_a_watch_that_the_server_ends_is_taken_up_where_it_was() -> None:
    scene = Scene()
    async with scene.running():
        for number in range(5):
            scene.api.faults.break_watches()
            scene.label("a", str(number))
            await asyncio.sleep(1)
        assert scene.changes == [("changed", "a")] * 5
        assert scene.asked("list") == 1


async def test_an_unreachable_server_is_waited_for() -> None:
    scene = Scene()
    async with scene.running():
        scene.api.faults.fail(on(PODS), 503, times=20)
        scene.api.faults.break_watches()
        scene.label("a", "y")
        await asyncio.sleep(600)
        assert scene.true_to_server()
        assert scene.asked("watch") < 40, "no tight loop"


@pytest.mark.fault(11)
async def test_repeated_and_reordered_events_change_nothing_twice() -> None:
    scene = Scene()
    async with scene.running():
        scene.api.faults.repeat_events(3)
        scene.label("a", "y")
        scene.api.remove(PODS, "team", "c")
        await asyncio.sleep(1)
        assert scene.changes == [("changed", "a"), ("gone", "c")]
        scene.api.faults.reorder_events()
        scene.label("b", "1")
        scene.api.remove(PODS, "team", "b")
        await asyncio.sleep(2)
        assert scene.true_to_server()


@pytest.mark.fault(10)
async def test_dropped_events_are_repaired_by_a_list_on_demand() -> None:
    scene = Scene()
    async with scene.running():
        scene.api.faults.drop_events(lambda kind, obj: obj["metadata"].get("name") == "b")
        scene.api.remove(PODS, "team", "b")
        scene.label("a", "y")
        await asyncio.sleep(1)
        assert scene.changes == [("changed", "a")]
        await scene.informer.relist()
        assert scene.changes == [("changed", "a"), ("gone", "b")]
        assert scene.informer.repaired == 1


async def test_what_an_expired_list_had_and_the_next_has_not_is_gone() -> None:
    """Of a list that is read once more from its start only the second reading counts."""
    api = FakeApi(CLOCK)
    for name in "abc":
        api.put(TRAINING_JOBS, {"metadata": {"name": name, "namespace": "team"}, "spec": {}})
    cache = ExternalCache(TRAINING_JOBS, CLOCK)
    client = ClusterClient(api.connect(), CLOCK, Random(1), ClientSettings(page=1))
    await cache.repair(client)

    def expires(request: Request) -> bool:
        if "continue" not in request.query:
            return False
        api.remove(TRAINING_JOBS, "team", "a")
        return True

    api.faults.add(Fault(expires, "fail", status=410, reason="Expired"))
    await cache.repair(client)
    assert [key[1] for key in cache.store] == ["b", "c"]


async def test_only_what_the_selector_asks_for_is_kept() -> None:
    scene = Scene(label_selector="app=x")
    async with scene.running():
        scene.label("a", "y")
        await asyncio.sleep(1)
        assert scene.changes == [("gone", "a")]
        scene.label("a", "x")
        await asyncio.sleep(1)
        assert scene.changes == [("gone", "a"), ("added", "a")]


async def test_a_cache_fed_from_outside_is_repaired_by_a_list() -> None:
    api = FakeApi(CLOCK)
    client = ClusterClient(api.connect(), CLOCK, Random(1))
    cache = ExternalCache(TRAINING_JOBS, CLOCK)
    first = api.put(TRAINING_JOBS, {"metadata": {"name": "j", "namespace": "team"}, "spec": {}})
    ghost = api.put(TRAINING_JOBS, {"metadata": {"name": "ghost", "namespace": "team"}, "spec": {}})
    assert cache.observe(None, first)
    cache.observe("ADDED", ghost)
    assert not cache.synced.is_set()
    api.remove(TRAINING_JOBS, "team", "ghost")
    written = await client.patch_status(TRAINING_JOBS, "team", "j", {"phase": "Running"})
    assert cache.observe("MODIFIED", written)
    assert not cache.observe("MODIFIED", first), "what kopf saw before the write is older"
    gone: list[str] = []
    cache.on_change(lambda old, new: gone.append(old["metadata"]["name"]) if old and not new else None)
    await cache.repair(client)
    assert gone == ["ghost"]
    assert cache.synced.is_set()
    assert [key[1] for key in cache.store] == ["j"]
    job = cache.get("team", "j")
    assert job is not None
    assert job["status"] == {"phase": "Running"}


def pod_in(namespace: str, name: str) -> Object:
    made = pod(name)
    made["metadata"]["namespace"] = namespace
    return made


@asynccontextmanager
async def following(informer: Informer) -> AsyncIterator[None]:
    task = asyncio.create_task(informer.run())
    await informer.synced.wait()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def refused(namespace: str) -> Fault:
    return Fault(
        lambda request: request.namespace == namespace and request.verb in ("list", "watch"),
        "fail",
        times=None,
        status=403,
        reason="Forbidden",
    )


async def test_a_store_of_some_namespaces_is_filled_by_a_list_and_a_watch_of_each() -> None:
    api, sight = FakeApi(CLOCK), Sight(("a", "b"), ("pods",))
    for namespace in "abc":
        api.put(PODS, pod_in(namespace, "first"))
    informer = Informer(ClusterClient(api.connect(), CLOCK, Random(1)), PODS, CLOCK, Random(1), sight=sight)
    async with following(informer):
        for namespace in "abc":
            api.put(PODS, pod_in(namespace, "second"))
        api.remove(PODS, "b", "first")
        await asyncio.sleep(1)
        assert set(informer.store) == {("a", "first"), ("a", "second"), ("b", "second")}
        assert {request.namespace for request in api.requests} == {"a", "b"}
        await informer.relist()
        assert informer.repaired == 0


async def test_a_namespace_that_is_refused_is_tried_again_and_holds_up_no_other() -> None:
    api, sight = FakeApi(CLOCK), Sight(("a", "b"), ("pods",))
    for namespace in "ab":
        api.put(PODS, pod_in(namespace, "first"))
    fault = api.faults.add(refused("b"))
    informer = Informer(ClusterClient(api.connect(), CLOCK, Random(1)), PODS, CLOCK, Random(1), sight=sight)
    async with following(informer):
        assert set(informer.store) == {("a", "first")}
        assert (sight.whole("a"), sight.whole("b")) == (True, False)
        await informer.relist()
        api.faults.script.remove(fault)
        await asyncio.sleep(35)
        assert set(informer.store) == {("a", "first"), ("b", "first")}
        assert sight.whole("b")


async def test_where_a_list_is_allowed_and_a_watch_is_not_nobody_asks_in_a_tight_loop() -> None:
    api, sight = FakeApi(CLOCK), Sight(("a",), ("pods",))
    api.faults.add(Fault(verb("watch"), "fail", times=None, status=403, reason="Forbidden"))
    informer = Informer(ClusterClient(api.connect(), CLOCK, Random(1)), PODS, CLOCK, Random(1), sight=sight)
    async with following(informer):
        await asyncio.sleep(60)
        assert len(api.requests) < 30
        assert not sight.whole("a")


async def test_a_token_that_is_refused_is_no_refusal_of_a_namespace() -> None:
    api, sight = FakeApi(CLOCK), Sight(("a",), ("pods",))
    api.faults.fail(verb("list"), 401, times=2, reason="Unauthorized")
    informer = Informer(ClusterClient(api.connect(), CLOCK, Random(1)), PODS, CLOCK, Random(1), sight=sight)
    async with following(informer):
        assert sight.whole("a"), "it was waited for"


async def test_namespaces_themselves_are_asked_for_by_name() -> None:
    api, sight = FakeApi(CLOCK), Sight(("a", "b"))
    for name in "abc":
        api.put(NAMESPACES, {"metadata": {"name": name}})
    informer = Informer(ClusterClient(api.connect(), CLOCK, Random(1)), NAMESPACES, CLOCK, Random(1), sight=sight)
    async with following(informer):
        assert {name for _, name in informer.store} == {"a", "b"}
        api.remove(NAMESPACES, None, "b")
        await asyncio.sleep(1)
        assert {name for _, name in informer.store} == {"a"}


async def test_a_cache_fed_from_outside_takes_nothing_of_a_namespace_that_is_not_seen_whole() -> None:
    api, sight = FakeApi(CLOCK), Sight(("a", "b"), ("pods",))
    client = ClusterClient(api.connect(), CLOCK, Random(1))
    cache = ExternalCache(TRAINING_JOBS, CLOCK, sight=sight)
    jobs = [api.put(TRAINING_JOBS, {"metadata": {"name": "j", "namespace": each}, "spec": {}}) for each in "ab"]
    sight.read("pods", "a")
    assert [cache.observe("ADDED", each) for each in jobs] == [True, False]
    await cache.repair(client)
    assert set(cache.store) == {("a", "j")}
    sight.read("pods", "b")
    await cache.take_in(client, "b")
    assert set(cache.store) == {("a", "j"), ("b", "j")}


async def test_a_namespace_that_is_not_seen_does_not_make_a_cache_look_silent() -> None:
    api, sight = FakeApi(CLOCK), Sight(("a", "b"), ("pods",))
    cache = ExternalCache(TRAINING_JOBS, CLOCK, sight=sight)
    sight.read("pods", "a")
    await asyncio.sleep(700)
    await cache.repair(ClusterClient(api.connect(), CLOCK, Random(1)))
    assert CLOCK.monotonic() - cache.last_activity < 1
    await asyncio.sleep(700)
    assert CLOCK.monotonic() - cache.last_activity >= 700, "of what is seen"
