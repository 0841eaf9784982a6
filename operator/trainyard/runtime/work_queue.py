"""The queue between what happened and what is done about it.

Watches put keys in; `run` hands each key to one worker at a time. A key that is waiting is not queued twice, a key
that changes while it is worked on is worked on again, a key whose reconcile raises comes back after a backoff of its
own. These are client-go's semantics, which no library offers for asyncio. Neighbours: `cluster.informer` feeds it,
the controllers of `training` and `inference` are its reconcile functions. It knows neither.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, Protocol, TypeVar

from trainyard.runtime.backoff import BackoffPolicy
from trainyard.runtime.clock import Clock

K = TypeVar("K", bound=Hashable)
log = logging.getLogger(__name__)
_TICK = 0.001
"""Least seconds until a key is seen again: what is left of a time may be a rounding error, by which no clock goes on."""


@dataclass(frozen=True, slots=True)
class Again:
    """When a reconcile wants to see its key again: in `after` seconds, or (None) only when something changes."""

    after: float | None


NEVER = Again(None)
NOW = Again(0.0)

Reconcile = Callable[[K], Awaitable[Again]]


class QueueObserver(Protocol):
    """Told about every reconcile, for metrics."""

    def __call__(self, key: Any, *, waited: float, worked: float, failed: bool) -> None:
        """`waited`: seconds from becoming due to a worker's start; `worked`: seconds the reconcile took."""
        ...


@dataclass(slots=True)
class _Timer:
    due: float
    handle: asyncio.TimerHandle


class WorkQueue(Generic[K]):
    """Keys to reconcile, each at most once at a time. Belongs to one event loop; not for use across threads."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        random: Random,
        backoff: BackoffPolicy | None = None,
        observer: QueueObserver | None = None,
    ) -> None:
        self.name = name
        self._clock = clock
        self._random = random
        self._backoff = backoff or BackoffPolicy()
        self._observer = observer
        self._ready: dict[K, float] = {}
        """Waiting keys in order of arrival, with the time they became due."""
        self._later: dict[K, float] = {}
        """Those of a backlog: served while nobody else waits."""
        self._busy: set[K] = set()
        self._dirty: dict[K, float] = {}
        self._timers: dict[K, _Timer] = {}
        self._failed: dict[K, int] = {}
        self._stopping = False
        self._idle: deque[asyncio.Future[None]] = deque()

    def waiting(self) -> Iterator[tuple[K, float]]:
        """Keys that are due and wait for a worker, and for how many seconds they have been."""
        now = self._clock.monotonic()
        for key, due in (*self._ready.items(), *self._later.items(), *self._dirty.items()):
            yield key, now - due

    def add(self, key: K) -> None:
        """Make the key due now. Waiting already: nothing changes. Busy: it is looked at again afterwards."""
        if key in self._busy:
            self._dirty.setdefault(key, self._clock.monotonic())
        elif key not in self._ready:
            self._ready[key] = self._later.pop(key, self._clock.monotonic())
            self._wake_one()

    def add_later(self, key: K) -> None:
        """Make the key due once nobody else waits: one of thousands that a process finds when it begins. `add` moves it forward."""
        if key not in self._busy and key not in self._ready and key not in self._later:
            self._later[key] = self._clock.monotonic()
            self._wake_one()

    def add_after(self, key: K, seconds: float) -> None:
        """Make the key due in `seconds`. Of several wishes for one key the earliest wins; `add` does not cancel it."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + max(seconds, _TICK)
        pending = self._timers.get(key)
        if pending is not None:
            if pending.due <= due:
                return
            pending.handle.cancel()
        self._timers[key] = _Timer(due, loop.call_at(due, self._expire, key))

    def forget(self, key: K) -> None:
        """Drop what is known of a key that is gone: its wait, its timer and its failures. Work in hand goes on."""
        self._ready.pop(key, None)
        self._later.pop(key, None)
        self._dirty.pop(key, None)
        self._failed.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.handle.cancel()

    async def run(
        self, reconcile: Reconcile[K], *, workers: int, stop: asyncio.Event, limit: float | None = None
    ) -> None:
        """Serve keys until `stop` is set, then return once what is in hand has ended.

        limit: seconds after which a reconcile is cancelled and counts as failed, so that one hung call cannot hold
        its key for ever.
        """
        self._stopping = False
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stop_when(stop), name=f"{self.name}-stop")
            for number in range(workers):
                group.create_task(self._work(reconcile, limit), name=f"{self.name}-{number}")
        for timer in self._timers.values():
            timer.handle.cancel()
        self._timers.clear()

    async def _stop_when(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopping = True
        while self._idle:
            self._wake_one()

    async def _work(self, reconcile: Reconcile[K], limit: float | None) -> None:
        while (taken := await self._take()) is not None:
            key, waited = taken
            await self._serve(key, waited, reconcile, limit)

    async def _take(self) -> tuple[K, float] | None:
        while not self._ready and not self._later and not self._stopping:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(turn)
            await turn
        if self._stopping:
            return None
        waiting = self._ready or self._later
        key = next(iter(waiting))
        due = waiting.pop(key)
        self._busy.add(key)
        return key, self._clock.monotonic() - due

    async def _serve(self, key: K, waited: float, reconcile: Reconcile[K], limit: float | None) -> None:
        started = self._clock.monotonic()
        failed = False
        try:
            async with asyncio.timeout(limit):
                again = await reconcile(key)
        except Exception:
            failed = True
            again = self._note_failure(key)
            details = {"queue": self.name, "key": str(key), "failures": self._failed[key], "retry_seconds": again.after}
            log.exception("reconcile failed, it is tried again", extra=details)
        else:
            self._failed.pop(key, None)
        finally:
            self._busy.discard(key)
        if self._observer is not None:
            self._observer(key, waited=waited, worked=self._clock.monotonic() - started, failed=failed)
        dirtied = self._dirty.pop(key, None)
        # After a failure the backoff stands even if the key got dirty meanwhile: the retry sees the change as well.
        if dirtied is not None and not failed:
            self._ready.setdefault(key, dirtied)
            self._wake_one()
        if again.after is not None:
            self.add_after(key, again.after)

    def _note_failure(self, key: K) -> Again:
        count = self._failed[key] = self._failed.get(key, 0) + 1
        return Again(round(self._backoff.delay(count, self._random), 3))

    def _expire(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _wake_one(self) -> None:
        while self._idle:
            turn = self._idle.popleft()
            if not turn.done():
                turn.set_result(None)
                return
