"""Waiting for something, unless the process is asked to stop before."""

import asyncio


async def unless_stopped(stop: asyncio.Event, wanted: asyncio.Event) -> bool:
    """Wait for the first of both. False when asked to stop, even if what was wanted came, too."""
    waits = [asyncio.create_task(each.wait()) for each in (stop, wanted)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
    return not stop.is_set()
