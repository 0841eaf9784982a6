"""What the requests of each revision came to, from the lines that HAProxy sends for each request.

Counts only grow, from 0 at the start of this sidecar, under a boot of its own: the operator adds up differences, so that a report lost,
repeated or late changes nothing. A line that comes faster than it can be read is dropped by the kernel, whatever revision it is of.
A sidecar that dies takes with it what it counted since its last report, half a second.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil, log2
from pathlib import Path
from typing import Any
from uuid import uuid4

from gateway import CANARY, FRONTEND, GRPC_CANARY
from gateway.members import Membership

PER_OCTAVE, BUCKETS = 8, 160
"""Bounds of the buckets of time: eighths of an octave from 1 ms, as the operator's."""
MOST_REVISIONS = 8
_MOST_NAMES = 4096
_FAILED = 500
GRPC_FAILED = frozenset({"2", "4", "13", "14", "15"})
"""UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS: what is 500 and more over REST."""
_BUFFER_BYTES = 1 << 20
_LINE_BYTES = 8192
_LINES = 64


@dataclass
class Counts:
    """Of one revision."""

    requests: int = 0
    errors: int = 0
    times: dict[int, int] = field(default_factory=dict)
    """Answers by bucket of time."""
    compared: int = 0
    """Copies of requests that it answered beside the stable revision."""
    differed: int = 0
    """Of these, those with another answer."""

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "errors": self.errors,
            "compared": self.compared,
            "differed": self.differed,
            "times": {str(index): count for index, count in self.times.items()},
        }


class Traffic:
    """Counts by digest of the model."""

    def __init__(self, boot: str = "") -> None:
        self._boot = boot or uuid4().hex
        self._digests: dict[str, str] = {}
        self._alone: dict[str, str] = {}
        self._counts: dict[str, Counts] = {}
        self._number = 0
        self.grpc_failures: Counter[tuple[str, str]] = Counter()
        """By backend and server; HAProxy counts them as answers. Cleared by who has judged them."""

    def know(self, membership: Membership | None) -> None:
        """Which member serves which model. One that has left is remembered, since its last requests may still end."""
        if membership is None:
            return
        backends: dict[str, set[str]] = {}
        for one in membership.members:
            self._digests.pop(one.name, None)
            self._digests[one.name] = one.digest
            backends.setdefault(one.backend, set()).add(one.digest)
        self._alone = {backend: next(iter(found)) for backend, found in backends.items() if len(found) == 1}
        while len(self._digests) > _MOST_NAMES:
            self._digests.pop(next(iter(self._digests)))

    def take(self, line: str) -> None:
        """Count one line of HAProxy's log. One that is not of a caller's request, or of no revision, counts nothing."""
        fields = fields_of(line)
        if not fields.get("frontend", "").startswith(FRONTEND) or fields.get("term", "--").startswith("C"):
            return
        status, backend = whole(fields.get("status")), fields.get("backend", "")
        if fields.get("grpc") in GRPC_FAILED:
            status = _FAILED
            self.grpc_failures[backend, fields.get("server", "")] += 1
        # Who never got a replica counts for the canary if all replicas there are of one model: it was to answer.
        lost = backend in (CANARY, GRPC_CANARY) and (status is None or status >= _FAILED)
        digest = self._digests.get(fields.get("server", "")) or (self._alone.get(CANARY) if lost else None)
        if not digest:
            return
        counts = self._of(digest)
        counts.requests += 1
        if status is None or status >= _FAILED or status < 0:
            counts.errors += 1
        elif (total := whole(fields.get("total_ms"))) is not None:
            index = bucket(total - (whole(fields.get("held_ms")) or 0))
            counts.times[index] = counts.times.get(index, 0) + 1

    def compare(self, digest: str, *, differs: bool) -> None:
        """Count an answer to a copy."""
        counts = self._of(digest)
        counts.compared += 1
        counts.differed += differs

    def report(self) -> dict[str, Any]:
        """Part of the sync call. Each has a higher number, so that one that was overtaken is known."""
        self._number += 1
        revisions = {digest: one.as_json() for digest, one in self._counts.items()}
        return {"boot": self._boot, "number": self._number, "revisions": revisions}

    def _of(self, digest: str) -> Counts:
        """Room for a new revision is made by the one that was first seen longest ago and has no member left."""
        if digest not in self._counts:
            present = set(self._digests.values())
            for old in [each for each in self._counts if each not in present] or list(self._counts):
                if len(self._counts) >= MOST_REVISIONS:
                    del self._counts[old]
        return self._counts.setdefault(digest, Counts())


def fields_of(line: str) -> dict[str, str]:
    """Values of a line by key."""
    return dict(part.partition("=")[::2] for part in line.split())


def bucket(milliseconds: float) -> int:
    """Index of the bucket that a time falls into."""
    return min(BUCKETS - 1, max(0, ceil(PER_OCTAVE * log2(milliseconds)))) if milliseconds > 1 else 0


async def listen(path: Path, take: Callable[[str], None]) -> None:
    """Hand on the lines that come in at the datagram socket until cancelled. HAProxy finds the socket whenever it is there."""
    loop = asyncio.get_running_loop()
    with _inbox(path) as inbox:
        loop.add_reader(inbox, _drain, inbox, take)
        try:
            await asyncio.Event().wait()
        finally:
            loop.remove_reader(inbox)


@contextmanager
def _inbox(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        inbox.bind(str(path))
        inbox.setblocking(False)
        try:
            yield inbox
        finally:
            path.unlink(missing_ok=True)


def _drain(inbox: socket.socket, take: Callable[[str], None]) -> None:
    """So many lines at a time that the sidecar's other work has its turn."""
    for _ in range(_LINES):
        try:
            line = inbox.recv(_LINE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        take(line.decode(errors="replace"))


def whole(text: str | None) -> int | None:
    """A number of a line; None for a value that is none."""
    try:
        return int(text) if text else None
    except ValueError:
        return None
