"""What is to be done for a TrainingJob: a pure function of what was observed and the time.

The life of a job is a list of rules, asked in order; the first that applies says what happens next. Every rule writes its
decision into the status, and acts on pods only when the status of the last round already shows the decision: a crash in
between loses nothing and repeats nothing.
"""

from dataclasses import replace
from datetime import datetime

from trainyard.api.reasons import ConditionType, Reason
from trainyard.training.budget import exhausted, seconds_left, used_up, watch_budget
from trainyard.training.case import Case, Rule
from trainyard.training.ending import ended, started_again, succeeded
from trainyard.training.gang import gang
from trainyard.training.in_place import replace_pods
from trainyard.training.making_way import make_way, ran_too_long
from trainyard.training.observed import Observed
from trainyard.training.parent import pin_parent
from trainyard.training.placing import clear_earlier_attempts, mend, without_place
from trainyard.training.recovery import read_back
from trainyard.training.resizing import watch_resize
from trainyard.training.roles import success
from trainyard.training.spares import watch_spares
from trainyard.training.tensorboard import told
from trainyard.training.workload import being_restored, finished
from trainyard.workloads import conditions
from trainyard.workloads.plan import Note, Plan, sooner


def plan_training_job(observed: Observed, now: datetime) -> Plan:
    """The plan of the first rule that applies."""
    case = Case(observed, now)
    plan = told(next(plan for rule in RULES if (plan := rule(case)) is not None), observed)
    left = seconds_left(case)
    return plan if left is None else replace(plan, again=sooner(plan.again, left))


def being_deleted(case: Case) -> Plan | None:
    """The garbage collector deletes the children."""
    return Plan() if case.job.metadata.deletion_timestamp else None


def restored(case: Case) -> Plan | None:
    """What a backup knows of the job is still to be written: nothing is done, and nothing said, before."""
    return Plan() if being_restored(case.job) and not case.observed.pods else None


def over(case: Case) -> Plan | None:
    """Complete or failed: what still runs is stopped, or all pods are deleted; the job goes after its time to live."""
    if not finished(case.job):
        return None
    all_go = case.spec.clean_pod_policy == "All"
    said = Plan() if case.status.observed_generation == case.job.metadata.generation else case.plan()
    if doomed := [pod for pod in case.observed.pods if all_go or not pod.finished]:
        return replace(said, delete=case.stop(doomed))
    if case.spec.ttl_seconds_after_finished is None or case.status.completion_time is None:
        return said
    left = case.spec.ttl_seconds_after_finished - (case.now - case.status.completion_time).total_seconds()
    return replace(said, again=left) if left > 0 else Plan(delete_self=True)


def suspend(case: Case) -> Plan | None:
    """Stop after a checkpoint, then give the place back: since the user says so, or the budget is used up."""
    by_themselves = [pod for pod in case.current if pod.deleting_since is None]
    if case.status.admission is not None and success(case.job, by_themselves) is not None:
        return None  # there is nothing left to stop
    if case.spec.suspend:
        return _suspend(case, Reason.SUSPENDED, "spec.suspend is true")
    if not exhausted(case.job, case.now):
        return None
    case.draft.state(ConditionType.WITHIN_BUDGET, False, Reason.BUDGET_EXHAUSTED, "all of spec.budget is used")
    plan = _suspend(case, Reason.BUDGET_EXHAUSTED, used_up(case.job, case.now))
    if conditions.says(case.status.conditions, ConditionType.WITHIN_BUDGET, Reason.BUDGET_EXHAUSTED):
        return plan
    return replace(plan, notes=(Note(Reason.BUDGET_EXHAUSTED, used_up(case.job, case.now), warning=True),))


def _suspend(case: Case, reason: Reason, why: str) -> Plan:
    active = [pod for pod in case.observed.pods if not pod.finished]
    if active:
        case.draft.suspending(len(active), Reason.STOPPING if case.spec.suspend else reason)
        case.draft.counted(case.current)
        return case.plan(delete=case.stop(active))
    case.take_last_words()
    # A place held means pods that may have run, even if none is left to see: what comes next is another attempt.
    case.draft.suspended(reason, why, had_pods=bool(case.current) or case.status.admission is not None)
    case.draft.counted([])
    return case.plan(
        notes=(Note(reason, "stopped; no resources are held"),) if case.status.phase != "Suspended" else ()
    )


RULES: tuple[Rule, ...] = (
    being_deleted,
    restored,
    over,
    suspend,
    read_back,
    watch_budget,
    pin_parent,
    without_place,
    clear_earlier_attempts,
    succeeded,
    ran_too_long,
    make_way,
    watch_spares,
    watch_resize,
    replace_pods,
    ended,
    mend,
    started_again,
    gang,
)
