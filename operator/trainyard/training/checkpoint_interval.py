"""How often a job's checkpoints would lose least, from what they cost it and how often it was interrupted.

The interval is Young's and Daly's: each checkpoint holds training up, and what came after the last one is made again after a failure.
Both are in the status: the ledger has the time that checkpoints took, and each interruption is an incident.
"""

import math
from dataclasses import dataclass
from datetime import datetime

from trainyard.api.training_job import TrainingJob

ENOUGH = 3
"""Fewer interruptions may be chance."""
_WORTH = 2.0
"""An interval within this factor of the best loses hardly more."""


@dataclass(frozen=True, slots=True)
class Advice:
    """Another number of steps between checkpoints. Seconds of training; shares of it that are lost."""

    steps: int
    cost: float
    """How long a checkpoint holds training up."""
    mtbf: float
    """Between two interruptions."""
    now: float
    """Between two checkpoints as it is."""
    lost_now: float
    lost_then: float


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


def advice(job: TrainingJob, now: datetime) -> Advice | None:
    """None where too little is known, or where it is well as it is."""
    status, every = job.status, job.spec.training.checkpoint_every_steps
    ledger, progress = status.ledger, status.progress
    struck = [each for each in status.incidents if not each.planned]
    times = sum(each.times for each in struck)
    if every is None or ledger is None or progress is None or progress.step < every or times < ENOUGH:
        return None
    seconds = ledger.seconds
    trained = seconds.productive + seconds.lost_work
    per_step = seconds.productive / progress.step
    if seconds.saving <= 0 or per_step <= 0:
        return None
    cost = seconds.saving * every * per_step / trained
    began = job.since() or ledger.since
    life = (now - began).total_seconds()
    # Only the last incidents are known: trained as much of the time since the first of them as in all.
    since = life if status.incidents[0].number == 1 else (now - struck[0].fault_at).total_seconds()
    mtbf = max(1.0, since * trained / max(life, trained)) / times
    best = young_daly(cost, mtbf)
    steps, interval = max(1, round(best / per_step)), every * per_step
    if 1 / _WORTH < interval / best < _WORTH:
        return None
    return Advice(steps, cost, mtbf, interval, _lost(cost, mtbf, interval), _lost(cost, mtbf, steps * per_step))


def _lost(cost: float, mtbf: float, every: float) -> float:
    """Share of training: checkpoints, and half an interval with each interruption."""
    return min(1.0, cost / every + every / (2 * mtbf))
