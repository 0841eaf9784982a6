"""The incidents of a job: derived from the status before, the status to be written, and what is known of the attempt.

As with the ledger no rule has to think of it: `Drafting` asks here whenever a status is finished, after the ledger has been told. An
incident opens when a run of the program ends otherwise than well, takes up what the job goes through until the first step of a later
run, and closes with it. It costs no write: it changes only together with what it tells of.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from trainyard.api.failure import Failure, FailureClass
from trainyard.api.incident import MAX_INCIDENTS, Incident, JobIncident, Outcome, Scope
from trainyard.api.ledger import Category, Ledger
from trainyard.api.reasons import ConditionType, Reason
from trainyard.api.training_job import TrainingJob, TrainingJobStatus
from trainyard.training import pods
from trainyard.training.ledger import STOPPING, failure_class
from trainyard.training.ledger_book import OVERHEADS
from trainyard.training.ledger_sight import Sight, run_of
from trainyard.workloads import conditions

_HOUR = 3600.0
_MESSAGE = 256
_NO_LOSS = {OVERHEADS[each] for each in (Category.SAVING, Category.DATA_WAIT)}
"""What training costs without any interruption."""
_SCOPES = tuple(Scope)
_UNPLANNED = {each.value for each in FailureClass} - {FailureClass.PREEMPTED.value}
_OUT_OF_PODS = frozenset({"Restarting", "Failed"})
"""Phases of a job whose agents do not start its program again by themselves."""


def kept(sight: Sight, new: TrainingJobStatus) -> list[Incident]:
    """The incidents that belong to `new`: the list of before, if nothing is to be noted."""
    was = sight.job.status
    *closed, last = was.incidents or (None,)
    if last is not None and last.outcome is not Outcome.OPEN:
        closed, last = [*closed, last], None
    struck = _struck(was, new)
    if last is None and struck is None:
        return was.incidents
    lost = _unproductive(new.ledger) - _unproductive(was.ledger)
    now = replace(sight, job=sight.job.model_copy(update={"status": new}))
    found = [each for each in closed if each is not None]
    if last is not None:
        if _withdrawn(last, was, new):
            return found
        last = _gone_on(last, sight, now, lost)
        lost = 0.0
    if struck is not None and not (last and (last.attempt, last.round) == run_of(was)):
        times = max(1, new.restarts - was.restarts)
        if last is not None and last.cause == struck and last.outcome is Outcome.OPEN:
            last = last.model_copy(update={"times": last.times + times})
        else:
            found += [_closed(last, Outcome.SUPERSEDED, sight.now)] if last else []
            number = found[-1].number + 1 if found else 1
            last = _gone_on(_opened(struck, number, sight, new, times), sight, now, lost)
    if last is not None:
        found.append(_settled(last, now))
    return was.incidents if found == was.incidents else found[-MAX_INCIDENTS:]


def told_apart(job: TrainingJob, incident: Incident) -> JobIncident:
    """The incident for those who look at many jobs."""
    meta = job.metadata
    of = {"namespace": meta.namespace, "job": meta.name, "uid": job.first_uid(), "queue": job.spec.queue}
    return JobIncident(**incident.model_dump(), **of)


def closed_since(before: TrainingJob, after: TrainingJob) -> list[JobIncident]:
    """Incidents that are over, and were not before."""
    over = {each.number for each in before.status.incidents if each.outcome is not Outcome.OPEN}
    new = [each for each in after.status.incidents if each.outcome is not Outcome.OPEN and each.number not in over]
    return [told_apart(after, each) for each in new]


def of_deleted(job: TrainingJob, now: datetime) -> list[JobIncident]:
    """All incidents of a job that somebody deleted; what was open is over."""
    return [
        told_apart(job, _closed(each, Outcome.DELETED, now) if each.outcome is Outcome.OPEN else each)
        for each in job.status.incidents
    ]


def _struck(was: TrainingJobStatus, new: TrainingJobStatus) -> str | None:
    """What ends the run with the new status; None if nothing does, or if the job ends as it should."""
    failure = _fresh(was, new)
    if new.restarts > was.restarts:
        return (failure.kind if failure else FailureClass(failure_class(new))).value
    if new.phase == "Failed" and was.phase != "Failed":
        return failure.kind.value if failure else None
    if new.phase in STOPPING and was.phase not in STOPPING:
        return _planned(new)
    ended = run_of(new) != run_of(was) and was.admission is not None and new.completion_time is None
    return _planned(new) if ended and new.reason != Reason.ATTEMPT_UNDONE else None


def _planned(new: TrainingJobStatus) -> str | None:
    """The reason of a stop. One that has run for as long as it may is at its end."""
    if new.reason == Reason.RUN_TIME_EXCEEDED:
        return None
    return Reason.SUSPENDED.value if new.reason == Reason.STOPPING else new.reason


def _fresh(was: TrainingJobStatus, new: TrainingJobStatus) -> Failure | None:
    return new.last_failure if new.last_failure is not was.last_failure else None


def _opened(cause: str, number: int, sight: Sight, new: TrainingJobStatus, times: int) -> Incident:
    was, job = sight.job.status, sight.job
    attempt, begun = run_of(was)
    failure, in_pods = _fresh(was, new), new.attempt == attempt and new.phase not in _OUT_OF_PODS
    planned = cause not in _UNPLANNED
    happened = (failure.happened if failure else None) or sight.now
    # Programs are started again by their agents, which saw it at once; the operator only hears of it.
    seen = happened if in_pods and not planned else sight.now
    stacks = f"{pods.folder(job)}/stacks/attempt-{attempt}-round-{begun}"
    return Incident(
        number=number,
        attempt=attempt,
        round=begun,
        cause=cause,
        planned=planned,
        message=_message(failure, was, new)[:_MESSAGE],
        pod=pods.pod_name(job, failure.role, failure.index, attempt) if failure else "",
        node=failure.node if failure else "",
        stacks=stacks if cause == FailureClass.HANG and pods.claim_name(job) else "",
        times=times,
        gpus=job.held_gpus(),
        step=_step(sight, new, failure),
        fault_at=min(happened, seen) - timedelta(seconds=_hung(was.ledger, new.ledger)),
        detected_at=seen,
        decided_at=seen,
    )


def _message(failure: Failure | None, was: TrainingJobStatus, new: TrainingJobStatus) -> str:
    if failure is not None:
        return failure.message
    if new.last_restart is not None and new.last_restart is not was.last_restart:
        return new.last_restart.cause
    ready = conditions.find(new.conditions, ConditionType.READY)
    return ready.message if ready else ""


def _step(sight: Sight, new: TrainingJobStatus, failure: Failure | None) -> int | None:
    """The last that anybody told of."""
    if failure is not None and failure.step is not None:
        return failure.step
    told = [sight.step] if sight.heard else []
    return max([*told, *([new.progress.step] if new.progress else [])], default=None)


def _gone_on(incident: Incident, sight: Sight, now: Sight, lost: float) -> Incident:
    """What is known after this status. lost: GPU-seconds that were not productive since the one before."""
    was, new = sight.job.status, now.job.status
    update: dict[str, object] = {"lost_gpu_seconds": round(max(0.0, incident.lost_gpu_seconds + lost), 3)}
    scope = max(incident.scope, _scope(incident, new), key=_SCOPES.index)
    if scope is not incident.scope:
        update["scope"] = scope
    if new.admission is None:
        update["decided_at"] = None
    elif new.admission is not was.admission and new.admission.time > incident.detected_at:
        update["decided_at"] = new.admission.time
    still = (incident.attempt, incident.round) == run_of(was)
    if incident.planned and still and new.progress is not None:
        update["step"] = max(incident.step or 0, new.progress.step)  # it goes on until it has stopped
    runs = new.phase == "Running" and was.phase != "Running" and run_of(new) != (incident.attempt, incident.round)
    if runs and scope is not Scope.PROGRAM:
        began = now.began_at or now.now
        update["replaced_at"] = began if began > incident.detected_at else now.now
    return incident.model_copy(update=update)


def _scope(incident: Incident, new: TrainingJobStatus) -> Scope:
    if new.completion_time is not None:
        return incident.scope
    if new.admission is None:
        return Scope.PLACE
    if new.attempt > incident.attempt:
        return Scope.GANG
    return Scope.PODS if new.phase == "Restarting" else Scope.PROGRAM


def _settled(incident: Incident, now: Sight) -> Incident:
    """Closed, if steps are made again or the job is over."""
    new = now.job.status
    if _works(new) and run_of(new) != (incident.attempt, incident.round):
        first = max(now.first_step() or now.now, incident.detected_at)
        told = {"restored_step": now.restored(), "recovered_at": first}
        return _closed(incident.model_copy(update=told), Outcome.RECOVERED, first)
    if new.completion_time is None:
        return incident
    over = Outcome.FAILED if new.phase == "Failed" else Outcome.COMPLETED
    return _closed(incident, over, new.completion_time)


def _works(status: TrainingJobStatus) -> bool:
    """Whether the run is known to have made a step, or counts as one that does without saying so."""
    ledger = status.ledger
    own = ledger.attempt if ledger else None
    stepped = own is not None and own.stepped and (own.attempt, own.round) == run_of(status)
    return stepped or (ledger is not None and ledger.current is Category.PRODUCTIVE)


def _closed(incident: Incident, outcome: Outcome, at: datetime) -> Incident:
    return incident.model_copy(update={"outcome": outcome, "ended_at": at})


def _withdrawn(incident: Incident, was: TrainingJobStatus, new: TrainingJobStatus) -> bool:
    """Whether a stop that was decided on does not happen after all."""
    same = (incident.attempt, incident.round) == run_of(new) and new.completion_time is None
    return incident.planned and same and was.phase in STOPPING and new.phase not in STOPPING


def _unproductive(ledger: Ledger | None) -> float:
    """GPU-seconds that were held and came to nothing, apart from what training costs anyway."""
    causes = ledger.causes if ledger else []
    return sum(each.gpu_hours for each in causes if each.cause not in _NO_LOSS) * _HOUR


def _hung(before: Ledger | None, after: Ledger | None) -> float:
    """Seconds without a step that are known by now."""
    known = before.seconds.hang if before else 0.0
    return max(0.0, after.seconds.hang - known) if after else 0.0
