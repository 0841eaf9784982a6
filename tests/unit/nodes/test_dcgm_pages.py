"""The adapter of DCGM's exporters reads pages of real servers: whole, and whatever becomes of the connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import aiohttp
import pytest
from aiohttp import web

from tests.hand_clock import HandClock
from tests.simulation.fake_api import FakeApi
from tests.simulation.fake_nodes import node
from trainyard.api.names import GPU_ERRORS
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.resources import NODES, PODS
from trainyard.dcgm_adapter import MOST_BYTES, Adapter, Fetch, Settings, fetcher

HOST = "127.0.0.1"
LINE = 'DCGM_FI_DEV_XID_ERRORS{gpu="%d",UUID="GPU-a"} %d\n'
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[tuple[Fetch, int]]:
    """What fetches pages, and the port of a server on all addresses of this machine that answers so."""
    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "0.0.0.0", 0).start()  # 127.0.0.1 and 127.0.0.2
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            yield fetcher(session), runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def in_pieces(request: web.Request) -> web.StreamResponse:
    """Each piece travels alone."""
    response = web.StreamResponse()
    await response.prepare(request)
    for gpu in range(4):
        await response.write((LINE % (gpu, 79)).encode())
        await asyncio.sleep(0.02)
    return response


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """Before it has answered."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def breaks_off(request: web.Request) -> web.StreamResponse:
    """In the middle of its page."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write((LINE % (0, 79)).encode())
    return await hangs_up(request)


async def too_long(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"#" * (MOST_BYTES + 1))


async def test_a_page_that_comes_in_pieces_is_read_to_its_end() -> None:
    async with serving(in_pieces) as (fetch, port):
        assert await fetch(f"http://{HOST}:{port}/metrics") == "".join(LINE % (gpu, 79) for gpu in range(4))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [(hangs_up, OSError, "cannot be read"), (breaks_off, OSError, "cannot be read"), (too_long, ValueError, "bytes")],
)
async def test_a_page_that_is_not_whole_or_too_long_is_none(answer: Answer, kind: type[Exception], words: str) -> None:
    async with serving(answer) as (fetch, port):
        with pytest.raises(kind, match=words):
            await fetch(f"http://{HOST}:{port}/metrics")


async def test_one_exporter_that_hangs_up_does_not_end_the_adapter() -> None:
    code = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.host.startswith("127.0.0.2"):
            return await hangs_up(request)
        return web.Response(text=LINE % (0, code))

    clock = HandClock()
    api = FakeApi(clock)
    for name, address in (("n0", "127.0.0.2"), ("n1", HOST)):
        api.put(NODES, node(name))
        meta = {"name": f"exporter-{name}", "namespace": "gpu-operator", "labels": {"app": "nvidia-dcgm-exporter"}}
        spec = {"nodeName": name, "containers": []}
        api.put(PODS, {"metadata": meta, "spec": spec, "status": {"phase": "Running", "podIP": address}})
    async with serving(answer) as (fetch, port):
        adapter = Adapter(ClusterClient(api.connect("adapter"), clock, Random(0)), fetch, clock, Settings(port=port))
        await adapter.look()
        code = 79
        await adapter.look()
    notes = [(api.get(NODES, None, name) or {})["metadata"].get("annotations", {}) for name in ("n0", "n1")]
    assert [GPU_ERRORS in each for each in notes] == [False, True]
