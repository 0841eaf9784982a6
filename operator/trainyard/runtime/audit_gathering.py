"""What somebody can have happen as often as he likes, put on record so that it neither floods the audit trail nor hides others in it.

The first of a kind is on record at once. What follows is gathered, by who it was, and put on record after ten seconds, then twenty,
and so on, but at least every five minutes, until nothing came for a minute. Belongs to one event loop.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from trainyard.runtime.audit_chain import Entry

FIRST_SECONDS, LONGEST_SECONDS = 10.0, 300.0
QUIET_SECONDS = 60.0
"""After so long without another it is over: what is refused is tried again within that time."""
_WHO = 16
"""Of a kind so many are told apart in one record."""
OTHERS = "others"
_LONGEST = 512


class Gathering:
    """By what happened and about what, while it goes on."""

    def __init__(self, record: Callable[[Entry], None]) -> None:
        self._record = record
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def add(self, action: str, about: str, who: str, why: str) -> None:
        """It happened once more."""
        kind = self._kinds.get((action, about))
        if kind is not None:
            kind.add(who, why)
            return
        kind = self._kinds[action, about] = _Kind(action, about)
        kind.add(who, why)
        self._tell(kind)
        self._wait(kind, FIRST_SECONDS)

    def settle(self) -> None:
        """Put on record what is not yet. For the end."""
        for kind in self._kinds.values():
            kind.timer.cancel()
            self._tell(kind)
        self._kinds.clear()

    def _wait(self, kind: "_Kind", seconds: float) -> None:
        kind.timer = asyncio.get_running_loop().call_later(seconds, self._due, kind, seconds)

    def _due(self, kind: "_Kind", seconds: float) -> None:
        if not kind.who and seconds >= QUIET_SECONDS:
            del self._kinds[kind.action, kind.about]
            return
        self._tell(kind)
        self._wait(kind, min(2 * seconds, LONGEST_SECONDS))

    def _tell(self, kind: "_Kind") -> None:
        if kind.who:
            facts = {"from": dict(kind.who), "why": kind.why, "times": kind.who.total()}
            self._record(Entry(kind.action, kind.about, facts))
            kind.who.clear()


class _Kind:
    """What is not on record yet."""

    timer: asyncio.TimerHandle

    def __init__(self, action: str, about: str) -> None:
        self.action, self.about = action, about
        self.who: Counter[str] = Counter()
        self.why = ""
        """Of the first of them."""

    def add(self, who: str, why: str) -> None:
        if not self.who:
            self.why = why[:_LONGEST]
        known = who in self.who or len(self.who) < _WHO
        self.who[who if known else OTHERS] += 1
