"""Rules about the place of a TrainingJob: waiting for one, taking it, and keeping it when nodes are lost."""

from dataclasses import replace

from trainyard.api.reasons import Reason, Waiting
from trainyard.scheduling.snapshot import Admit, Preempt, Resize, Wait
from trainyard.training.case import Case
from trainyard.training.in_place import NAMED, onto_other_nodes
from trainyard.training.spares import use_spares
from trainyard.training.starting import storage
from trainyard.training.workload import lost_of_place
from trainyard.workloads.plan import Note, Plan, sooner, still_good
from trainyard.workloads.times import BIND_SECONDS, MEND_SECONDS, REFRESH_SECONDS, forgiven, retell_seconds


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
            create=storage(case),
            notes=(
                Note(Reason.ADMITTED, f"attempt {case.status.attempt} gets {case.job.gpus()} GPUs of flavor {flavor}"),
            ),
        )
    if isinstance(decision, Preempt) and not case.observed.refusal:
        return _nominated(case, decision)
    if not isinstance(decision, Wait):
        return Plan(create=storage(case))  # nothing to say until the scheduler has looked, which is soon
    case.draft.waiting(decision.verdict, decision.position)
    if case.observed.outlook is not None:
        case.draft.set(eta=case.observed.outlook.eta, remedies=list(case.observed.outlook.remedies))
    given_up = case.status.nomination is not None and case.draft.fields["nomination"] is None
    notes = (Note(decision.verdict.reason, "nobody is asked to make way any more"),) if given_up else ()
    again = sooner(forgiven(case.status.avoid, case.now), _estimate_over(case, decision.position))
    return replace(case.plan(create=storage(case), notes=notes, again=again), takes_turn=not given_up)


def _estimate_over(case: Case, position: int) -> float | None:
    """Seconds until the start that was told should have come, so that nobody reads of a time that is past."""
    found = case.observed.outlook.eta if case.observed.outlook else None
    told = case.status.eta if still_good(case.status.eta, found) else found
    return max(retell_seconds(position), (told.likely - case.now).total_seconds()) if told else None


def _nominated(case: Case, decision: Preempt) -> Plan:
    """Others make way: written here first, and only then are they asked."""
    if case.status.nomination is not None:
        return case.plan(create=storage(case), again=REFRESH_SECONDS)
    case.draft.nominated(decision, case.observed.epoch)
    lost = [f"{each.key.namespace}/{each.key.name} ({each.cost:.0f} GPU-seconds)" for each in decision.victims]
    names = ", ".join(lost[:NAMED]) + (f" and {len(lost) - NAMED} more" if len(lost) > NAMED else "")
    message = f"asks to make way within {decision.deadline_seconds:.0f} s: {names}"
    return case.plan(
        create=storage(case), notes=(Note(Waiting.WAITING_FOR_PREEMPTED_WORKLOADS, message),), again=REFRESH_SECONDS
    )


def clear_earlier_attempts(case: Case) -> Plan | None:
    """Pods of an earlier attempt end before new ones start, so that two never train at once."""
    if not case.stale:
        return None
    deadline = case.status.preemption.deadline if case.status.preemption else None
    return case.plan(delete=case.stop(case.stale, deadline), again=BIND_SECONDS)


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
