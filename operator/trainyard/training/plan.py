"""What is to be done for a TrainingJob: a pure function of what was observed and the time.

The life of a job is a list of rules, asked in order; the first that applies says what happens next. Every rule writes its
decision into the status, and acts on pods only when the status of the last round already shows the decision: a crash in
between loses nothing and repeats nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby

from trainyard.api.failure import Failure
from trainyard.api.names import WORKER
from trainyard.api.reasons import ConditionType, Reason, Waiting
from trainyard.api.training_job_spec import Dependency
from trainyard.scheduling.snapshot import Admit, Preempt, Resize, Wait
from trainyard.training import pods as children
from trainyard.training import restart_limit
from trainyard.training.budget import exhausted, seconds_left, used_up, watch_budget
from trainyard.training.case import Case, Rule, alarms
from trainyard.training.failure import Consequence, Ended, how_ended, ignored
from trainyard.training.failure_classes import REPEATING, SAME_FAILURES
from trainyard.training.in_place import NAMED, onto_other_nodes, replace_pods, replacing, restarted_report
from trainyard.training.making_way import left_to_run, make_way, ran_too_long
from trainyard.training.observed import Observed
from trainyard.training.resizing import next_joiner, watch_resize
from trainyard.training.roles import success, waiting_roles
from trainyard.training.spares import next_spare, use_spares, watch_spares
from trainyard.training.straggler_watch import watch_stragglers
from trainyard.training.tensorboard import told
from trainyard.training.workload import finished, lost_of_place
from trainyard.workloads import conditions
from trainyard.workloads.plan import Note, Object, Plan, sooner
from trainyard.workloads.times import BIND_SECONDS, MEND_SECONDS, REFRESH_SECONDS, retell_seconds

SETTLE_SECONDS = 1.0
"""As batch/v1 collects changes of pods for a second before it writes a Job's status."""


def plan_training_job(observed: Observed, now: datetime) -> Plan:
    """The plan of the first rule that applies."""
    case = Case(observed, now)
    plan = told(next(plan for rule in RULES if (plan := rule(case)) is not None), observed)
    left = seconds_left(case)
    return plan if left is None else replace(plan, again=sooner(plan.again, left))


def being_deleted(case: Case) -> Plan | None:
    """The garbage collector deletes the children."""
    return Plan() if case.job.metadata.deletion_timestamp else None


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


def without_place(case: Case) -> Plan | None:
    """Waits, or takes the place that the scheduler decided on."""
    if case.status.admission is not None:
        return None
    decision = case.observed.decision
    if case.stale:
        return case.plan(delete=case.stop(case.stale), again=BIND_SECONDS)
    if isinstance(decision, Admit) and not case.observed.refusal:
        case.draft.admitted(decision.assignment, case.observed.epoch)
        flavor = decision.assignment.flavor
        return case.plan(
            create=_storage(case),
            notes=(
                Note(Reason.ADMITTED, f"attempt {case.status.attempt} gets {case.job.gpus()} GPUs of flavor {flavor}"),
            ),
        )
    if isinstance(decision, Preempt) and not case.observed.refusal:
        return _nominated(case, decision)
    if not isinstance(decision, Wait):
        return Plan(create=_storage(case))  # nothing to say until the scheduler has looked, which is soon
    case.draft.waiting(decision.verdict, decision.position)
    if case.observed.outlook is not None:
        case.draft.set(eta=case.observed.outlook.eta, remedies=list(case.observed.outlook.remedies))
    given_up = case.status.nomination is not None and case.draft.fields["nomination"] is None
    notes = (Note(decision.verdict.reason, "nobody is asked to make way any more"),) if given_up else ()
    # Position and arithmetic change while the reason stays: they are told now and then.
    again = retell_seconds(decision.position)
    return replace(case.plan(create=_storage(case), notes=notes, again=again), takes_turn=not given_up)


def _nominated(case: Case, decision: Preempt) -> Plan:
    """Others make way: written here first, and only then are they asked."""
    if case.status.nomination is not None:
        return case.plan(create=_storage(case), again=REFRESH_SECONDS)
    case.draft.nominated(decision, case.observed.epoch)
    lost = [f"{each.key.namespace}/{each.key.name} ({each.cost:.0f} GPU-seconds)" for each in decision.victims]
    names = ", ".join(lost[:NAMED]) + (f" and {len(lost) - NAMED} more" if len(lost) > NAMED else "")
    message = f"asks to make way within {decision.deadline_seconds:.0f} s: {names}"
    return case.plan(
        create=_storage(case), notes=(Note(Waiting.WAITING_FOR_PREEMPTED_WORKLOADS, message),), again=REFRESH_SECONDS
    )


def clear_earlier_attempts(case: Case) -> Plan | None:
    """Pods of an earlier attempt end before new ones start, so that two never train at once."""
    if not case.stale:
        return None
    deadline = case.status.preemption.deadline if case.status.preemption else None
    return case.plan(delete=case.stop(case.stale, deadline), again=BIND_SECONDS)


def succeeded(case: Case) -> Plan | None:
    """Those are done that matter; what else there is of the gang has nothing left to do and is stopped."""
    if (message := success(case.job, case.current)) is None:
        return None
    case.take_last_words()
    case.draft.counted(case.current)
    case.draft.completed(_all_ran(case), message)
    return case.plan(notes=(Note(Reason.COMPLETED, message),))


def ended(case: Case) -> Plan | None:
    """Something ended the attempt: undo it, restart it, or fail."""
    end = how_ended(case.observed, case.gang) or _vanished(case) or _never_bound(case) or _too_slow(case)
    if end is None:
        return None
    if (plan := replacing(case, end)) is not None:
        return plan
    case.take_last_words()
    note = _conclude(case, end)
    # The pods are stopped in the next round, when the new attempt's number is durable.
    return case.plan(notes=(note,), again=0.0)


def _conclude(case: Case, end: Ended) -> Note:
    case.draft.failed_by(end)
    if end.consequence is Consequence.FAIL:
        case.draft.failed(Reason.TERMINAL_EXIT, end.cause)
        return Note(Reason.TERMINAL_EXIT, end.cause, warning=True)
    if (message := _repeats(case.draft.fields["last_failure"], end)) is not None:
        case.draft.failed(Reason.REPEATED_FAILURE, message, end.node)
        return Note(Reason.REPEATED_FAILURE, message, warning=True)
    if end.consequence is Consequence.UNDO:
        case.draft.undone(end)
        return Note(
            Reason.ATTEMPT_UNDONE,
            f"attempt {case.status.attempt} undone, the place in the queue is kept: {end.cause}",
            warning=True,
        )
    if end.consequence is Consequence.RESTART and restart_limit.restarts_left(case.draft.so_far(), case.now) == 0:
        message = f"{restart_limit.words(case.job)}; last failure: {end.cause}"
        case.draft.failed(Reason.RESTART_LIMIT, message, end.node)
        return Note(Reason.RESTART_LIMIT, message, warning=True)
    case.draft.restarting(end, counts=end.consequence is Consequence.RESTART)
    return Note(
        Reason.RESTARTING,
        f"attempt {case.status.attempt} ended: {end.cause}; restarting from the last checkpoint",
        warning=True,
    )


def _repeats(failure: Failure | None, end: Ended) -> str | None:
    """What is said when the job failed in the same way at the same step too often."""
    if failure is None or end.kind not in REPEATING or failure.times < SAME_FAILURES:
        return None
    return f"failed {failure.times} times in a row in the same way ({failure.kind.value}) after step {failure.step}; a restart does not help: {end.cause}"


def _vanished(case: Case) -> Ended | None:
    """A pod of a gang that ran is not there any more."""
    missing = case.absent()
    if not case.ready():  # being made, apart from the pod that the others waited for
        missing = [each for each in missing if each == (WORKER, 0) and case.draft.round() > 1]
    return (
        Ended(
            Consequence.DISRUPTION,
            f"{children.pod_name(case.job, *missing[0], case.status.attempt)} was deleted by somebody else",
        )
        if missing
        else None
    )


def mend(case: Case) -> Plan | None:
    """The place has lost nodes: other nodes take their part. If there are none soon, the place is given back."""
    admission, lost = case.status.admission, sorted(lost_of_place(case.observed))
    if admission is None or not lost or case.current:
        return None
    if (plan := use_spares(case, lost)) is not None:
        return plan
    decision, names = case.observed.decision, ", ".join(lost[:NAMED])
    if isinstance(decision, Resize):
        return onto_other_nodes(case, decision, lost)
    since = max(admission.time, case.status.last_restart.time if case.status.last_restart else admission.time)
    left = MEND_SECONDS - (case.now - since).total_seconds()
    if left > 0:
        return case.plan(again=left)
    message = f"no other node can take the part of {names} in its place; it is placed anew"
    case.draft.lost_place(message)
    return case.plan(notes=(Note(Reason.NODE_LOST, message, warning=True),), again=0.0)


def started_again(case: Case) -> Plan | None:
    """The agents have started the program again in its pods: count it, and say why."""
    found = restarted_report(case)
    if found is None or case.report is None:
        return None
    told, end = found
    case.draft.failed_by(end, step=told.step)
    case.draft.started_again(end, told.round, told.step)
    case.draft.reported(case.report)
    if (message := _repeats(case.draft.fields["last_failure"], end)) is not None:
        case.draft.failed(Reason.REPEATED_FAILURE, message, end.node)
        return case.plan(notes=(Note(Reason.REPEATED_FAILURE, message, warning=True),), again=0.0)
    message = f"{end.cause}; started again in its pods, for the {told.round - 1}. time in attempt {case.status.attempt}"
    return case.plan(notes=(Note(Reason.RESTARTED_IN_PLACE, message, warning=True),), again=0.0)


def _never_bound(case: Case) -> Ended | None:
    """kube-scheduler could not put a pod where it was decided: somebody else was quicker, or the node changed."""
    late = [
        pod
        for pod in case.gang
        if not pod.bound and not pod.finished and (case.now - pod.created).total_seconds() >= BIND_SECONDS
    ]
    if not late:
        return None
    node = children.node_of(case.job, late[0].role, late[0].index)
    return Ended(
        Consequence.UNDO,
        f"{late[0].name} was not bound to {node} within {BIND_SECONDS:.0f} s: {late[0].unschedulable or 'kube-scheduler gave no reason'}",
        node,
    )


def _too_slow(case: Case) -> Ended | None:
    """No gang holds GPUs while it is incomplete beyond its deadline."""
    admission = case.status.admission
    if admission is None or case.ready() or not case.gang or _run(case) == case.size or _prepares(case):
        return None
    if (case.now - _starting_since(case)).total_seconds() < case.spec.start_deadline_seconds:
        return None
    late = next((pod for pod in case.gang if not pod.running), case.gang[0])
    why = late.waiting or late.message or late.phase
    return Ended(
        Consequence.UNDO,
        f"not every pod ran within startDeadlineSeconds={case.spec.start_deadline_seconds}: {late.name} is {why}",
        late.node,
    )


def _prepares(case: Case) -> bool:
    """Whether all pods run that may, and what is missing waits until some of them have ended, which takes as long as it takes."""
    later = waiting_roles(case.job, case.current)
    works = all(pod.running or pod.phase == "Succeeded" for pod in case.gang)
    return (
        works and any(on.status == "Complete" for on in later.values()) and later.keys() >= dict(case.missing()).keys()
    )


def _starting_since(case: Case) -> datetime:
    """Since when the gang that does not run yet is starting: its place, its newest pod, or a pod's replacement or end."""
    assert case.status.admission is not None
    restart = case.status.last_restart
    replaced = [restart.time] if restart is not None and restart.attempt == case.status.attempt else []
    ended = (pod.exit.finished_at for pod in case.gang if pod.phase == "Succeeded" and pod.exit)
    times = (*(pod.created for pod in case.gang), *replaced, *(time for time in ended if time))
    return max((case.status.admission.time, *times))


def gang(case: Case) -> Plan | None:
    """Create what is missing, watch it start, report how it goes."""
    missing, later = case.missing(), waiting_roles(case.job, case.current)
    case.draft.counted(case.current)
    case.draft.set(preemption=None)  # who made way and went on has done so now
    create = _storage(case)
    if missing and not children.alone(case.job) and not case.observed.service_exists:
        create = (*create, children.service(case.job))
    for role, group in groupby((each for each in missing if each[0] not in later), key=lambda each: each[0]):
        create = (*create, *children.pods_of(case.observed, role, (index for _, index in group)))
    notes: tuple[Note, ...] = ()
    running = _run(case)
    news = False
    if running == case.size and (settling := _settling(case)) > 0:
        return case.plan(create=create, again=settling)
    if running == case.size:
        case.draft.running(_all_ran(case))
        news = not case.ready()
        notes = (
            (Note(Reason.RUNNING, f"attempt {case.status.attempt}: all {running} {case.spec.noun} run"),)
            if news
            else ()
        )
    else:
        case.draft.starting(_how_it_starts(case, missing, later, running))
    if case.report is not None:
        case.draft.reported(case.report)
        notes = (*notes, *_warnings(case))
        if running == case.size:
            notes = (*notes, *watch_stragglers(case))
    # Readers hear that a gang runs; nobody waits for it. Where very many start at once, what ended meanwhile need not be told.
    return replace(case.plan(create=create, notes=notes, again=_when_next(case)), takes_turn=news)


def _warnings(case: Case) -> tuple[Note, ...]:
    """What the trainer wants a person to know is an event once, until a newer checkpoint is made; so is the first that fails."""
    progress = case.draft.fields["progress"]
    if not progress.warning or alarms(case.draft.status()) == alarms(case.status):
        return ()
    return (Note(Reason.WARNING, progress.warning, warning=True),)


def _settling(case: Case) -> float:
    """Seconds until a gang that has just begun to run is said to run: what ends at once costs one status write less."""
    if case.ready() or not any(pod.started for pod in case.gang):
        return 0.0
    return SETTLE_SECONDS - (case.now - _all_ran(case)).total_seconds()


def _run(case: Case) -> int:
    """Pods that run, ran to their end, or failed and are not missed."""
    return sum(pod.running or pod.phase == "Succeeded" or ignored(pod, case.observed) for pod in case.gang)


def _all_ran(case: Case) -> datetime:
    """Since when all pods of the gang run, or ran."""
    return max((pod.started for pod in case.gang if pod.started), default=case.now)


def _how_it_starts(
    case: Case, missing: Sequence[tuple[str, int]], later: Mapping[str, Dependency], running: int
) -> str:
    """What the slowest pods wait for."""
    waits = sorted({pod.waiting or pod.unschedulable for pod in case.gang if not pod.running} - {""})
    text = f"{running} of {case.size} {case.spec.noun} run"
    if created := [each for each in missing if each[0] not in later]:
        text += f", {len(created)} are being created"
    waits = [*(f"{role} waits until all of {on.role} are {on.status}" for role, on in later.items()), *waits]
    return f"{text}; {'; '.join(waits)}"[:1000] if waits else text


def _when_next(case: Case) -> float | None:
    """The next deadline that no event announces."""
    unbound = [
        BIND_SECONDS - (case.now - pod.created).total_seconds()
        for pod in case.gang
        if not pod.bound and not pod.finished
    ]
    deadline = None
    if case.status.admission is not None and not case.ready() and not _prepares(case):
        deadline = case.spec.start_deadline_seconds - (case.now - _starting_since(case)).total_seconds()
    earliest = sooner(*unbound, deadline, left_to_run(case), next_spare(case), next_joiner(case))
    return None if earliest is None else max(0.5, earliest)


def _storage(case: Case) -> tuple[Object, ...]:
    storage = case.spec.storage
    return (children.claim(case.job),) if storage and storage.claim_template and case.observed.claim is None else ()


RULES: tuple[Rule, ...] = (
    being_deleted,
    over,
    suspend,
    watch_budget,
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
