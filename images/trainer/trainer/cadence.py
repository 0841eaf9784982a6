"""How far apart checkpoints are where the job says `checkpointEverySteps: auto`: the decision alone, pure.

Seldom checkpoints lose what a restart makes again, frequent ones the time for which training stands still. What loses least together
follows from three measures and from how often the gang is interrupted, which the operator tells. The benchmark `chaos` decides by this.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FIRST_SECONDS: Final = 60.0
"""Of training until the first checkpoint, of which nothing is known yet, and until another try after one that failed."""
LEAST_SECONDS: Final = 60.0
"""What comes back after a restart costs about as much anyway, and a volume is not written to all the time."""
MOST_SECONDS: Final = 3600.0
"""However seldom the gang is said to be interrupted: nobody wants to lose more, whatever the reason."""
MOST_SHARE: Final = 0.1
"""Of the time, that training may stand still for checkpoints."""
ROOM: Final = 1.25
"""So many times what it takes until a checkpoint is durable: the next one would have to wait for it."""
HYSTERESIS: Final = 1.25
"""An interval so near the best loses a fortieth more of a small loss, and stays."""


class Limit(StrEnum):
    """What else decides where Young and Daly's interval does not."""

    NONE = ""
    LEAST = "Least"
    MOST = "Most"
    SHARE = "Share"
    WRITE = "Write"


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds. stall: that training stands still for a checkpoint; write: from its beginning until it is durable; step: of one step."""

    stall: float
    write: float
    step: float


@dataclass(frozen=True, slots=True)
class Cadence:
    """So many steps from one checkpoint to the next, which take so many seconds."""

    steps: int
    seconds: float
    limit: Limit = Limit.NONE


def young_daly(cost: float, mtbf: float) -> float:
    """Seconds of training between two checkpoints that lose least: cost is what one holds training up, mtbf the mean time between faults.

    Source: Daly, A higher order estimate of the optimum checkpoint interval, FGCS 22, 2006, equation 37; its first term is Young's of 1974.
    """
    if cost <= 0 or mtbf <= 0:
        raise ValueError(f"cost={cost}, mtbf={mtbf}: expected both to be more than 0 seconds")
    if cost >= 2 * mtbf:
        return mtbf
    part = cost / (2 * mtbf)
    return math.sqrt(2 * cost * mtbf) * (1 + math.sqrt(part) / 3 + part / 9) - cost


def interval(stall: float, write: float, mtbf: float | None) -> tuple[float, Limit]:
    """Seconds from one checkpoint to the next, and what else than Young and Daly decided. mtbf: None where nobody knows it."""
    best = young_daly(stall, mtbf) if stall > 0 and mtbf else (0.0 if mtbf else math.inf)
    seconds, limit = (MOST_SECONDS, Limit.MOST) if best > MOST_SECONDS else (best, Limit.NONE)
    floors = (
        (LEAST_SECONDS, Limit.LEAST),
        (stall * (1 / MOST_SHARE - 1), Limit.SHARE),
        (write * ROOM, Limit.WRITE),
    )
    least, why = max(floors, key=lambda floor: floor[0])
    return (least, why) if seconds < least else (seconds, limit)


def cadence(measured: Measured, mtbf: float | None, before: Cadence | None = None) -> Cadence:
    """What is to be kept from now on: as before, if that is nearly as good and nothing forbids it."""
    seconds, limit = interval(measured.stall, measured.write, mtbf)
    if before is not None:
        now = before.steps * measured.step
        if now >= measured.write and 1 / HYSTERESIS <= now / seconds <= HYSTERESIS:
            return Cadence(before.steps, now, limit)
    steps = max(1, round(seconds / measured.step))
    return Cadence(steps, steps * measured.step, limit)
