"""Rules of a job that stops or restarts since somebody else decides so: it makes way, is resized, drained, or ran long enough.

Each is two steps. First the status says what is to happen, with a deadline; then the pods are asked to end, write a checkpoint as
they do when a job is suspended, and are killed at the deadline. An operator that starts in between finds the status and goes on.
"""

from dataclasses import replace
from datetime import datetime

from trainyard.api.names import WORKER
from trainyard.api.reasons import ConditionType, Reason
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.snapshot import Assignment, Evict, Resize
from trainyard.training.case import Case
from trainyard.training.failure import Consequence, how_ended
from trainyard.training.resizing import can_resize
from trainyard.training.status import goes_on, stopping
from trainyard.training.workload import lost_of_place, place_of
from trainyard.workloads import conditions
from trainyard.workloads.plan import Note, Plan

_LESS = "spec.workers.replicas is less than before"


def ran_too_long(case: Case) -> Plan | None:
    """Ran as long as spec.maxRunSeconds or that of its queue allows: fails after a checkpoint."""
    left = left_to_run(case)
    if stopping(case.status) is not Reason.RUN_TIME_EXCEEDED:
        if left is None or left > 0:
            return None
        message = f"ran {case.observed.max_run_seconds} s, which is all that spec.maxRunSeconds of the job or of its queue allows"
        case.draft.stopping(Reason.RUN_TIME_EXCEEDED, message)
        return case.plan(
            notes=(Note(Reason.RUN_TIME_EXCEEDED, f"{message}; it stops after a checkpoint", True),), again=0.0
        )
    if (asked := _ask_to_end(case)) is not None:
        return asked
    message = f"ran longer than {case.observed.max_run_seconds} s; its last checkpoint is kept"
    case.draft.failed(Reason.RUN_TIME_EXCEEDED, message)
    return case.plan(notes=(Note(Reason.RUN_TIME_EXCEEDED, message, warning=True),))


def lost_gpu_seconds(job: TrainingJob, now: datetime) -> float:
    """Work since its last checkpoint, or since it got its place, of a job that stops now."""
    status = job.status
    marks = (
        status.start_time,
        status.admission and status.admission.time,
        status.checkpoint and status.checkpoint.time,
    )
    since = max((each for each in marks if each), default=now)
    return float(job.gpus() * (now - since).total_seconds())


def left_to_run(case: Case) -> float | None:
    """Seconds that the job may still run; None without a limit or while it does not run.

    They begin when it is admitted. Another size or other nodes for lost ones are another place, and begin nothing anew.
    """
    admission, began = case.status.admission, case.status.start_time
    if case.observed.max_run_seconds is None or admission is None or began is None or not case.ready():
        return None
    admitted = conditions.find(case.status.conditions, ConditionType.ADMITTED)
    since = admitted.last_transition_time if admitted else admission.time
    return case.observed.max_run_seconds - (case.now - max(began, since)).total_seconds()


def make_way(case: Case) -> Plan | None:
    """Give the place back for another job, or since the queue is drained; or go on with another number of pods."""
    if _failed_by_itself(case):
        return None
    if case.status.preemption is not None and not goes_on(case.status):
        return _given_back(case)
    if stopping(case.status) is Reason.QUEUE_DRAINED:
        return _drained(case)
    if (fewer := _fewer(case)) is not None:
        _resize(case, fewer, _LESS)
        return case.plan(notes=(Note(Reason.RESIZED, _resized(case, _LESS)),), again=0.0)
    decision = case.observed.decision
    if isinstance(decision, Resize) and not lost_of_place(case.observed):
        _resize(case, decision.assignment, "grows into idle capacity")
        return case.plan(notes=(Note(Reason.RESIZED, _resized(case, "grows into idle capacity")),), again=0.0)
    return _begin(case, decision) if isinstance(decision, Evict) else None


def _fewer(case: Case) -> Assignment | None:
    """The place without what an elastic job holds beyond spec.workers.replicas; None if that is nothing."""
    place, most = place_of(case.job), case.spec.workers.replicas
    if place is None or len(place.nodes.get(WORKER, ())) <= most or lost_of_place(case.observed):
        return None
    return replace(place, nodes={**place.nodes, WORKER: place.nodes[WORKER][:most]})


def _begin(case: Case, asked: Evict) -> Plan:
    loses = f"about {asked.cost:.0f} GPU-seconds of work since its last checkpoint are lost"
    if asked.by is None:
        message = f"Queue {asked.drained!r} has stopPolicy HoldAndDrain; {loses}"
        case.draft.stopping(Reason.QUEUE_DRAINED, message)
        return case.plan(notes=(Note(Reason.QUEUE_DRAINED, message),), again=0.0)
    who = f"makes way for {asked.by.kind} {asked.by.namespace}/{asked.by.name}"
    if asked.goes_on is not None:
        _resize(case, asked.goes_on, who)
        case.draft.preempted(asked)
        return case.plan(notes=(Note(Reason.RESIZED, f"{_resized(case, who)}; {loses}"),), again=0.0)
    message = f"{who} by {asked.deadline:%H:%M:%SZ}; {loses}"
    case.draft.preempted(asked)
    case.draft.leaving(message)
    return case.plan(notes=(Note(Reason.PREEMPTED, message, warning=True),), again=0.0)


def _resize(case: Case, place: Assignment, why: str) -> None:
    """In the pods that there are if that can be; else they all end, and others begin from the last checkpoint."""
    if can_resize(case, place):
        case.draft.resizing(place, case.observed.epoch)
    else:
        case.draft.resized(place, case.observed.epoch, why)


def _resized(case: Case, why: str) -> str:
    how = "those that stay keep their pods" if case.draft.fields["resizing"] else "from the last checkpoint"
    return f"{why}: {case.size} pods before, {case.draft.size()} from now on, {how}"


def _given_back(case: Case) -> Plan:
    preemption = case.status.preemption
    assert preemption is not None
    if (asked := _ask_to_end(case)) is not None:
        return asked
    case.draft.made_way(f"made way for {preemption.by}; waits for a place again, where it stood in its queue")
    return case.plan(notes=(Note(Reason.PREEMPTED, f"made way for {preemption.by}; no resources are held"),))


def _drained(case: Case) -> Plan:
    if (asked := _ask_to_end(case)) is not None:
        return asked
    case.draft.drained()
    return case.plan(notes=(Note(Reason.QUEUE_DRAINED, "stopped; no resources are held"),))


def _ask_to_end(case: Case) -> Plan | None:
    """None when all have ended; then their last words are taken over."""
    active = [pod for pod in case.observed.pods if not pod.finished]
    case.draft.counted(case.current)
    if active:
        deadline = case.status.preemption.deadline if case.status.preemption else None
        return case.plan(delete=case.stop(active, deadline))
    case.take_last_words()
    case.draft.counted([])
    return None


def _failed_by_itself(case: Case) -> bool:
    end = how_ended(case.observed, case.gang)
    return end is not None and end.consequence is Consequence.FAIL
