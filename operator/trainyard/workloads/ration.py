"""Holds back status writes that only tell readers a new number: one object seldom, all objects together at a bounded rate."""

from collections.abc import Hashable

from trainyard.runtime.clock import Clock

WRITES_A_SECOND = 20.0
"""Of all objects together, of those writes that have to wait for their turn."""
_TICK = 0.001
"""A timer may fire a rounding error early; asking again after what is left would spin."""


class Ration:
    """Ask before a calm write. Urgent writes do not ask, but are told here, since the next calm one counts from them."""

    def __init__(self, clock: Clock, *, per_key: float = 30.0, per_second: float = WRITES_A_SECOND) -> None:
        self._clock = clock
        self._per_key = per_key
        self._per_second = per_second
        self._last: dict[Hashable, float] = {}
        self._tokens = per_second
        self._filled = clock.monotonic()
        self._reserved: dict[Hashable, float] = {}
        """When the turn comes of those that asked in vain: each waits once, however long the queue."""

    def wait(self, key: Hashable) -> float:
        """Seconds until `key` may write; 0 when it may now, and then its share is taken."""
        now = self._clock.monotonic()
        last = self._last.get(key)
        if last is not None and (left := last + self._per_key - now) > _TICK:
            return left
        return self.turn(key)

    def turn(self, key: Hashable) -> float:
        """The same without the limit of one object, for what is urgent but concerns many."""
        now = self._clock.monotonic()
        if key in self._reserved:
            if (left := self._reserved[key] - now) > _TICK:
                return left
            del self._reserved[key]
            return 0.0
        self._tokens = min(self._per_second, self._tokens + (now - self._filled) * self._per_second) - 1
        self._filled = now
        if self._tokens >= 0:
            return 0.0
        self._reserved[key] = now - self._tokens / self._per_second
        return -self._tokens / self._per_second

    def wrote(self, key: Hashable) -> None:
        """It wrote: of its own accord, too, and then it does not need the turn that it waits for."""
        self._last[key] = self._clock.monotonic()
        if self._reserved.pop(key, None) is not None:
            self._tokens += 1

    def forget(self, key: Hashable) -> None:
        """The object is gone."""
        self._last.pop(key, None)
        self._reserved.pop(key, None)
