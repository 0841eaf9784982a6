"""How many requests were answered well enough, of those that count: what the service's objective (SLO) is measured by. Pure.

Counted are the requests that were let in and that the service was to answer: a refusal because the queue is full is one
that was not answered well. What the caller did wrong is not counted, nor is a caller that left.
"""

from dataclasses import dataclass

from gateway import FRONTENDS
from gateway.traffic import GRPC_FAILED

_FULL, _FAULTS_OF_CALLERS = 429, range(400, 500)
_GRPC_GOOD, _GRPC_FULL = frozenset({"-", "0"}), "8"
NO_SERVER = "<NOSRV>"


@dataclass
class Objective:
    """Counts only grow. milliseconds: 0 where there is no objective. first_byte: until the answer begins, not until it ends."""

    milliseconds: int
    first_byte: bool = False
    requests: int = 0
    good: int = 0

    def take(self, line: str) -> None:
        """Count one line of HAProxy's log."""
        if not self.milliseconds:
            return
        fields = dict(part.partition("=")[::2] for part in line.split())
        if (
            fields.get("frontend") not in FRONTENDS
            or fields.get("let_in") != "1"
            or fields.get("term", "").startswith("C")
        ):
            return
        status, grpc = _number(fields, "status"), fields.get("grpc", "-")
        if status in _FAULTS_OF_CALLERS and status != _FULL:
            return
        if grpc not in _GRPC_GOOD and grpc != _GRPC_FULL and grpc not in GRPC_FAILED:
            return
        self.requests += 1
        answered = 0 < status < _FAULTS_OF_CALLERS.start and grpc in _GRPC_GOOD and fields.get("server") != NO_SERVER
        self.good += answered and 0 <= self._taken(fields) <= self.milliseconds

    def _taken(self, fields: dict[str, str]) -> int:
        if not self.first_byte:
            return _number(fields, "total_ms")
        waits = (_number(fields, name) for name in ("held_ms", "queue_ms"))
        answered = _number(fields, "ttfb_ms")
        return answered if answered < 0 else answered + sum(max(0, wait) for wait in waits)


def _number(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    return int(text) if text.isdecimal() else -1
