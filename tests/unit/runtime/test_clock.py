"""Clocks tell aware UTC and never go back."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from trainyard.runtime.clock import LoopClock, SystemClock


def test_the_system_clock_is_aware_and_monotonic() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo == UTC
    assert clock.monotonic() <= clock.monotonic()


@pytest.mark.looptime
async def test_a_loop_clock_follows_compressed_time() -> None:
    start = datetime(2026, 11, 23, tzinfo=UTC)
    clock = LoopClock(start)
    before = clock.now()
    await asyncio.sleep(3600)
    assert clock.now() - before == timedelta(hours=1)


def test_a_loop_clock_refuses_a_start_without_a_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        LoopClock(datetime(2026, 11, 23))  # noqa: DTZ001 - what is refused
