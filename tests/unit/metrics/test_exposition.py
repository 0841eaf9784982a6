"""Who asks for /metrics in a strange way, or reads slowly, holds nobody up; and what a large cluster costs is bounded."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from random import Random

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import parser as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_families

from tests.unit.metrics.scripted_world import collector_of, full_registry, node, queue, running_job, used_metrics
from trainyard.metrics.definitions import JOB_METRIC
from trainyard.metrics.exposition import PLACES, metrics_handler
from trainyard.metrics.sample import Rows
from trainyard.runtime.clock import SystemClock
from trainyard.runtime.health import HealthServer
from trainyard.runtime.work_queue import NEVER, Again, WorkQueue
from trainyard.workloads.world import World

JOBS, QUEUES, NODES = 1000, 100, 200
PATIENCE = 60.0
SIZE = 20_000_000
"""Bytes, more than the buffers between the two ends of a connection take."""
GET = b"GET /metrics HTTP/1.1\r\nHost: operator\r\n\r\n"


def large() -> CollectorRegistry:
    """With an answer of that size."""
    registry = CollectorRegistry()
    counter = Counter("large", "Long series.", ["number"], registry=registry)
    for number in range(SIZE // 5000):
        counter.labels(f"{number:05000}")
    return registry


@asynccontextmanager
async def serving(registry: CollectorRegistry, read_seconds: float = PATIENCE) -> AsyncIterator[int]:
    """The port."""
    server = HealthServer("127.0.0.1", 0, metrics_handler(registry, read_seconds))
    try:
        yield await server.start()
    finally:
        await server.stop()


async def ask(port: int, request: bytes = GET) -> bytes:
    """The status line of the answer, or nothing where the server hung up. The rest is read."""
    return (await whole(port, request)).partition(b"\r\n")[0]


async def whole(port: int, request: bytes = GET) -> bytes:
    """The answer with its head."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def reconciles() -> None:
    """Returns when a key was worked on."""
    seen, stop = asyncio.Event(), asyncio.Event()

    async def reconcile(_key: str) -> Again:
        seen.set()
        return NEVER

    work: WorkQueue[str] = WorkQueue("objects", SystemClock(), Random(1))
    task = asyncio.create_task(work.run(reconcile, workers=1, stop=stop))
    work.add("a")
    async with asyncio.timeout(PATIENCE):
        await seen.wait()
    stop.set()
    await task


async def reads_slowly(port: int, until: AsyncExitStack) -> asyncio.StreamReader:
    """Asks, and reads no more than the status line. Its own buffer is small: the answer lies with the server."""
    ours = socket.socket()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ours.setblocking(False)
    await asyncio.get_running_loop().sock_connect(ours, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=ours, limit=1024)

    async def leave() -> None:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()

    until.push_async_callback(leave)
    writer.write(GET)
    async with asyncio.timeout(PATIENCE):
        assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
    return reader


@pytest.mark.fault(92)
async def test_slow_readers_hold_up_neither_work_nor_others_until_all_places_are_taken() -> None:
    async with serving(large()) as port, AsyncExitStack() as stack:
        for _ in range(PLACES - 1):
            await reads_slowly(port, stack)
        await reconciles()
        assert await ask(port) == b"HTTP/1.1 200 OK"
        await reads_slowly(port, stack)
        await reconciles()
        assert await ask(port) == b"HTTP/1.1 503 Service Unavailable"


@pytest.mark.fault(92)
async def test_who_has_not_read_the_answer_in_time_is_hung_up_on_and_gives_back_the_place() -> None:
    async with serving(large(), read_seconds=0.2) as port, AsyncExitStack() as stack:
        slow = [await reads_slowly(port, stack) for _ in range(PLACES)]
        async with asyncio.timeout(PATIENCE):
            while await ask(port) != b"HTTP/1.1 200 OK":  # noqa: ASYNC110  what is waited for is on the other side
                await asyncio.sleep(0.05)
            for each in slow:
                assert len(await _rest(each)) < SIZE, "not all of it"


async def _rest(reader: asyncio.StreamReader) -> bytes:
    with suppress(ConnectionError):
        return await reader.read()
    return b""


@pytest.mark.fault(92)
@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a" * 100_000,
        b"[::1",
        b"a\x00b",
        b"..",
        b"operator:99999",
        "ü".encode(),
        b"a\r\nHost: b",
        b"%00",
        b"a/b?c#d@e",
    ],
    ids=["empty", "long", "half an address", "zero", "dots", "port", "letters", "two", "quoted", "path"],
)
async def test_a_hostile_host_is_answered_or_refused_and_the_next_caller_is_served(host: bytes) -> None:
    registry = CollectorRegistry()
    used_metrics(registry)
    async with serving(registry) as port:
        status = await ask(port, b"GET /metrics HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        assert status[:12] in (b"HTTP/1.1 200", b"HTTP/1.1 400", b"HTTP/1.0 400", b"HTTP/1.1 431")
        await reconciles()
        assert await ask(port) == b"HTTP/1.1 200 OK"


async def test_a_large_cluster_costs_seconds_and_megabytes_at_most() -> None:
    """Of CPU time, so that a busy machine does not fail it: it takes 0.6 s and 4 MB."""
    world, registry = World(), CollectorRegistry()
    for number in range(QUEUES):
        world.observe("Queue", None, queue(f"queue-{number}"))
    for number in range(NODES):
        world.observe("Node", None, node(f"node-{number}", 8))
    for number in range(JOBS):
        job = running_job()
        job["metadata"] |= {"name": f"job-{number}", "uid": f"uid-{number}"}
        job["spec"]["queue"] = f"queue-{number % QUEUES}"
        world.observe("TrainingJob", None, job)
    metrics = used_metrics(registry)
    for number in range(QUEUES):
        metrics.has_queue(f"queue-{number}")
    collector = collector_of(world)
    registry.register(collector)
    before = time.process_time()
    collector._look()
    assert time.process_time() - before < 0.5, "this part holds the event loop"
    async with serving(registry) as port:
        page = await whole(port)
    spent = time.process_time() - before
    assert spent < 6
    assert len(page) < 12e6


@pytest.mark.parametrize("accept", ["application/openmetrics-text;version=1.0.0", "text/plain;version=0.0.4"])
async def test_an_answer_says_what_the_librarys_encoder_says_of_the_registry(accept: str) -> None:
    registry = full_registry()
    encode, content_type = choose_encoder(accept)
    server = HealthServer("127.0.0.1", 0, metrics_handler(registry))
    async with TestClient(TestServer(server.app())) as client:
        answer = await client.get("/metrics", headers={"Accept": accept})
        found, expected = await answer.text(), encode(registry).decode()
    read = open_metrics.text_string_to_metric_families if "openmetrics" in content_type else plain_families
    assert _known(read(found)) == _known(read(expected))


def _known(families: Iterable[Family]) -> dict[object, float]:
    """Values by all that tells one from another; what the process itself says changes from one look to the next."""
    return {
        (family.name, family.type, family.documentation, each.name, frozenset(each.labels.items())): each.value
        for family in families
        for each in family.samples
        if not family.name.endswith("_created") and not each.name.endswith("_created")
    }


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.lists(st.tuples(st.tuples(_TEXTS, _TEXTS, _TEXTS), st.floats(allow_nan=False)), max_size=5))
def test_rows_are_read_back_as_they_were_written(values: list[tuple[tuple[str, str, str], float]]) -> None:
    rows = Rows(JOB_METRIC)
    for labels, value in values:
        rows.add(labels, value)
    found = [sample for family in plain_families(rows.text()) for sample in family.samples]
    assert [(each.name, each.labels, each.value) for each in found] == [
        (each.name, each.labels, each.value) for each in rows
    ]
