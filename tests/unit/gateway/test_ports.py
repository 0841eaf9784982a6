"""The gateway's ports for kubelet and Prometheus tell how it does and take no orders."""

from pathlib import Path

import aiohttp
from gateway.config import Settings
from gateway.endpoint import Endpoint
from gateway.runtime import Runtime
from gateway.sidecar import Sidecar

from tests.unit.gateway.rig import haproxy, needs_haproxy


@needs_haproxy
async def test_haproxys_metrics_port_tells_and_takes_nothing() -> None:
    async with haproxy() as running:
        base = f"http://{running.settings.metrics_bind}"
        async with running.session.get(f"{base}/metrics") as answer:
            assert "haproxy_process" in await answer.text()
        for path in ("/", "/stats", "/admin", "/v2/models/digits/infer"):
            async with running.session.post(f"{base}{path}", data=b"x") as answer:
                assert answer.status == 404


async def test_the_sidecars_port_tells_and_takes_nothing(tmp_path: Path) -> None:
    settings = Settings("digits", "u", folder=tmp_path, endpoint_host="127.0.0.1", endpoint_port=0)
    endpoint = Endpoint(settings, Sidecar(settings, Runtime(settings)))
    runner = await endpoint.start()
    base = f"http://127.0.0.1:{endpoint.port}"
    try:
        async with aiohttp.ClientSession() as session:
            for path, status in (("/readyz", 503), ("/healthz", 200), ("/metrics", 200), ("/members", 404)):
                async with session.get(f"{base}{path}") as answer:
                    assert answer.status == status
                async with session.post(f"{base}{path}", json={}) as answer:
                    assert answer.status in (404, 405)
    finally:
        await runner.cleanup()
