"""What would happen to workloads that do not exist yet: whether they start, where, who makes way, and who moves in the queue."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from trainyard.api.answers import Displaced, Moved, Plan, Planned
from trainyard.questions.words import shares, who
from trainyard.scheduling.remedies import remedies
from trainyard.scheduling.snapshot import Wait, Workload, WorkloadKey
from trainyard.scheduling.whatif import Outcome, Settled, trial


def plan(settled: Settled, added: list[Workload], hurry: Callable[[], bool] = lambda: False) -> Plan:
    """The answer about workloads that come one after the other. hurry: True ends the search for remedies."""
    answers = []
    before = {key: each for key, each in settled.decisions.items() if isinstance(each, Wait)}
    for workload in added:
        outcome = trial(settled, workload)
        after = outcome.waits()
        settled = _then(settled, outcome, workload, after)
        answers.append(_one(settled, outcome, workload, before, after, hurry))
        before = after
    return Plan(workloads=answers)


def _then(settled: Settled, outcome: Outcome, workload: Workload, after: Mapping[WorkloadKey, Wait]) -> Settled:
    """The state in which the next one comes."""
    admitted = outcome.admitted.get(workload.key)
    came = replace(workload, admission=admitted.assignment, started=settled.now) if admitted else workload
    snapshot = replace(settled.snapshot, workloads=(*settled.snapshot.workloads, came))
    return Settled(snapshot, outcome.engine, settled.now, {**outcome.admitted, **after})


def _one(
    settled: Settled,
    outcome: Outcome,
    workload: Workload,
    before: Mapping[WorkloadKey, Wait],
    after: Mapping[WorkloadKey, Wait],
    hurry: Callable[[], bool],
) -> Planned:
    key, queue = workload.key, workload.queue
    name = f"{key.name} (replica {key.slot})" if key.kind == "InferenceService" else key.name
    answer = Planned(kind=key.kind, namespace=key.namespace, name=name, queue=queue, starts=False)
    update: dict[str, object] = {"moved": _moved(before, after)}
    admitted, waits, preempts = outcome.admitted.get(key), after.get(key), outcome.preempting.get(key)
    if admitted is not None:
        update |= {"starts": True, "flavor": admitted.assignment.flavor, "nodes": shares(admitted.assignment)}
    elif preempts is not None:
        victims = [
            Displaced(who=who(each.key), cost=each.cost, goes_on=each.goes_on is not None) for each in preempts.victims
        ]
        update |= {"flavor": preempts.assignment.flavor, "nodes": shares(preempts.assignment), "victims": victims}
    if admitted is None and waits is not None:
        update |= {
            "reason": waits.verdict.reason.value,
            "message": waits.verdict.message,
            "position": waits.position,
            "waiting": len(_line(settled, queue)),
            "remedies": [fix.remedy() for fix in remedies(settled, key, hurry)],
        }
    return answer.model_copy(update=update)


def _line(settled: Settled, queue: str) -> list[WorkloadKey]:
    classes = settled.engine.pending.by_queue().get(queue, [])
    return [key for each in classes for key in each.members]


def _moved(before: Mapping[WorkloadKey, Wait], after: Mapping[WorkloadKey, Wait]) -> list[Moved]:
    pairs = ((key, before[key].position, each.position) for key, each in after.items() if key in before)
    return [Moved(who=who(key), before=was, after=now) for key, was, now in sorted(pairs) if was != now]
