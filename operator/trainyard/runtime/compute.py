"""Where long computations happen, so that the event loop stays free; simulations compute at once instead."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

_Answer = TypeVar("_Answer")


class Compute(Protocol):
    """Does work where it is in nobody's way."""

    async def __call__(self, work: Callable[[], _Answer], /) -> _Answer: ...


async def in_thread(work: Callable[[], _Answer], /) -> _Answer:
    """In a thread of the loop's pool."""
    return await asyncio.to_thread(work)
