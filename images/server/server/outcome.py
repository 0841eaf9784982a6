"""How a request ended, counted by HTTP status: the same for inferences, explanations and graphs."""

import time
from collections.abc import Callable
from types import TracebackType

from prometheus_client import Counter, Histogram

from server.errors import RequestError

CLIENT_LEFT = "499"


class Outcome:
    """`with Outcome(...)`: counts what happens inside and how long it takes."""

    def __init__(self, by_status: Callable[[str], Counter], seconds: Histogram) -> None:
        self._by_status, self._seconds = by_status, seconds
        self._started = time.perf_counter()

    def __enter__(self) -> None:
        """The time began before."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._by_status(status_of(error)).inc()
        self._seconds.observe(time.perf_counter() - self._started)


def status_of(error: BaseException | None) -> str:
    """Of a request that ended so; a caller that left cancels what was done for it."""
    if error is None:
        return "200"
    if isinstance(error, RequestError):
        return str(error.status)
    return "500" if isinstance(error, Exception) else CLIENT_LEFT
