"""Writes the chain of `audit_chain`: every record into the log stream at once, and through `audit_writer` into a file if one is wanted.

Nothing here delays or fails a decision. The log comes first, so that it holds every record; the file follows in a moment, and says
of what it has missed how many records that are and where the log has them.
"""

import asyncio
import logging
import threading
from collections.abc import Callable

from trainyard.runtime.audit_chain import BEGAN, ENDED, Entry, Line, Link, encoded, linked
from trainyard.runtime.audit_file import AuditFile
from trainyard.runtime.audit_writer import FileWriter
from trainyard.runtime.clock import Clock
from trainyard.runtime.logging import redact

log = logging.getLogger("trainyard.audit")

STALLED_SECONDS = 10.0
"""After so long without an answer a file is said to hang."""
_PATIENCE_SECONDS = 2.0
_WAITING = 4096
"""Records that wait for the file at most: some minutes of a busy cluster's, and a few megabytes."""


class AuditLog:
    """The records of one process. Begin it when the process may decide, and end it when it does no more."""

    def __init__(
        self,
        who: str,
        clock: Clock,
        file: AuditFile | None = None,
        lost: Callable[[], None] = lambda: None,
        waiting: int = _WAITING,
    ) -> None:
        """lost: called for each record that the file will not have."""
        self._who, self._clock, self._lost = who, clock, lost
        self._writer = FileWriter(file, self._declare, clock, waiting) if file is not None else None
        self._turn = threading.Lock()
        """Held while a record is linked, logged and queued, so that all three are in one order."""
        self._head = Link()

    async def begin(self, epoch: int, patience: float = _PATIENCE_SECONDS) -> None:
        """Go on where the file ends, if it says so within `patience` seconds."""
        gap = "no file is kept: each process begins a chain"
        if self._writer is not None:
            self._head, gap = await self._writer.begin(patience)
        with self._turn:
            self._write(Entry(BEGAN, "operator", {"epoch": epoch}), gap)

    def write(self, entry: Entry) -> None:
        """Put it on record."""
        with self._turn:
            self._write(entry)

    async def end(self, patience: float = _PATIENCE_SECONDS) -> None:
        """Say that nothing lacks, and wait for the file, but not longer than `patience` seconds."""
        self.write(Entry(ENDED, "operator"))
        if self._writer is not None:
            await self._writer.end(patience)

    def leave_file(self) -> None:
        """A successor may write to the file by now: what comes stands in the log alone."""
        if self._writer is not None:
            self._writer.give_up()

    @property
    def stalled(self) -> float:
        """Seconds for which the file has not taken what waits for it; 0 when nothing waits."""
        return self._writer.stalled if self._writer is not None else 0.0

    async def watch(self) -> None:
        """Say in the log when the file hangs, and when that is over."""
        hangs = False
        while True:
            await asyncio.sleep(1)
            if (self.stalled > STALLED_SECONDS) is hangs:
                continue
            hangs = not hangs
            if hangs:
                log.error("the audit file has not answered for %.0f s: records are in the log alone", self.stalled)
            else:
                log.warning("the audit file takes records again")

    def _write(self, entry: Entry, gap: str = "") -> None:
        safe = Entry(entry.action, entry.about, redact(dict(entry.facts)))
        self._head, record = linked(self._head, safe, self._who, self._clock.now(), gap)
        log.info(entry.action, extra={"audit": record})
        if self._writer is not None and not self._writer.put(Line(self._head, encoded(record))):
            self._lost()

    def _declare(self, after: Link) -> None:
        """The file, which ends in `after`, takes records again. Called by its thread."""
        with self._turn:
            missed = self._writer.settle() if self._writer is not None else None
            if missed is not None:
                self._write(*missed.declared(after))
