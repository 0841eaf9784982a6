"""Where the server is in its life, and the counting that a graceful stop rests on."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from server.batcher import Batcher
from server.explain.limit import Explaining
from server.language.serving import Language
from server.model import Model
from server.protocol import MODEL_VERSION
from server.statistics import Statistics


class Phase(StrEnum):
    """Readiness is true in READY only; DRAINING still answers requests."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


class InUse:
    """Counts those inside, and lets one wait until there are none."""

    def __init__(self) -> None:
        self.count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Count one as inside, however it ends."""
        self.count += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.count -= 1
            if self.count == 0:
                self._idle.set()

    async def idle(self) -> None:
        """Return when nobody is inside."""
        await self._idle.wait()


@dataclass(frozen=True, eq=False)
class Serving:
    """A model that may be asked."""

    name: str
    model: Model
    batcher: Batcher
    version: str = MODEL_VERSION
    statistics: Statistics = field(default_factory=Statistics)
    in_use: InUse = field(default_factory=InUse)
    explaining: Explaining = field(default_factory=Explaining)
    language: Language | None = None  # where it is a model of text
    since: int = field(default_factory=lambda: int(time.time()))


@dataclass
class State:
    """Changed by lifecycle.py, read by app.py; one event loop owns it."""

    phase: Phase = Phase.LOADING
    request: InUse = field(default_factory=InUse)

    @property
    def in_flight(self) -> int:
        return self.request.count

    async def idle(self) -> None:
        """Return when nothing is in flight."""
        await self.request.idle()
