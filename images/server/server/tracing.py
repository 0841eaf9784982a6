"""Where a request leaves its trace. Without a collector nothing sets TRACE, and a request pays for looking at it only.

Times here are of time.perf_counter_ns. What is made of them is in spans.py.
"""

import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol


class RequestTrace(Protocol):
    """The trace of one request."""

    def serves(self, model: str, version: str) -> None:
        """Which model answers."""

    def stages(self, stages: Mapping[str, tuple[int, int]]) -> None:
        """Parts of the answer by name, with their begin and end."""

    def batch(self, waited: Sequence["Waited"], rows: int, began_ns: int, ended_ns: int) -> None:
        """So many rows of these requests were computed together."""


@dataclass(frozen=True, slots=True)
class Waited:
    """A request that waited for its batch."""

    trace: RequestTrace
    since_ns: int


TRACE: ContextVar[RequestTrace | None] = ContextVar("trace", default=None)
"""Of the request that is answered; None for one that is not traced."""


def waits() -> Waited | None:
    """The request that begins to wait now; None for one that is not traced."""
    trace = TRACE.get()
    return None if trace is None else Waited(trace, time.perf_counter_ns())


def computed(waited: Sequence[Waited], rows: int, began_ns: int) -> None:
    """A batch of so many rows has been computed; waited: those of its requests that are traced, one at least."""
    waited[0].trace.batch(waited, rows, began_ns, time.perf_counter_ns())
