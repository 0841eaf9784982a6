"""The end of a process that lost its leadership."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from trainyard.config import Config
from trainyard.process import Process
from trainyard.runtime.audit_chain import verify
from trainyard.runtime.audit_gathering import Gathering


class Ended(Exception):  # noqa: N818  says what it is
    """The process is no more."""


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Process:
    def end(_code: int) -> NoReturn:
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    return Process(Config(identity="operator-1", audit_file=tmp_path / "audit.log"))


async def lose(process: Process) -> None:
    with pytest.raises(Ended):
        await asyncio.to_thread(process._lost, asyncio.get_running_loop(), "somebody else holds the Lease")


def records(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [each.audit for each in caplog.records if hasattr(each, "audit")]


async def test_what_is_gathered_for_the_audit_trail_is_logged_when_leadership_is_lost(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gathering = Gathering(process._record)
    process.settle = [gathering.settle]
    for _ in range(8):
        gathering.add("TokenRefused", "/v1/progress", "10.0.0.1", "the token was refused")
    await lose(process)
    assert [each["facts"]["times"] for each in records(caplog) if each["action"] == "TokenRefused"] == [1, 7]


async def test_nothing_is_written_any_more_to_the_file_that_is_a_successors(process: Process, tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await process.audit.begin(1, 60)
    async with asyncio.timeout(60):
        while not path.exists() or process.audit.stalled:  # noqa: ASYNC110  it is about a thread
            await asyncio.sleep(0.01)
    gathering = Gathering(process._record)
    process.settle = [gathering.settle]
    await lose(process)
    gathering.add("TokenRefused", "/v1/progress", "10.0.0.1", "the token was refused")
    await process.audit.end(60)  # waits for the thread that writes
    assert verify(path.read_bytes().splitlines()).records == 1


async def test_an_event_loop_that_is_busy_is_not_waited_for(process: Process) -> None:
    with pytest.raises(Ended):
        process._lost(asyncio.get_running_loop(), "not renewed for 10 s")  # as in a thread while this loop hangs
