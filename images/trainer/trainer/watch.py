"""Whether training still moves: no step for ten times as long as one usually takes is a hang.

Judged in the pod, from what rank 0 leaves there, and not from reports: an operator or a network that is away does not make
a job look stuck.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

from trainer.durable import read_json
from trainer.progress import PROGRESS_FILE

_TIMES: Final = 10.0
_LEARNED: Final = 5
"""Changes of the step that must have been seen before anything is judged."""
_REMEMBERED: Final = 64
_LOOK_SECONDS: Final = 1.0


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


class Watch:
    """Looks at a program's progress file until it hangs or another watch takes over."""

    def __init__(self, folder: Path, least: float, on_hang: Callable[[str], None]) -> None:
        """on_hang: called once with what was seen."""
        self._file, self._pace, self._on_hang = folder / PROGRESS_FILE, Pace(least), on_hang
        self._every = min(_LOOK_SECONDS, least / 20)
        self._over = threading.Event()
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def end(self) -> None:
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            said: dict[str, Any] | None = read_json(self._file)
            if said is None:
                continue
            training = said.get("phase") == "training"
            silent = self._pace.saw(int(said.get("step") or 0), training=training, now=time.monotonic())
            if silent is not None and not self._over.is_set():
                typical = self._pace.typical
                self._on_hang(
                    f"no step for {silent:.0f} s after step {self._pace.step}, where one takes {typical:.2g} s"
                )
                return
