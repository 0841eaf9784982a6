"""Writes lines of the audit trail into its file, in a thread of its own: a volume that hangs holds up nobody but this thread.

So many lines wait. What comes after them is missed by the file, and stands in the log alone; when the file takes lines again,
`Declare` makes a record of how many those were. A file that fails is tried again each second, with a look at what came through before.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from trainyard.runtime.audit_chain import Line, Link, Missed
from trainyard.runtime.audit_file import AuditFile
from trainyard.runtime.clock import Clock

log = logging.getLogger("trainyard.audit")

_AGAIN_SECONDS = 1.0

Declare: TypeAlias = Callable[[Link], None]
"""Puts on record what the file has missed, after the link that it ends in."""


class FileWriter:
    """One for each process. `begin` once, `end` once; what lies between is called from any thread."""

    def __init__(self, file: AuditFile, declare: Declare, clock: Clock, waiting: int) -> None:
        """waiting: lines that wait at most."""
        self._file, self._declare, self._clock, self._limit = file, declare, clock, waiting
        self._changed = threading.Condition()
        self._lines: deque[Line] = deque()
        self._missed: Missed | None = None
        self._found: tuple[Link, str] | None = None
        """Where the file ended when it was first read, and why others may lack after that."""
        self._problem = ""
        """Why the last try failed."""
        self._late = False
        """Whether this process has begun its chain without knowing where the file ends."""
        self._since: float | None = None
        """From when on the file has had something to do."""
        self._ending = False
        """Whether nothing more will come."""
        self._given_up = False
        # Nobody waits for it at the end of the process: it may hang for good.
        self._thread = threading.Thread(target=self._run, name="audit-file", daemon=True)

    async def begin(self, patience: float) -> tuple[Link, str]:
        """The newest record, and why others may lack after it; none if the file does not say within `patience` seconds."""
        self._thread.start()
        return await asyncio.to_thread(self._wait_for_last, patience)

    async def end(self, patience: float) -> None:
        """Wait until all is written, but not longer than `patience` seconds."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        await asyncio.to_thread(self._thread.join, patience)
        self.give_up()

    def give_up(self) -> None:
        """Begin no further write: the file is a successor's."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()

    def put(self, line: Line) -> bool:
        """Have it written. False: the file misses it."""
        with self._changed:
            if self._late or self._missed is not None or len(self._lines) >= self._limit:
                first = self._missed.first if self._missed is not None else line.link
                self._missed = Missed(first, line.link)
                return False
            self._lines.append(line)
            self._changed.notify_all()
            return True

    def settle(self) -> Missed | None:
        """What was missed since the last time. From now on lines are taken again."""
        with self._changed:
            missed, self._missed = self._missed, None
            return missed

    @property
    def stalled(self) -> float:
        """Seconds for which the file has not done what it was asked to; 0 when it has nothing to do."""
        since = self._since
        return 0.0 if since is None else max(0.0, self._clock.monotonic() - since)

    def _wait_for_last(self, patience: float) -> tuple[Link, str]:
        with self._changed:
            self._changed.wait_for(lambda: self._found or self._problem, patience)
            if self._found is not None:
                return self._found
            self._late = True
            return Link(), self._problem or f"the file did not say within {patience:g} s where it ends"

    def _run(self) -> None:
        end = self._read()
        while end is not None:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._missed or self._ending)
                batch = tuple(self._lines)
                # What is written after it was given up may stand between the lines of a successor.
                if self._given_up or (not batch and self._missed is None):
                    return
            if batch:
                end = self._append(batch)
            else:
                self._declare(end)

    def _read(self) -> Link | None:
        """Where the file ends; None if it was given up before it says so."""
        self._since = self._clock.monotonic()
        while True:
            try:
                found = self._file.last()
            except OSError as error:
                if not self._goes_on(f"the audit file cannot be read: {error}"):
                    return None
                continue
            with self._changed:
                self._found, self._late = found, False
                self._done()
            return found[0]

    def _append(self, batch: tuple[Line, ...]) -> Link | None:
        """Write them all; None if it was given up before that is done."""
        self._since = self._clock.monotonic()
        left = batch
        while left:
            try:
                if self._problem:  # what came through?
                    end, _ = self._file.last()
                    left = left[1 + next((at for at, line in enumerate(left) if line.link == end), -1) :]
                self._file.append([line.text for line in left])
                left = ()
            except OSError as error:
                if not self._goes_on(f"a record could not be written: {error}"):
                    return None
        with self._changed:
            for _ in batch:
                self._lines.popleft()
            self._done()
        return batch[-1].link

    def _goes_on(self, problem: str) -> bool:
        """Whether to try again, after a while."""
        with self._changed:
            if not self._problem:
                log.error(problem)
            self._problem = problem
            self._changed.notify_all()
            return not self._changed.wait_for(lambda: self._given_up, _AGAIN_SECONDS)

    def _done(self) -> None:
        """The file did what it was asked to."""
        self._since, self._problem = None, ""
        self._changed.notify_all()
