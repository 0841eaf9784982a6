"""Why a job or service waits: its reason and arithmetic, who holds what it needs, its place, when, and what would start it now.

Of a job that has run: what its time was spent on, and who holds it up (`progress`); of a service, why it has so many replicas, and how
the rollout of a changed model goes.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from trainyard.api.answers import Holder, Why
from trainyard.api.inference_service import InferenceService
from trainyard.api.reasons import ConditionType, Reason
from trainyard.api.training_job import TrainingJob
from trainyard.questions.picture import Asked, Picture
from trainyard.questions.progress import told_of
from trainyard.questions.words import shares, who
from trainyard.scheduling.quota import granted
from trainyard.scheduling.remedies import remedies
from trainyard.scheduling.resources import describe
from trainyard.scheduling.running import Running
from trainyard.scheduling.snapshot import Admit, Assignment, Wait, Workload, WorkloadKey
from trainyard.scheduling.whatif import Settled, Settler
from trainyard.training.workload import inactive
from trainyard.workloads import conditions

_MOST_HOLDERS = 10
_WANTS_NONE = "spec.replicas are all placed, or none is wanted"


def why(
    picture: Picture, thing: Asked, hurry: Callable[[], bool] = lambda: False, settler: Settler | None = None
) -> Why:
    """The answer about a job, or about the first replica of a service that waits. hurry: True ends the search for remedies.

    settler: one that answered before, so that this answer costs less.
    """
    answer = _answer(picture, thing, hurry, settler)
    more = told_of(thing, picture) if isinstance(thing, TrainingJob) else _of_service(thing)
    return answer.model_copy(update={**more, "helps": [*_without_queue(picture, answer), *more.get("helps", ())]})


def _without_queue(picture: Picture, answer: Why) -> list[str]:
    """Somebody deleted the queue of what runs: it runs on, and nothing else says so."""
    if not answer.nodes or answer.queue in picture.snapshot.queues:
        return []
    return [
        f"create Queue {answer.queue!r} again: there is none of that name. What runs goes on, but counts against no quota, and a place that is lost is not found anew"
    ]


def _of_service(service: InferenceService) -> dict[str, Any]:
    return {"scaling": service.status.scaling, "rollout": service.status.rollout}


def _answer(picture: Picture, thing: Asked, hurry: Callable[[], bool], settler: Settler | None) -> Why:
    found = picture.workloads_of(thing)
    if not found:
        return _inactive(thing)
    waiting = [each for each in found if each.admission is None]
    if not waiting:
        return _placed(thing, found[0].admission, "Placed")
    settled = (settler or Settler()).settle(picture.snapshot, picture.now)
    workload = next((each for each in waiting if settled.waiting(each.key)), waiting[0])
    decision = settled.decisions.get(workload.key)
    if isinstance(decision, Admit):
        return _placed(thing, decision.assignment, "Starts")
    return _waits(thing, workload, settled, hurry)


def _inactive(thing: Asked) -> Why:
    if isinstance(thing, TrainingJob):
        verdict = inactive(thing)
        reason, message = (verdict.reason.value, verdict.message) if verdict else ("", _WANTS_NONE)
    else:
        ready = conditions.find(thing.status.conditions, ConditionType.READY)
        lacks_model = ready is not None and ready.reason == Reason.MODEL_NOT_READY
        reason, message = (ready.reason, ready.message) if ready and lacks_model else ("", _WANTS_NONE)
    return _about(thing).model_copy(update={"state": "Inactive", "reason": reason, "message": message})


def _about(thing: Asked) -> Why:
    meta = thing.metadata
    return Why(
        kind=thing.kind,
        namespace=meta.namespace,
        name=meta.name,
        queue=thing.spec.queue,
        priority=thing.spec.priority,
        state="Waiting",
        since=thing.since(),
    )


def _placed(thing: Asked, place: Assignment | None, state: str) -> Why:
    assert place is not None
    message = "the next cycle of the scheduler places it" if state == "Starts" else "it has its place"
    return _about(thing).model_copy(
        update={"state": state, "message": message, "flavor": place.flavor, "nodes": shares(place)}
    )


def _waits(thing: Asked, workload: Workload, settled: Settled, hurry: Callable[[], bool]) -> Why:
    decision, engine = settled.waiting(workload.key), settled.engine
    verdict = decision.verdict if decision else engine.nominated.get(workload.key)
    return _about(thing).model_copy(
        update={
            "priority": engine.rules.priority_of(workload),
            "reason": verdict.reason.value if verdict else "",
            "message": verdict.message if verdict else "",
            "position": decision.position if decision else None,
            "waiting": sum(
                isinstance(each, Wait) and _queue(settled, each) == workload.queue
                for each in settled.decisions.values()
            ),
            "eta": thing.status.eta if isinstance(thing, TrainingJob) else None,
            "holders": list(_holders(settled, workload)),
            "remedies": [fix.remedy() for fix in remedies(settled, workload.key, hurry)],
        }
    )


def _queue(settled: Settled, decision: Wait) -> str:
    found = settled.engine.pending.class_of(decision.key)
    return found.queue if found else ""


def _holders(settled: Settled, workload: Workload) -> Iterable[Holder]:
    """Who holds quota or nodes that it could use, most first."""
    engine = settled.engine
    flavors = set(engine.rules.flavors_of(workload))
    asked = {name for each in workload.pods for name, amount in each.requests.items() if amount}
    root = engine.root(workload.queue)
    held: list[tuple[int, WorkloadKey, Running, dict[str, int]]] = []
    for key, each in engine.running.items():
        if each.flavor in flavors and (engine.root(each.workload.queue) == root or _scarce(settled, workload)):
            amounts = {
                name: amount for name, amount in granted(each.workload, each.assignment).items() if name in asked
            }
            if any(amounts.values()):
                held.append((sum(amounts.values()), key, each, amounts))
    held.sort(key=lambda entry: (-entry[0], entry[1]))
    for _, key, each, amounts in held[:_MOST_HOLDERS]:
        yield Holder(
            who=who(key),
            queue=each.workload.queue,
            flavor=each.flavor,
            holds=describe(amounts),
            since=datetime.fromtimestamp(each.began, UTC),
            ends=datetime.fromtimestamp(each.ends, UTC) if each.workload.duration is not None else None,
        )


def _scarce(settled: Settled, workload: Workload) -> bool:
    """Nodes are in the way, not quota: then whoever is on them matters, whatever their queue."""
    waiting = settled.engine.pending.class_of(workload.key)
    return waiting is not None and waiting.refusal is not None and waiting.refusal.of_nodes
