"""Whether training still moves: no step for ten times as long as one usually takes is a hang, and so is a process that is stopped.

Judged in the pod, from what rank 0 leaves there and from what the kernel says of its processes, and not from reports: an
operator or a network that is away does not make a job look stuck.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any, Final

from trainer.durable import read_json
from trainer.progress import PROGRESS_FILE
from trainer.stacks import stopped

_TIMES: Final = 10.0
_LEARNED: Final = 5
"""Changes of the step that must have been seen before anything is judged."""
_REMEMBERED: Final = 64
_LOOK_SECONDS: Final = 0.25
STOPPED_SECONDS: Final = 1.0
"""So long may a process be stopped by somebody who looks at it."""


class Pace:
    """Learns how long a step takes. least: seconds of silence that are never a hang."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        self._seen = 0
        self.step = -1
        self.moved_at = 0.0

    def saw(self, step: int, *, training: bool, now: float) -> float | None:
        """Seconds without a step, if that is a hang. training: whether steps are made now, rather than something long."""
        if step != self.step:
            if 0 <= self.step < step:
                self._seconds.append((now - self.moved_at) / (step - self.step))
                self._seen += 1
            self.step, self.moved_at = step, now
        elif not training:
            self.moved_at = now
        silent = now - self.moved_at
        hangs = self._seen >= _LEARNED and silent > max(self._least, _TIMES * self.typical)
        return silent if hangs else None

    @property
    def typical(self) -> float:
        """Seconds of a step, as far as it is known."""
        return median(self._seconds) if self._seconds else 0.0


class Stops:
    """Tells a worker that is stopped from one that was for a moment."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def saw(self, ranks: Iterable[int], now: float) -> bool:
        """Whether one of them is stopped for good. ranks: those that are stopped now."""
        self._since = {rank: self._since.get(rank, now) for rank in ranks}
        return any(now - since >= STOPPED_SECONDS for since in self._since.values())


class Watch:
    """Looks at the program of this pod until another watch takes over."""

    def __init__(self, folder: Path, least: float, on_hang: Callable[[str], None]) -> None:
        """on_hang: called with what was seen, again and again while it lasts."""
        self._folder, self._pace, self._stops, self._on_hang = folder, Pace(least), Stops(), on_hang
        self._every = min(_LOOK_SECONDS, least / 20)
        self._over = threading.Event()
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def end(self) -> None:
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            seen = self._look(time.monotonic())
            if seen is not None and not self._over.is_set():
                self._on_hang(seen)

    def _look(self, now: float) -> str | None:
        """What hangs, in words."""
        if self._stops.saw(stopped(self._folder), now):
            return f"a process has been stopped for {STOPPED_SECONDS:.0f} s"
        said: dict[str, Any] | None = read_json(self._folder / PROGRESS_FILE)
        if said is None:  # only rank 0 writes it
            return None
        silent = self._pace.saw(int(said.get("step") or 0), training=said.get("phase") == "training", now=now)
        if silent is None:
            return None
        return f"no step for {silent:.0f} s after step {self._pace.step}, where one takes {self._pace.typical:.2g} s"
