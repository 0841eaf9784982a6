"""Who makes way for a replica, and for whom a replica makes way.

Both are written in the status first. From then on the place is kept for the replica and the others are asked; its own is drained.
"""

from datetime import datetime, timedelta

from trainyard.api.admission import compact
from trainyard.api.inference_service import InferenceService, ReplicaAdmission, ReplicaNomination
from trainyard.api.preemption import Preemption, WorkloadReference
from trainyard.api.reasons import Reason, Waiting
from trainyard.inference.observed import Observed
from trainyard.inference.workload import wanted
from trainyard.scheduling.snapshot import Admit, Evict, Preempt, Wait, WorkloadKey
from trainyard.workloads.plan import Note

_MOST = 16
_MOST_VICTIMS = 32


def nominations(observed: Observed, now: datetime) -> tuple[list[ReplicaNomination], list[Note]]:
    """Those that go on, and those that the scheduler has decided on, with an event for each of these."""
    known = {each.serial: each for each in observed.service.status.nominations}
    found, notes = [], []
    for serial in wanted(observed):
        decision, before = observed.decisions.get(serial), known.get(serial)
        if isinstance(decision, Admit) or (before is not None and _given_up(decision)):
            continue
        if before is not None:
            found.append(before)
        elif isinstance(decision, Preempt) and not observed.refusal and len(decision.victims) <= _MOST_VICTIMS:
            found.append(_nomination(serial, decision, observed.epoch, now))
            notes.append(Note(Waiting.WAITING_FOR_PREEMPTED_WORKLOADS, _words(serial, decision)))
    return found[:_MOST], notes[:_MOST]


def leaves(replica: ReplicaAdmission, asked: Evict, now: datetime) -> tuple[ReplicaAdmission, Note]:
    """It finishes its requests and gives its place back, for another workload or since its queue is drained."""
    preemption, who = None, f"queue {asked.drained!r} has stopPolicy HoldAndDrain"
    if asked.by is not None:
        by = _reference(asked.by, asked.by_uid)
        preemption, who = Preemption(by=by, requested_at=now, deadline=asked.deadline), f"makes way for {by}"
    left = replica.model_copy(update={"release": "drain", "drain_started_at": now, "preemption": preemption})
    return left, Note(Reason.PREEMPTED, f"replica {replica.serial} finishes its requests and goes: {who}", warning=True)


def gist(service: InferenceService) -> tuple[int, ...]:
    """What asks somebody to make way."""
    return tuple(each.serial for each in service.status.nominations)


def _given_up(decision: object) -> bool:
    return isinstance(decision, Wait) and decision.verdict.reason is not Waiting.WAITING_FOR_PREEMPTED_WORKLOADS


def _nomination(serial: int, decision: Preempt, epoch: int, now: datetime) -> ReplicaNomination:
    return ReplicaNomination(
        serial=serial,
        epoch=epoch,
        flavor=decision.assignment.flavor,
        time=now,
        deadline=now + timedelta(seconds=decision.deadline_seconds),
        victims=[_reference(each.key, each.uid) for each in decision.victims],
        roles=[compact(role, list(nodes)) for role, nodes in decision.assignment.nodes.items()],
    )


def _reference(key: WorkloadKey, uid: str) -> WorkloadReference:
    kind = "TrainingJob" if key.kind == "TrainingJob" else "InferenceService"
    return WorkloadReference(kind=kind, namespace=key.namespace, name=key.name, uid=uid, serial=key.slot)


def _words(serial: int, decision: Preempt) -> str:
    names = ", ".join(
        f"{each.key.namespace}/{each.key.name} ({each.cost:.0f} GPU-seconds)" for each in decision.victims
    )
    return f"replica {serial} asks to make way within {decision.deadline_seconds:.0f} s: {names}"[:1000]
