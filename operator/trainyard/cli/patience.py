"""How long a command waits for an answer, and what it says meanwhile: after two seconds it names whom it waits for, and until when."""

import argparse
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Thread
from typing import TextIO

REQUEST_SECONDS = 20.0
"""For a request with all its attempts, by default."""
_UNLIMITED_SECONDS = 86_400.0
QUIET_SECONDS = 2.0
"""What is answered faster is not worth a word."""
_RENEWED_SECONDS = 1.0
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")
_WIPE = "\r\x1b[K"


def add_to(parser: argparse.ArgumentParser) -> None:
    """The option of every command that asks a server."""
    parser.add_argument(
        "--request-timeout",
        type=duration,
        default=f"{REQUEST_SECONDS:g}s",
        metavar="TIME",
        help=f"how long to wait for the answer to a request, as 90s or 5m; 0 waits for a day (default: {REQUEST_SECONDS:g}s)",
    )


def duration(text: str) -> float:
    """Seconds, written as kubectl takes them: 30, 30s, 2m, 1h, 1m30s."""
    found = _DURATION.fullmatch(text) if text else None
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 30s, 2m or 1h")
    hours, minutes, seconds = (float(each or 0) for each in found.groups())
    return hours * 3600 + minutes * 60 + seconds or _UNLIMITED_SECONDS


def unanswered(url: str, what: str) -> str:
    """That a cluster does not answer, and what to try. what: what was asked, and what came in place of an answer."""
    return f"the cluster does not answer at {url}: {what}. Is this the cluster that --context means, and can it be reached from here? For one that is slow, see --request-timeout"


class Waiting:
    """Tells whom a command waits for: in a line that renews itself on a terminal, once elsewhere. May be used by several threads."""

    def __init__(self, whom: str, at_most: float, out: TextIO | None = None) -> None:
        """at_most: seconds after which the request is given up."""
        self._whom, self._at_most, self._out = whom, at_most, out or sys.stderr
        self._changed = Condition()
        self._asked: dict[object, tuple[str, float]] = {}
        """What is being waited for and since when, the oldest first."""
        self._teller: Thread | None = None
        self._said = self._shown = False

    @contextmanager
    def answer_to(self, what: str) -> Iterator[None]:
        """While the block runs an answer is waited for."""
        mark = object()
        with self._changed:
            self._asked[mark] = (what, time.monotonic())
            if self._teller is None and not self._said:
                self._teller = Thread(target=self._tell, daemon=True)
                self._teller.start()
        try:
            yield
        finally:
            with self._changed:
                del self._asked[mark]
                if self._shown and not self._asked:
                    self._write(_WIPE)
                    self._shown = False
                self._changed.notify()

    def _tell(self) -> None:
        """Until nothing is waited for."""
        with self._changed:
            while self._asked and not self._said:
                what, since = next(iter(self._asked.values()))
                waited = time.monotonic() - since
                if waited < QUIET_SECONDS:
                    self._changed.wait(QUIET_SECONDS - waited)
                elif self._out.isatty():
                    self._renew(f"{self._line(what)}, {waited:.0f} s so far")
                    self._changed.wait(_RENEWED_SECONDS)
                else:
                    self._write(f"{self._line(what)}\n")
                    self._said = True
            self._teller = None

    def _renew(self, line: str) -> None:
        self._write(f"{_WIPE}{line[: shutil.get_terminal_size().columns - 1]}")
        self._shown = True

    def _line(self, what: str) -> str:
        return f"waiting for {self._whom}, {self._at_most:g} s at most: {what}"

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
