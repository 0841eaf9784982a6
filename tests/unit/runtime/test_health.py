"""The health port says what is wrong, by name."""

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.hand_clock import HandClock
from trainyard.runtime.health import HealthServer, Heartbeat


async def get(port: int, path: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.json()


async def test_liveness_fails_when_a_heartbeat_is_stale_and_recovers_with_it() -> None:
    clock = HandClock()
    server = HealthServer("127.0.0.1", 0)
    beat = server.watch(Heartbeat("scheduler", 30, clock))
    server.watch(Heartbeat("workers", 300, clock))
    port = await server.start()
    try:
        assert (await get(port, "/healthz"))[0] == 200
        clock.seconds = 31
        status, body = await get(port, "/healthz")
        assert status == 503
        assert body == {
            "ok": False,
            "checks": {"scheduler": "no sign of life for 31.0 s, at most 30 s are expected", "workers": "ok"},
        }
        beat.beat()
        assert (await get(port, "/healthz"))[0] == 200
    finally:
        await server.stop()


async def test_readiness_names_each_check_and_survives_a_broken_one() -> None:
    server = HealthServer("127.0.0.1", 0)
    port = await server.start()
    try:
        server.require("cache", lambda: None)
        assert (await get(port, "/readyz"))[0] == 200
        server.require("lease", lambda: "waiting for the Lease, held by pod-b")
        server.require("broken", lambda: str(1 / 0))
        status, body = await get(port, "/readyz")
    finally:
        await server.stop()
    assert status == 503
    checks = body["checks"]
    assert isinstance(checks, dict)
    assert checks["cache"] == "ok"
    assert checks["lease"] == "waiting for the Lease, held by pod-b"
    assert "ZeroDivisionError" in checks["broken"]


async def test_what_is_only_mentioned_does_not_decide() -> None:
    server = HealthServer("127.0.0.1", 0)
    port = await server.start()
    try:
        server.mention("unseen", lambda: "namespace a: gone")
        status, body = await get(port, "/readyz")
    finally:
        await server.stop()
    assert (status, body) == (200, {"ok": True, "checks": {"unseen": "namespace a: gone"}})


async def test_metrics_are_whatever_handler_was_given() -> None:
    async def metrics(_: web.Request) -> web.StreamResponse:
        return web.json_response({"trainyard_up": 1})

    server = HealthServer("127.0.0.1", 0, metrics)
    port = await server.start()
    try:
        assert await get(port, "/metrics") == (200, {"trainyard_up": 1})
    finally:
        await server.stop()


async def test_it_tells_and_takes_nothing() -> None:
    server = HealthServer("127.0.0.1", 0)
    async with TestClient(TestServer(server.app())) as http:
        for path in ("/healthz", "/readyz"):
            async with http.post(path, json={}) as answer:
                assert answer.status == 405
        async with http.get("/v1/why/team/a") as answer:
            assert answer.status == 404
