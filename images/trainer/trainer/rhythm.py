"""When the next checkpoint is due where the job says `checkpointEverySteps: auto`: rank 0 measures, decides, and is heard by all.

Nothing is known when the program starts, so the first checkpoint comes a minute after the first step, and is measured. From then on
each one that became durable says how far off the next one is (see cadence.py). The other workers hear at a boundary that one is due,
by a flag among those that are added up there anyway: so all save after the same step, and no operation is added to a step.

How often the gang is interrupted stands in the environment of its pods, and in the operator's answers once that is another thing: after
a change of size, or when more is known. Then what was measured last decides anew.
"""

import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Final, Protocol

from trainer.cadence import FIRST_SECONDS, Cadence, Measured, cadence
from trainer.progress import Reporter
from trainer.saving import Taken

_LATELY: Final = 5
"""Checkpoints by whose median it goes: the first one makes buffers, and a volume is busy now and then."""
_LEAST_STEP: Final = 1e-6
"""Seconds."""


class Checkpoints(Protocol):
    """What is looked at of a Saver."""

    begun: int
    last: Taken | None

    @property
    def under_way(self) -> bool: ...


class Rhythm:
    """Rank 0's. interruption_seconds: from one interruption of the gang to the next, as the operator expected it; None if it did not say."""

    def __init__(
        self,
        saver: Checkpoints,
        interruption_seconds: float | None,
        reporter: Reporter | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cadence: Cadence | None = None
        self._saver, self._mtbf, self._reporter, self._clock = saver, interruption_seconds, reporter, clock
        self._stalls: deque[float] = deque(maxlen=_LATELY)
        self._writes: deque[float] = deque(maxlen=_LATELY)
        self._mark: tuple[int, float] | None = None
        """Step and time from which steps are measured."""
        self._wait_until: float | None = None
        """While that time counts, rather than steps."""
        self._heard: Taken | None = None
        self._measured: Measured | None = None

    def is_due(self, step: int) -> bool:
        """Whether all are to save after this step; asked at each boundary after the first step."""
        now = self._clock()
        if self._mark is None:
            self._mark, self._wait_until = (step, now), now + FIRST_SECONDS
        if self._saver.under_way:
            return False
        if self.cadence is None or self._wait_until is not None:
            return self._wait_until is not None and now >= self._wait_until
        return step - self._saver.begun >= self.cadence.steps

    def hear(self, step: int) -> None:
        """Learn from a checkpoint that has come to its end since the last call, if one has, and from what the operator expects now."""
        expected = self._reporter.interruption_seconds if self._reporter is not None else None
        if expected is not None and expected != self._mtbf:
            self._mtbf = expected
            if self._measured is not None:
                self._decide(self._measured)
        taken, now = self._saver.last, self._clock()
        if taken is None or taken is self._heard or self._mark is None:
            return
        self._heard = taken
        if not taken.durable:
            self._wait_until = now + min(FIRST_SECONDS, self.cadence.seconds if self.cadence else FIRST_SECONDS)
            return
        self._wait_until = None
        self._stalls.append(taken.stood_still)
        self._writes.append(taken.took)
        made, since = step - self._mark[0], now - self._mark[1]
        if made > 0:
            self._mark = (step, now)
            step_seconds = max(_LEAST_STEP, (since - taken.stood_still) / made)
            self._decide(Measured(median(self._stalls), median(self._writes), step_seconds))
        elif self.cadence is None:
            self._wait_until = now + FIRST_SECONDS  # saved after the first step: of steps nothing is known yet

    def _decide(self, measured: Measured) -> None:
        self._measured = measured
        self.cadence = found = cadence(measured, self._mtbf, self.cadence)
        if self._reporter is not None:
            told: dict[str, object] = {
                "everySteps": found.steps,
                "seconds": round(found.seconds, 3),
                "stallSeconds": round(measured.stall, 4),
                "writeSeconds": round(measured.write, 3),
                "limit": found.limit.value,
            }
            if self._mtbf is not None:
                told["interruptionSeconds"] = round(self._mtbf, 1)
            self._reporter.update(checkpointing=told)
