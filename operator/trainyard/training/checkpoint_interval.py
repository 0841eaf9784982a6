"""How often a job's checkpoints would lose least, from what they cost it and how often it was interrupted.

The interval is Young's and Daly's: each checkpoint holds training up, and what came after the last one is made again after a failure.
With `checkpointEverySteps: auto` the trainer decides by it (images/trainer, cadence.py) and is told from here how often its gang is
expected to be interrupted. Of a job with a number of its own both are in the status: the ledger has the time that checkpoints took, and
each interruption is an incident.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trainyard.api.failure import FailureClass
from trainyard.api.incident import Incident
from trainyard.api.names import SPARE
from trainyard.api.training_job import Checkpointing, TrainingJob
from trainyard.nodes.interruptions import expected

ENOUGH = 3
"""Fewer interruptions may be chance."""
_WORTH = 2.0
"""An interval within this factor of the best loses hardly more."""
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
_PROGRAMS = {each.value for each in (FailureClass.USER_ERROR, FailureClass.OUT_OF_MEMORY, FailureClass.DATA)}
"""Failures that say nothing of other jobs."""
_LIMITS = {
    "Least": "no more often than once a minute",
    "Most": "at least once an hour",
    "Share": "for checkpoints it stands still a tenth of the time at most",
    "Write": "the next one would have to wait for it",
}


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
    times, trained = _own(job, now)
    if not isinstance(every, int) or ledger is None or progress is None or progress.step < every or times < ENOUGH:
        return None
    seconds = ledger.seconds
    per_step = seconds.productive / progress.step
    if seconds.saving <= 0 or per_step <= 0:
        return None
    cost = seconds.saving * every * per_step / (seconds.productive + seconds.lost_work)
    mtbf = max(1.0, trained) / times
    best = young_daly(cost, mtbf)
    steps, interval = max(1, round(best / per_step)), every * per_step
    if 1 / _WORTH < interval / best < _WORTH:
        return None
    return Advice(steps, cost, mtbf, interval, _lost(cost, mtbf, interval), _lost(cost, mtbf, steps * per_step))


def interruption_seconds(job: TrainingJob, rate: float, weights: Mapping[str, float], now: datetime) -> float:
    """From one unplanned interruption of the job to the next, while it trains where it is.

    rate: expected in an hour of one GPU there. weights: how many times as often a node interrupts; 1 where it is not said.
    """
    admission = job.status.admission
    assert admission is not None
    each = max(1.0, job.gpus() / max(1, job.size()))  # of a pod without a GPU the host can fail all the same
    units = sum(
        each * run.count * weights.get(role.prefix + run.node, 1.0)
        for role in admission.roles
        for run in role.runs
        if role.name != SPARE
    )
    times, trained = _own(job, now)
    return _HOUR / expected(rate * max(1.0, units), trained / _HOUR, times)


def interrupted(before: TrainingJob, after: TrainingJob) -> int:
    """How often the job was interrupted since, by something that might have struck another one."""
    known = {each.number: each.times for each in before.status.incidents if _tells(each)}
    return sum(max(0, each.times - known.get(each.number, 0)) for each in after.status.incidents if _tells(each))


def trained_hours(before: TrainingJob, after: TrainingJob) -> float:
    """Hours of its GPUs, or of its pods where it has none, in which the job trained since."""
    units = max(before.gpus(), before.size())
    return max(0.0, _trained(after) - _trained(before)) * units / _HOUR


def told(report: Mapping[str, Any] | None) -> Checkpointing | None:
    """What a trainer says of how often it saves, with words."""
    if not report:
        return None
    found = Checkpointing(
        every_steps=report["everySteps"],
        seconds=report["seconds"],
        stall_seconds=report["stallSeconds"],
        write_seconds=report["writeSeconds"],
        interruption_seconds=report.get("interruptionSeconds"),
    )
    gang = (
        f"this gang is expected to be interrupted every {_span(found.interruption_seconds)}"
        if found.interruption_seconds
        else "how often this gang is interrupted nobody knows"
    )
    parts = [
        f"every {found.every_steps} steps ({_span(found.seconds)}): a checkpoint holds training up for {_span(found.stall_seconds)}"
    ]
    parts += [f"takes {_span(found.write_seconds)} to be written", gang]
    parts += [limit] if (limit := _LIMITS.get(report.get("limit", ""))) else []
    return found.model_copy(update={"why": ", ".join(parts)})


def _own(job: TrainingJob, now: datetime) -> tuple[int, float]:
    """How often the job was interrupted, unplanned, and in how many seconds of training, as far as the status says."""
    status, ledger = job.status, job.status.ledger
    struck = [each for each in status.incidents if not each.planned]
    trained = _trained(job)
    if ledger is None or not struck:
        return 0, trained
    began = job.since() or ledger.since
    life = (now - began).total_seconds()
    # Only the last incidents are known: trained as much of the time since the first of them as in all.
    since = life if status.incidents[0].number == 1 else (now - struck[0].fault_at).total_seconds()
    return sum(each.times for each in struck), since * trained / max(1.0, life, trained)


def _trained(job: TrainingJob) -> float:
    """Seconds in which steps were made, those that were made again included."""
    ledger = job.status.ledger
    return ledger.seconds.productive + ledger.seconds.lost_work if ledger else 0.0


def _tells(incident: Incident) -> bool:
    return not incident.planned and incident.cause not in _PROGRAMS


def _lost(cost: float, mtbf: float, every: float) -> float:
    """Share of training: checkpoints, and half an interval with each interruption."""
    return min(1.0, cost / every + every / (2 * mtbf))


def _span(seconds: float) -> str:
    """As in 1.3 s, 11 min, 9.1 h, 12 d."""
    for unit, size in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= 2 * size:
            return f"{_short(seconds / size)} {unit}"
    return f"{_short(seconds)} s"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"  # noqa: PLR2004  three digits say no more
