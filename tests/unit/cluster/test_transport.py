"""The wire: deadlines, silence, odd answers, and tokens that change. Real sockets on this machine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from trainyard.cluster.errors import Forbidden, Gone, NoClusterError, Silent, Unreachable
from trainyard.cluster.transport import MERGE_PATCH, KubeTransport

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler, configuration: Configuration | None = None) -> AsyncIterator[KubeTransport]:
    """A transport to a server that answers everything by the handler."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = configuration or Configuration()
    configuration.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    transport = KubeTransport(configuration)
    try:
        yield transport
    finally:
        await transport.close()
        await runner.cleanup()


async def test_a_request_says_all_that_was_asked() -> None:
    asked: dict[str, Any] = {}

    async def handler(request: web.Request) -> web.Response:
        asked.update(
            method=request.method,
            path=request.rel_url.raw_path,
            query=dict(request.query),
            type=request.headers["Content-Type"],
            body=await request.json(),
        )
        return web.json_response({"ok": True}, status=201)

    async with served(handler) as transport:
        query = {"labelSelector": "a in (b, c),d", "timeout": "4s"}
        answer = await transport.request(
            "PATCH", "/api/v1/x/..%2Fy", query, body={"a": None}, content_type=MERGE_PATCH, within=5
        )
    assert asked == {
        "method": "PATCH",
        "path": "/api/v1/x/..%2Fy",
        "query": query,
        "type": MERGE_PATCH,
        "body": {"a": None},
    }
    assert (answer.status, answer.body, answer.sent) == (201, {"ok": True}, len(b'{"a":null}'))


async def test_an_answer_that_does_not_come_in_time_is_unreachable() -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with served(handler) as transport:
        with pytest.raises(Unreachable, match="GET /slow"):
            await transport.request("GET", "/slow", {}, within=0.2)


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:1"
    transport = KubeTransport(configuration)
    with pytest.raises(Unreachable):
        await transport.request("GET", "/", {}, within=5)
    with pytest.raises(Unreachable):
        async for _ in transport.stream("/", {}, 5):
            pass
    await transport.close()


async def test_an_answer_that_is_no_json_becomes_a_message() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="<html>Bad Gateway</html>\n", status=502)

    async with served(handler) as transport:
        answer = await transport.request("GET", "/", {}, within=5)
    assert (answer.status, answer.body) == (502, {"message": "<html>Bad Gateway</html>"})


async def test_a_stream_is_cut_into_events_wherever_the_network_cuts_it() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        large = "x" * 5_000_000
        for piece in (b'{"n":1}\n{"n"', b":2}\n\n", f'{{"n":"{large}"}}\n'.encode(), b'{"n":4}\n'):
            await response.write(piece)
            await asyncio.sleep(0.01)
        return response

    async with served(handler) as transport:
        events = [event async for event in transport.stream("/", {}, 5)]
    assert [event["n"] if event["n"] in {1, 2, 4} else len(event["n"]) for event in events] == [1, 2, 5_000_000, 4]


async def drain(events: AsyncIterator[dict[str, Any]], seen: list[int]) -> None:
    """Note what came, up to an error."""
    async for event in events:
        seen.append(event["n"])  # noqa: PERF401 - a comprehension would lose what came before the error


async def test_a_silent_stream_is_noticed_and_a_broken_one_too() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"n":1}\n')
        if request.path == "/broken" and request.transport is not None:
            request.transport.abort()
        await asyncio.sleep(60)
        return response

    async with served(handler) as transport:
        seen: list[int] = []
        with pytest.raises(Silent, match=r"no sign of life for 0\.3 s"):
            await drain(transport.stream("/silent", {}, 0.3), seen)
        assert seen == [1]
        with pytest.raises(Unreachable):
            async for _ in transport.stream("/broken", {}, 5):
                pass


@pytest.mark.parametrize(("status", "kind"), [(403, Forbidden), (410, Gone)])
async def test_a_refused_watch_raises_what_the_server_says(status: int, kind: type[Exception]) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"message": "because"}, status=status)

    async with served(handler) as transport:
        with pytest.raises(kind, match="because"):
            async for _ in transport.stream("/", {}, 5):
                pass


@pytest.mark.fault(98)
async def test_a_service_accounts_token_is_read_again_after_the_kubelet_replaced_it(tmp_path: Path) -> None:
    token, ca = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    ca.write_text("not used over http")
    loader = InClusterConfigLoader(
        str(token), str(ca), environ={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    )
    configuration = Configuration()
    loader.load_and_set(configuration)
    headers: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        headers.append(request.headers["Authorization"])
        return web.json_response({})

    configuration.ssl_ca_cert = None
    async with served(handler, configuration) as transport:
        # The hook sets the address and the certificate as well; over plain HTTP neither is used here.
        hook = configuration.refresh_api_key_hook

        def refresh(given: Configuration) -> None:
            hook(given)
            given.ssl_ca_cert = None

        configuration.refresh_api_key_hook = refresh
        await transport.request("GET", "/", {}, within=5)
        token.write_text("second")
        loader.token_expires_at = loader.token_expires_at.replace(year=2000)
        await transport.request("GET", "/", {}, within=5)
    assert headers == ["bearer first", "bearer second"]


async def test_a_kubeconfig_that_does_not_exist_is_named() -> None:
    with pytest.raises(NoClusterError, match="/nowhere/config does not exist"):
        await KubeTransport.connect("/nowhere/config")


async def test_any_number_of_watches_leaves_room_for_a_request() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"ok": True})
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type": "ADDED"}\n')
        await asyncio.sleep(600)
        return response

    async with served(handler) as transport:
        watches = [transport.stream("/api/v1/pods", {"watch": "1"}, 600) for _ in range(150)]
        assert {(await anext(each))["type"] for each in watches} == {"ADDED"}
        answer = await transport.request("GET", "/api/v1/pods", {}, within=20)
        assert answer.body == {"ok": True}
        for each in watches:
            await each.aclose()
