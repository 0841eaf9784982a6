"""Where a worker's time goes: seconds by category, from the start of its process, each second counted once."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Final

from trainer.durable import read_json, write_atomically
from trainer.environment import Environment

_FILE: Final = "spent.json"
_STAT: Final = Path("/proc/self/stat")
_START_TIME_FIELD: Final = 19  # of those after the program's name, which may itself have spaces and brackets


class Use(Enum):
    """What time is spent on; the values are the names in a report."""

    LOADING = "loading"
    """All before the first step: imports, data, model, the last checkpoint."""
    PRODUCTIVE = "productive"
    """Steps, with what workers wait for each other in them."""
    DATA_WAIT = "dataWait"
    """Making the batches of a step."""
    SAVING = "saving"
    """Checkpoints and the export, as far as training stands still for them."""
    EVALUATING = "evaluating"
    WAITING = ""
    """For the other workers to start: nobody's doing, and not reported."""


class Spending:
    """Adds up seconds. One thread says what time is spent on; any may ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, already: float = 0.0) -> None:
        """Begin with loading. already: seconds of it that have passed before."""
        self._clock, self._lock = clock, threading.Lock()
        self._seconds = dict.fromkeys(Use, 0.0)
        self._use, self._since = Use.LOADING, clock() - already

    @property
    def use(self) -> Use:
        return self._use

    def turn_to(self, use: Use) -> None:
        """From now on time is spent on this."""
        with self._lock:
            now = self._clock()
            self._seconds[self._use] += now - self._since
            self._use, self._since = use, now

    @contextmanager
    def on(self, use: Use) -> Iterator[None]:
        """Spend time on this, and then on what it was spent on before."""
        before = self._use
        self.turn_to(use)
        try:
            yield
        finally:
            self.turn_to(before)

    def add(self, seconds: Mapping[str, float]) -> None:
        """Count what an earlier process of the same attempt reported; names that are not known are left out."""
        with self._lock:
            for use in Use:
                self._seconds[use] += max(0.0, seconds.get(use.value, 0.0))

    def report(self) -> dict[str, float]:
        """Seconds up to now by category, to the millisecond."""
        with self._lock:
            seconds = dict(self._seconds)
            seconds[self._use] += self._clock() - self._since
        return {use.value: round(spent, 3) for use, spent in seconds.items() if use is not Use.WAITING}


def process_age() -> float:
    """Seconds since the kernel started this process; 0 where it does not say."""
    try:
        fields = _STAT.read_text().rpartition(")")[2].split()
        started = int(fields[_START_TIME_FIELD]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
    except (OSError, ValueError, IndexError):
        return 0.0


def count_on(spending: Spending, environment: Environment) -> Callable[[], dict[str, float]]:
    """What to report of one attempt, though its processes may have to start again in this pod.

    Counts what an earlier process has left in the pod's folder, and leaves there what is reported.
    """
    file, owner = environment.run_directory / _FILE, {"jobUid": environment.job_uid, "attempt": environment.attempt}
    found = read_json(file) or {}
    if found.get("spent") and {name: found.get(name) for name in owner} == owner:
        spending.add(found["spent"])

    def report() -> dict[str, float]:
        spent = spending.report()
        with contextlib.suppress(OSError):  # then the next process begins at 0
            write_atomically(file, json.dumps({**owner, "spent": spent}).encode(), durable=False)
        return spent

    return report
