"""Work for a model's thread that has time: it is done when no inference waits, and after a second at the latest. Pure.

Whoever divides long work into short pieces and hands in one after the other delays an inference by one piece at most.
Under a load that leaves no gap a piece a second gets its turn, so that nothing starves.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from server.lineup import AGEING_SECONDS

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Piece:
    """One of them: what is to be done, since when it waits, and who waits for its result."""

    work: Callable[[], Any]
    since: float
    result: asyncio.Future[Any]

    def done(self) -> Callable[[], None]:
        """Do it, in the compute thread. Returns what tells the result, in the event loop."""
        try:
            value = self.work()
        except Exception as error:  # noqa: BLE001 - it is the caller's, whatever it is
            failure = error
            return lambda: None if self.result.done() else self.result.set_exception(failure)
        return lambda: None if self.result.done() else self.result.set_result(value)


@dataclass(slots=True)
class Aside:
    """Pieces in order of arrival."""

    _pieces: deque[Piece] = field(default_factory=deque)

    def add(self, piece: Piece) -> None:
        self._pieces.append(piece)

    def due(self, now: float, *, idle: bool) -> Piece | None:
        """The piece whose turn it is, out of the line; None while inferences go first. Whose caller has left is dropped."""
        while self._pieces and self._pieces[0].result.done():
            self._pieces.popleft()
        if self._pieces and (idle or now - self._pieces[0].since >= AGEING_SECONDS):
            return self._pieces.popleft()
        return None
