"""Measures what blocks the event loop: sleeps, and reports how late it was woken."""

import asyncio
from collections.abc import Callable


async def watch_event_loop(report: Callable[[float], None], every: float = 0.5) -> None:
    """Report the delay in seconds each `every` seconds, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every
        await asyncio.sleep(every)
        report(max(0.0, loop.time() - due))
