"""Time as something that is handed in.

Everything that decides by time takes a `Clock`, so the same code runs against the wall clock in the operator and
against an event loop with compressed time in simulations. Waiting is always `asyncio.sleep`, never a clock's method.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What time it is, for people (`now`) and for measuring (`monotonic`)."""

    def now(self) -> datetime:
        """Current time, aware, in UTC. May jump: never subtract two of them to judge a timeout."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class LoopClock:
    """The running event loop's time, which a simulation compresses: `now` is `start` plus the loop's time."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError(f"start of a LoopClock must carry a time zone, got {start!r}")
        self._start = start.astimezone(UTC)

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()
