"""What a job used of its budget, when its owner is told, and what follows when nothing is left."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests import builders as b
from trainyard.api.reasons import ConditionType, Reason, Waiting
from trainyard.api.training_job import TrainingJob, TrainingJobStatus
from trainyard.training.budget import used_gpu_hours
from trainyard.training.observed import Observed
from trainyard.training.plan import plan_training_job
from trainyard.training.workload import inactive, workload
from trainyard.workloads import conditions
from trainyard.workloads.plan import Plan
from trainyard.workloads.pod_state import PodState

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
POD = PodState("a-worker-0-1", "u", "worker", 0, 1, "n0", "Running", True, BEGIN, started=BEGIN)
PLACE = {
    "epoch": 1,
    "queue": "research",
    "flavor": "h200",
    "time": BEGIN.isoformat(),
    "roles": [{"name": "worker", "prefix": "n0", "runs": [{"node": "", "count": 1}]}],
}


def hours(count: float) -> datetime:
    return BEGIN + timedelta(hours=count)


def a_job(*modifiers: b.Modifier, most: Any = 10, used: float = 0.0, gpus: int = 4) -> TrainingJob:
    """One that holds four GPUs since the beginning, and used some GPU-hours before."""
    stamp = b.meta(uid="01234567-89", generation=1, creationTimestamp=BEGIN.isoformat())
    ledger = {"current": "productive", "since": BEGIN.isoformat(), "gpuHours": used}
    held = b.status(admission=PLACE, ledger=ledger, phase="Running")
    limit = b.spec(budget={"maxGPUHours": most})
    return TrainingJob.model_validate(b.training_job("a", stamp, b.gpus(gpus), held, limit, *modifiers))


def after(job: TrainingJob, plan: Plan) -> TrainingJob:
    """With the status that the plan writes."""
    status = {**job.status.model_dump(by_alias=True, mode="json"), **(plan.status or {})}
    return job.model_copy(update={"status": TrainingJobStatus.model_validate(status)})


def look(job: TrainingJob, now: datetime, pods: tuple[PodState, ...] = (POD,)) -> tuple[TrainingJob, list[Plan]]:
    """As often as there is news."""
    plans = []
    for _ in range(6):
        plans.append(plan_training_job(Observed(job, pods=pods), now))
        if plans[-1].status is None:
            break
        job = after(job, plans[-1])
    return job, plans


def told(plans: list[Plan]) -> list[tuple[str, bool]]:
    """Events that are warnings, or not."""
    return [(note.reason, note.warning) for plan in plans for note in plan.notes]


def reason(job: TrainingJob) -> str:
    found = conditions.find(job.status.conditions, ConditionType.WITHIN_BUDGET)
    return found.reason if found else ""


def test_gpu_hours_are_what_is_held_times_the_time_it_is_held() -> None:
    job = a_job(used=1.5)
    assert used_gpu_hours(job, hours(2)) == 9.5
    waiting = a_job(b.status(admission=None), used=1.5)
    assert used_gpu_hours(waiting, hours(2)) == used_gpu_hours(waiting) == 1.5
    parts = a_job(b.resources(**{"nvidia.com/gpu": "500m"}))
    assert used_gpu_hours(parts, hours(2)) == 1


def test_the_owner_is_warned_once_when_four_fifths_are_used() -> None:
    job, plans = look(a_job(), hours(1.9))
    assert (reason(job), told(plans)) == ("", [("Running", False)])
    job, plans = look(job, hours(2))
    assert (reason(job), told(plans)) == ("BudgetLow", [("BudgetLow", True)])
    found = conditions.find(job.status.conditions, ConditionType.WITHIN_BUDGET)
    assert found is not None
    assert found.status == "True"
    assert found.message.startswith("8.00 of 10 GPU-hours of spec.budget.maxGPUHours are used")
    job, plans = look(job, hours(2.4))
    assert told(plans) == []


@pytest.mark.parametrize(("used", "at", "left"), [(0, 0.5, 5400), (0, 1, 3600), (6, 0.25, 900), (0, 1.9999999, 0.5)])
def test_the_moment_is_found_without_an_event(used: float, at: float, left: float) -> None:
    job, _ = look(a_job(used=used), hours(at))
    assert plan_training_job(Observed(job, pods=(POD,)), hours(at)).again == pytest.approx(left)


def test_a_job_whose_budget_is_used_up_writes_a_checkpoint_gives_its_place_back_and_says_what_helps() -> None:
    job, _ = look(a_job(), hours(2))
    job, plans = look(job, hours(2.5))
    assert (job.status.phase, job.status.reason) == ("Suspending", "BudgetExhausted")
    assert [each.grace_seconds for plan in plans for each in plan.delete][:1] == [None], "as long as the pod asks for"
    assert told(plans) == [("BudgetExhausted", True)]
    job, plans = look(job, hours(2.5), pods=())
    assert (job.status.phase, job.status.reason, job.status.admission) == ("Suspended", "BudgetExhausted", None)
    assert told(plans) == [("BudgetExhausted", False)]
    suspended = conditions.find(job.status.conditions, ConditionType.SUSPENDED)
    assert suspended is not None
    assert suspended.message == (
        "10.00 GPU-hours are used, and spec.budget.maxGPUHours allows 10; raise it and the job goes on from its last checkpoint; no resources are held"
    )
    assert look(job, hours(100), pods=())[1][0].status is None, "it holds nothing, and nothing is used"


def test_it_is_not_offered_to_the_scheduler_until_the_budget_is_raised() -> None:
    job, _ = look(look(a_job(), hours(2.5))[0], hours(2.6), pods=())
    verdict = inactive(job)
    assert verdict is not None
    assert (verdict.reason, "10.40 GPU-hours are used" in verdict.message) == (Waiting.SUSPENDED, True)
    assert workload(Observed(job), hours(3)) is None
    raised = job.model_copy(update={"spec": a_job(most=20).spec})
    assert workload(Observed(raised), hours(3)) is not None
    raised, _ = look(raised, hours(3), pods=())
    assert reason(raised) == "BudgetRaised"


def test_raised_a_little_it_goes_on_and_is_warned_again() -> None:
    job, _ = look(look(a_job(), hours(2.5))[0], hours(2.5), pods=())
    raised = job.model_copy(update={"spec": a_job(most=11).spec})
    raised, plans = look(raised, hours(3), pods=())
    assert (reason(raised), told(plans)) == ("BudgetLow", [("BudgetLow", True)])
    assert inactive(raised) is None


def test_a_budget_that_is_taken_away_or_lowered_counts_at_once() -> None:
    low, _ = look(a_job(), hours(2))
    free = low.model_copy(update={"spec": low.spec.model_copy(update={"budget": None})})
    assert reason(look(free, hours(5))[0]) == "BudgetRaised"
    assert plan_training_job(Observed(free, pods=(POD,)), hours(5)).again != 0.5
    lowered = low.model_copy(update={"spec": a_job(most=5).spec})
    assert look(lowered, hours(2))[0].status.phase == "Suspending"


def test_a_job_that_is_done_is_complete_however_much_it_used() -> None:
    done = replace(POD, phase="Succeeded")
    assert look(a_job(), hours(9), pods=(done,))[0].status.phase == "Complete"
    assert look(a_job(b.suspended()), hours(1), pods=(done,))[0].status.phase == "Complete"
    asked = replace(done, deleting_since=hours(1))
    assert look(a_job(b.suspended()), hours(1), pods=(asked,))[0].status.phase == "Suspended", "it was asked to end"


def test_who_is_suspended_by_hand_is_told_so_first() -> None:
    job, _ = look(look(a_job(b.suspended()), hours(9))[0], hours(9), pods=())
    assert (job.status.phase, job.status.reason) == ("Suspended", Reason.SUSPENDED.value)


@pytest.mark.parametrize("most", [0, -1, "ten", None, 1e12])
def test_a_budget_that_is_none_is_refused(most: Any) -> None:
    with pytest.raises(ValidationError, match="maxGPUHours"):
        a_job(most=most)
