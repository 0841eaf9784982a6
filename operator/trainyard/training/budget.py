"""The budget of a job: what it used of spec.budget, and the rules that warn of its end and keep to it.

GPU-hours stand in the ledger, which closes them whenever a place is taken, changed or given back; the time since is added here.
"""

from datetime import datetime

from trainyard.api.reasons import ConditionType, Reason
from trainyard.api.training_job import TrainingJob
from trainyard.training.case import Case
from trainyard.workloads import conditions
from trainyard.workloads.plan import Note, Plan

LOW = 0.8
"""Share of a budget at which its owner is warned."""
_SOONEST_SECONDS = 0.5
_ROUNDING = 1e-9


def used_gpu_hours(job: TrainingJob, now: datetime | None = None) -> float:
    """GPU-hours that the job used until now. A job that holds no place needs no time: it uses none."""
    ledger = job.status.ledger
    if ledger is None:
        return 0.0
    since = 0.0 if now is None else max(0.0, (now - ledger.since).total_seconds())
    return ledger.gpu_hours + job.held_gpus() * since / 3600


def exhausted(job: TrainingJob, now: datetime | None = None) -> bool:
    """Whether all of its budget is used."""
    budget = job.spec.budget
    return budget is not None and used_gpu_hours(job, now) >= budget.max_gpu_hours - _ROUNDING


def seconds_left(case: Case) -> float | None:
    """Seconds until the owner is to be warned or the job stopped, which no event announces; None if that does not come."""
    budget, gpus = case.spec.budget, case.job.held_gpus()
    if budget is None or gpus <= 0:
        return None
    marks = (budget.max_gpu_hours,) if _told(case) is not None else (LOW * budget.max_gpu_hours, budget.max_gpu_hours)
    used = used_gpu_hours(case.job, case.now)
    return next((max(_SOONEST_SECONDS, (mark - used) * 3600 / gpus) for mark in marks if mark > used), None)


def used_up(job: TrainingJob, now: datetime | None = None) -> str:
    """What is said when nothing is left."""
    assert job.spec.budget is not None
    used, most = used_gpu_hours(job, now), job.spec.budget.max_gpu_hours
    return f"{used:.2f} GPU-hours are used, and spec.budget.maxGPUHours allows {most:g}; raise it and the job goes on from its last checkpoint"


def watch_budget(case: Case) -> Plan | None:
    """Warn once when most of the budget is used; say so when that is no longer true."""
    budget, told = case.spec.budget, _told(case)
    if budget is None and told is None:
        return None
    used = used_gpu_hours(case.job, case.now)
    low = budget is not None and used >= LOW * budget.max_gpu_hours - _ROUNDING
    if (low and told is Reason.BUDGET_LOW) or (not low and told is None):
        return None
    if budget is None or not low:
        message = f"{used:.2f} GPU-hours are used; spec.budget allows more than that"
        case.draft.state(ConditionType.WITHIN_BUDGET, True, Reason.BUDGET_RAISED, message)
        return case.plan(again=0.0)
    message = f"{used:.2f} of {budget.max_gpu_hours:g} GPU-hours of spec.budget.maxGPUHours are used; at the end the job is suspended after a checkpoint"
    case.draft.state(ConditionType.WITHIN_BUDGET, True, Reason.BUDGET_LOW, message)
    return case.plan(notes=(Note(Reason.BUDGET_LOW, message, warning=True),), again=0.0)


def _told(case: Case) -> Reason | None:
    """What was last said of a budget that is nearly or wholly used; None if there is nothing to worry about."""
    said, told = case.status.conditions, (Reason.BUDGET_LOW, Reason.BUDGET_EXHAUSTED)
    return next((each for each in told if conditions.says(said, ConditionType.WITHIN_BUDGET, each)), None)
