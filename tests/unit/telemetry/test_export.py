"""The exporter with a collector that is there, refuses, is away or hangs."""

import asyncio
import logging
import socket
import time
from collections.abc import Iterator

import pytest
from telemetry import export
from telemetry.export import Exporter, NowAndThen
from telemetry.span import Ids, Span

from dev.ports import HeldPort
from tests.collector import Collector, collector
from tests.unit.gateway.rig import until

A_SPAN = Span("infer", Ids(7, 8), 1_000, 2_000, 9, attributes={"n": 1, "s": "t", "b": True}, links=(Ids(1, 2),))

LONG = 120.0
"""Whoever waits for a collector does for so many seconds. On busy cores a thread is not let run for several."""


@pytest.fixture
def hanging() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


async def sent(found: Collector, count: int = 1) -> None:
    exporter = Exporter(found.endpoint, "digits", {"service.namespace": "team", "service.instance.id": ""})
    for _ in range(count):
        exporter.send(A_SPAN)
    await asyncio.to_thread(exporter.close)


async def test_a_span_arrives_as_it_is() -> None:
    async with collector() as found:
        await sent(found)
        (seen,) = found.spans
    assert (seen.service, seen.name, seen.trace, seen.span, seen.parent) == (
        "digits",
        "infer",
        f"{7:032x}",
        f"{8:016x}",
        f"{9:016x}",
    )
    assert (seen.began_ns, seen.ended_ns, seen.links) == (1_000, 2_000, (f"{2:016x}",))
    assert (seen.attributes, seen.server, seen.failed) == ({"n": 1, "s": "t", "b": True}, False, False)


async def test_all_that_is_queued_arrives_at_the_end() -> None:
    async with collector() as found:
        await sent(found, 1500)
        assert len(found.spans) == 1500


@pytest.mark.fault(93)
async def test_a_collector_that_refuses_or_is_away_costs_the_spans_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector() as found:
        found.status = 400
        await sent(found, 1200)
        assert found.spans == []
    monkeypatch.setattr(export, "_SEND_SECONDS", LONG)
    started = time.monotonic()
    nobody = HeldPort()
    exporter = Exporter(f"http://127.0.0.1:{nobody}", "digits", {})
    exporter.send(A_SPAN)
    await asyncio.to_thread(exporter.close)
    assert time.monotonic() - started < LONG / 2, "the end of a process does not wait for a collector"
    exporter._queue.span_exporter.shutdown()


def test_a_collector_that_is_away_is_told_of_once_a_minute() -> None:
    times = iter([0.0, 30.0, 59.0, 61.0, 62.0])
    said = NowAndThen(lambda: next(times))
    record = logging.LogRecord("x", logging.ERROR, "", 0, "away", None, None)
    assert [said.filter(record) for _ in range(5)] == [True, False, False, True, False]


@pytest.mark.fault(93)
async def test_nobody_waits_and_the_queue_is_bounded_while_a_collector_hangs(
    hanging: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_SEND_SECONDS", LONG)
    exporter = Exporter(f"http://127.0.0.1:{hanging}", "digits", {})
    started = time.monotonic()
    for _ in range(3 * export.QUEUE_SPANS):
        exporter.send(A_SPAN)
        assert time.monotonic() - started < LONG / 2
    assert len(exporter._queue._batch_processor._queue) <= export.QUEUE_SPANS
    await asyncio.to_thread(exporter.close)
    assert time.monotonic() - started < LONG / 2
    exporter._queue.span_exporter.shutdown()  # its thread goes on for no other test


async def test_spans_go_on_when_the_collector_is_back() -> None:
    async with collector() as found:
        exporter = Exporter(found.endpoint, "digits", {})
        found.status = 400
        exporter.send(A_SPAN)
        await asyncio.sleep(1.5)
        found.status = 200
        exporter.send(A_SPAN)
        await until(lambda: len(found.spans) == 1, "the second arrives")
        await asyncio.to_thread(exporter.close)
