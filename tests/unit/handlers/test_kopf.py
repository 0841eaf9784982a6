"""kopf only watches: event handlers, no finalizer, nothing written, no peering."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import aiohttp
import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kopf._cogs.structs.bodies import RawBody
from yarl import URL

from trainyard.handlers.kinds import register
from trainyard.handlers.session import CountedLogin, named
from trainyard.handlers.settings import NoDiffBase, NoMemories, NoProgress, settings
from trainyard.workloads.caches import OURS


def registry_of(taken: list[Any]) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    register(registry, {each.plural: lambda *event: taken.append(event) for each in OURS.values()})
    return registry


def test_there_is_one_event_handler_for_each_kind_and_nothing_else() -> None:
    registry = registry_of([])
    assert len(registry._watching._handlers) == len(OURS)
    assert not registry._changing._handlers
    assert not registry._spawning._handlers
    assert not registry._indexing._handlers
    assert not registry._webhooks._handlers


async def test_an_event_reaches_its_taker_as_a_copy_without_its_bookkeeping() -> None:
    taken: list[Any] = []
    handler: Any = registry_of(taken)._watching._handlers[0]
    obj: dict[str, Any] = {"metadata": {"name": "a", "managedFields": [{"manager": "kubectl"}]}}
    await handler.fn(event={"type": "ADDED", "object": obj})
    kind, seen = taken[0]
    assert (kind, seen) == ("ADDED", {"metadata": {"name": "a"}})
    seen["metadata"]["name"] = "b"
    assert obj["metadata"] == {"name": "a", "managedFields": [{"manager": "kubectl"}]}


async def test_kopf_remembers_no_object() -> None:
    memories, body = NoMemories(), RawBody(metadata={"name": "a", "uid": "u"})
    await memories.recall(body)
    assert list(memories.iter_all_memories()) == []


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/apis/trainyard.dev/v1alpha1/trainingjobs?watch=true", ("watch", "trainingjobs.trainyard.dev")),
        ("GET", "/apis/trainyard.dev/v1alpha1/trainingjobs", ("list", "trainingjobs.trainyard.dev")),
        ("GET", "/apis/trainyard.dev/v1alpha1/namespaces/a/trainingjobs/b", ("get", "trainingjobs.trainyard.dev")),
        ("PATCH", "/api/v1/namespaces/a/pods/b", ("patch", "pods")),
        ("GET", "/api/v1/namespaces/a", ("get", "namespaces")),
        ("GET", "/apis/trainyard.dev/v1alpha1", ("get", "discovery")),
        ("GET", "/api", ("get", "discovery")),
        ("GET", "/", ("get", "discovery")),
    ],
)
def test_a_request_of_kopf_is_named_as_rbac_names_it(method: str, path: str, expected: tuple[str, str]) -> None:
    assert named(method, URL(f"https://api:6443{path}")) == expected


async def test_requests_of_kopf_are_counted_with_their_status_or_none() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({}, status=403 if request.path.endswith("queues") else 200)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    counted: list[tuple[str, str, int]] = []
    async with TestServer(app) as server:
        info = kopf.ConnectionInfo(server=f"http://127.0.0.1:{server.port}")
        login = CountedLogin(lambda **_: info, lambda verb, name, code, *_: counted.append((verb, name, code)))
        found = await login.session()
        assert found is not None
        base = f"{found.server}/apis/trainyard.dev/v1alpha1"
        for name in ("trainingjobs", "queues"):
            async with found.aiohttp_session.get(f"{base}/{name}") as response:
                await response.read()
    with pytest.raises(aiohttp.ClientError):
        await found.aiohttp_session.get(f"{base}/flavors")
    assert counted == [
        ("list", "trainingjobs.trainyard.dev", 200),
        ("list", "queues.trainyard.dev", 403),
        ("list", "flavors.trainyard.dev", 0),
    ]
    await found.aiohttp_session.close()


async def test_credentials_that_the_api_server_refused_are_not_taken_again_and_new_ones_are() -> None:
    """kopf compares what a login brings with what was refused."""
    infos = [kopf.ConnectionInfo(server="http://api", token=token) for token in ("old", "old", "new")]
    login = CountedLogin(lambda **_: infos.pop(0), lambda *_: None)
    first, same, other = [await login.session() for _ in range(3)]
    assert first == same
    assert first != other
    for each in (first, other):
        assert each is not None
        await each.aiohttp_session.close()


@pytest.mark.fault(31)
def test_the_settings_write_nothing() -> None:
    chosen = settings()
    assert chosen.peering.standalone
    assert chosen.scanning.disabled
    assert not chosen.posting.enabled
    assert chosen.networking.request_timeout
    base: Any = chosen.persistence.diffbase_storage
    progress: Any = chosen.persistence.progress_storage
    assert isinstance(chosen.persistence.diffbase_storage, NoDiffBase)
    assert isinstance(chosen.persistence.progress_storage, NoProgress)
    assert base.build(body={}) == {}
    assert base.fetch(body={}) is None
    assert base.store(body={}) is None
    assert progress.fetch(key="k") is None
    assert (progress.store(), progress.purge(), progress.touch()) == (None, None, None)
    assert progress.clear(essence={"a": 1}) == {"a": 1}


def test_no_request_is_given_up_however_long_it_is_refused() -> None:
    backoffs = settings().networking.error_backoffs
    assert isinstance(backoffs, Iterable)
    for _ in range(2):  # each request begins anew
        delays = list(islice(backoffs, 1000))
        assert len(delays) == 1000
        assert (delays[0], max(delays)) == (1, 30)
