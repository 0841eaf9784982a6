"""Rules about how an attempt ends: what happened, and whether the job is over, starts again or is placed anew."""

from trainyard.api.failure import Failure
from trainyard.api.names import WORKER
from trainyard.api.reasons import Reason
from trainyard.training import pods as children
from trainyard.training import restart_limit
from trainyard.training.case import Case
from trainyard.training.failure import Consequence, Ended, how_ended
from trainyard.training.failure_classes import REPEATING, SAME_FAILURES
from trainyard.training.in_place import replacing, restarted_report
from trainyard.training.roles import success
from trainyard.training.starting import all_ran, pods_that_ran, prepares, starting_since
from trainyard.workloads.plan import Note, Plan
from trainyard.workloads.times import BIND_SECONDS


def succeeded(case: Case) -> Plan | None:
    """Those are done that matter; what else there is of the gang has nothing left to do and is stopped."""
    if (message := success(case.job, case.current)) is None:
        return None
    case.take_last_words()
    case.draft.counted(case.current)
    case.draft.completed(all_ran(case), message)
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
        case.draft.failed(Reason.REPEATED_FAILURE, message, end.blamed)
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
        case.draft.failed(Reason.RESTART_LIMIT, message, end.blamed)
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


def _never_bound(case: Case) -> Ended | None:
    """kube-scheduler could not put a pod where it was decided: somebody else was quicker, or the node changed."""
    late = [
        pod
        for pod in case.gang
        if not pod.bound and not pod.finished and (case.now - pod.seen).total_seconds() >= BIND_SECONDS
    ]
    if not late:
        return None
    node = children.node_of(case.job, late[0].role, late[0].index)
    return Ended(
        Consequence.UNDO,
        f"{late[0].name} was not bound to {node} within {BIND_SECONDS:.0f} s: {late[0].unschedulable or 'kube-scheduler gave no reason'}{case.observed.surroundings.unseen}",
        node,
        blameless=True,
    )


def _too_slow(case: Case) -> Ended | None:
    """No gang holds GPUs while it is incomplete beyond its deadline."""
    admission = case.status.admission
    if admission is None or case.ready() or not case.gang or pods_that_ran(case) == case.size or prepares(case):
        return None
    if (case.now - starting_since(case)).total_seconds() < case.spec.start_deadline_seconds:
        return None
    late = next((pod for pod in case.gang if not pod.running), case.gang[0])
    why = late.waiting or late.message or late.phase
    return Ended(
        Consequence.UNDO,
        f"not every pod ran within startDeadlineSeconds={case.spec.start_deadline_seconds}: {late.name} is {why}",
        late.node,
    )


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
        case.draft.failed(Reason.REPEATED_FAILURE, message, end.blamed)
        return case.plan(notes=(Note(Reason.REPEATED_FAILURE, message, warning=True),), again=0.0)
    message = f"{end.cause}; started again in its pods, for the {told.round - 1}. time in attempt {case.status.attempt}"
    return case.plan(notes=(Note(Reason.RESTARTED_IN_PLACE, message, warning=True),), again=0.0)
