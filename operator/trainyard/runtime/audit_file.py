"""The audit trail's file: lines that are only appended; a full file is renamed. Each call may hang for as long as the volume does."""

import errno
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from trainyard.runtime.audit_chain import ENDED, Link, link_of

_TAIL = 256 * 1024
"""Longer than any record."""


class AuditFile:
    """Lines in a file that is only appended to; a full one is renamed to NAME.1, the one before to NAME.2, and so on."""

    def __init__(self, path: Path, limit: int, keep: int) -> None:
        """limit: bytes from which on a file is full. keep: how many full ones stay."""
        self._path, self._limit, self._keep = path, limit, keep

    def last(self) -> tuple[Link, str]:
        """The newest record, and why others may lack after it. Ends a line that was cut off. Raises OSError."""
        for path in (self._path, self._numbered(1)):
            if path.exists() and path.stat().st_size:
                return self._last(path)
        return Link(), "there is no earlier record"

    def append(self, lines: Sequence[bytes]) -> None:
        """Returns when they are on the disk. Raises OSError, and then `last` says what came through."""
        waiting = deque(lines)
        while waiting:
            room = self._limit - (self._path.stat().st_size if self._path.exists() else 0)
            if room <= 0:
                self._rotate()
                room = self._limit
            text = b""
            while waiting and len(text) < room:
                text += waiting.popleft() + b"\n"
            self._write(text)

    def _write(self, text: bytes) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            while text:
                text = text[os.write(file, text) :]
            _sync(file)
        finally:
            os.close(file)

    def _last(self, path: Path) -> tuple[Link, str]:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            *whole, rest = file.read().split(b"\n")
        if rest:
            with path.open("ab") as file:
                file.write(b"\n")
            whole.append(rest)
        found = next((found for line in reversed(whole) if (found := link_of(line)) is not None), None)
        if found is None:
            return Link(), "the record before was not written to its end" if rest else "what is there is no record"
        # Also one whose line was ended since, by a process that was killed before it could write the record anew.
        if link_of(next(line for line in reversed(whole) if line)) is None:
            return found[0], "the record before was not written to its end"
        clean = found[1] == ENDED
        return found[0], "" if clean else "who wrote before ended without a word: its last records may lack"

    def _rotate(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            if self._numbered(number).exists():
                self._numbered(number).replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _sync(file: int) -> None:
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what keeps nothing, such as a pipe, has nothing to sync
            raise
