"""Writes the chain of `audit_chain`: every record into the log stream, and into a file that is rotated if one is wanted.

Nothing here delays or fails a decision: what cannot be written into the file is counted, and the next record that can says so.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from trainyard.runtime.audit_chain import Entry, Link, encoded, link_of, linked
from trainyard.runtime.clock import Clock
from trainyard.runtime.logging import redact

log = logging.getLogger("trainyard.audit")

_TAIL = 256 * 1024
"""Longer than any record."""
BEGAN, ENDED = "Began", "Ended"


class AuditFile:
    """Lines in a file that is only appended to; a full one is renamed to NAME.1, the one before to NAME.2, and so on."""

    def __init__(self, path: Path, limit: int, keep: int) -> None:
        """limit: bytes from which on a file is full. keep: how many full ones stay."""
        self._path, self._limit, self._keep = path, limit, keep
        self._cut = False
        """Whether a line may end in the middle."""

    def last(self) -> tuple[Link, str]:
        """The newest record, and why others may lack after it. Ends a line that a crash has cut off. Raises OSError."""
        for path in (self._path, self._numbered(1)):
            if path.exists() and path.stat().st_size:
                return self._last(path)
        return Link(), "there is no earlier record"

    def append(self, line: bytes) -> None:
        """Raises OSError."""
        if self._path.exists() and self._path.stat().st_size >= self._limit:
            self._rotate()
        with self._path.open("ab") as file:
            start, self._cut = b"\n" if self._cut else b"", True
            file.write(start + line + b"\n")
        self._cut = False

    def _last(self, path: Path) -> tuple[Link, str]:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            *whole, rest = file.read().split(b"\n")
        found = next((found for line in reversed(whole) if (found := link_of(line)) is not None), None)
        if rest:
            with path.open("ab") as file:
                file.write(b"\n")
            return (found[0] if found else Link()), "the record before was not written to its end"
        if found is None:
            return Link(), "what is there is no record"
        clean = found[1] == ENDED
        return found[0], "" if clean else "who wrote before ended without a word: its last records may lack"

    def _rotate(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            if self._numbered(number).exists():
                self._numbered(number).replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class AuditLog:
    """The records of one process. Begin it when the process may decide, and end it when it does no more."""

    def __init__(
        self, who: str, clock: Clock, file: AuditFile | None = None, lost: Callable[[], None] = lambda: None
    ) -> None:
        """lost: called for each record that the file did not take."""
        self._who, self._clock, self._file, self._lost = who, clock, file, lost
        self._head = Link()
        self._missing = 0

    def begin(self, epoch: int) -> None:
        """Go on where the file ends."""
        gap = "no file is kept: each process begins a chain"
        if self._file is not None:
            try:
                self._head, gap = self._file.last()
            except OSError as error:
                gap = f"the file cannot be read: {error}"
        self._write(Entry(BEGAN, "operator", {"epoch": epoch}), gap)

    def write(self, entry: Entry) -> None:
        """Put it on record."""
        self._write(entry, f"{self._missing} records could not be written into the file" if self._missing else "")

    def end(self) -> None:
        """Say that nothing lacks."""
        self.write(Entry(ENDED, "operator"))

    def _write(self, entry: Entry, gap: str) -> None:
        safe = Entry(entry.action, entry.about, redact(dict(entry.facts)))
        self._head, record = linked(self._head, safe, self._who, self._clock.now(), gap)
        log.info(entry.action, extra={"audit": record})
        if self._file is None:
            return
        try:
            self._file.append(encoded(record))
            self._missing = 0
        except OSError as error:
            if not self._missing:
                log.error("a record could not be written: %s", error)  # noqa: TRY400 - the message is the reason
            self._missing += 1
            self._lost()
