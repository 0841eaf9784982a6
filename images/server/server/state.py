"""Where the server is in its life, and the counting that a graceful stop rests on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from server.batcher import Batcher
from server.model import Model


class Phase(StrEnum):
    """Readiness is true in READY only; DRAINING still answers requests."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


@dataclass(frozen=True)
class Serving:
    """A model that may be asked."""

    name: str
    model: Model
    batcher: Batcher


@dataclass
class State:
    """Changed by lifecycle.py, read by app.py; one event loop owns it."""

    phase: Phase = Phase.LOADING
    serving: Serving | None = None
    in_flight: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._idle.set()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request as in flight, however it ends."""
        self.in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.in_flight -= 1
            if self.in_flight == 0:
                self._idle.set()

    async def idle(self) -> None:
        """Return when nothing is in flight."""
        await self._idle.wait()
