"""A time limit for every request that costs a request almost nothing.

asyncio.timeout sets a timer for each, which took a tenth of the time of a small inference. One watch that looks round
now and then is exact enough for a limit of minutes.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from server.errors import DeadlineExceeded

_LOOKS = 20  # in the time of one limit


class TimeLimit:
    """Cancels what runs longer than `seconds`, at most a twentieth later. `watch` must be running."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: dict[asyncio.Task[object], float] = {}
        self._overdue: set[asyncio.Task[object]] = set()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Bound what the current task does inside. Raises DeadlineExceeded."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit needs a task")
        self._until[task] = asyncio.get_running_loop().time() + self._seconds
        try:
            yield
        except asyncio.CancelledError as error:
            if task in self._overdue and task.uncancel() == 0:
                limit = f"{self._seconds:g} s, which is the server's limit"
                raise DeadlineExceeded(f"the request took longer than {limit}") from error
            raise
        finally:
            self._until.pop(task, None)
            self._overdue.discard(task)

    async def watch(self) -> None:
        """Look round until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._seconds / _LOOKS)
            now = loop.time()
            for task in [task for task, until in self._until.items() if until <= now]:
                del self._until[task]
                self._overdue.add(task)
                task.cancel()
