"""Measures what blocks the event loop: sleeps, and reports how late it was woken."""

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

LATE_SECONDS = 1.0
"""From so much on the log tells of it: probes, the Lease and everybody else waited as long."""


async def watch_event_loop(report: Callable[[float], None], every: float = 0.5) -> None:
    """Report the delay in seconds each `every` seconds, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every
        await asyncio.sleep(every)
        late = max(0.0, loop.time() - due)
        if late > LATE_SECONDS:
            log.warning(
                "the event loop was late: this process had no CPU, or something computed where it should not",
                extra={"seconds": round(late, 3)},
            )
        report(late)
