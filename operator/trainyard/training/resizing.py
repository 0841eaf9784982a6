"""An elastic job that gets another size while the pods that stay keep running: nothing is pulled, bound or mounted anew for them.

To grow, pods are added and wait until all of them are there; until then the others train on, and if they do not come nothing is
lost. Then the program stops after a step and a checkpoint of it, and starts with all. To shrink, the last pods are asked to end,
with which all stop in the same way, and the others start again. Pod 0's agent hears the number in the reply to a report
(orders.py). What is not as simple as that (another place, a program of the user's own) restarts all pods instead.
"""

from trainyard.api.names import WORKER
from trainyard.api.reasons import Reason
from trainyard.scheduling.snapshot import Assignment
from trainyard.training.case import Case
from trainyard.training.in_place import restarted_report
from trainyard.training.pods import elastic, processes
from trainyard.training.workload import place_of
from trainyard.workloads.plan import Note, Plan
from trainyard.workloads.pod_state import PodState
from trainyard.workloads.times import BIND_SECONDS


def can_resize(case: Case, place: Assignment) -> bool:
    """Whether the job can go on at this place in the pods that it has."""
    now, status = place_of(case.job), case.status
    if now is None or now.flavor != place.flavor or now.nodes.keys() != place.nodes.keys():
        return False
    old, new = now.nodes[WORKER], place.nodes[WORKER]
    stay = min(len(old), len(new))
    trains = case.report is not None and case.report.body.get("phase") == "training"
    return (
        elastic(case.job)
        and case.spec.storage is not None
        and len(old) != len(new)
        and old[:stay] == new[:stay]
        and all(now.nodes[role] == place.nodes[role] for role in now.nodes if role != WORKER)
        and trains
        and case.ready()
        and not status.replacing
        and status.resizing is None
        and all(pod.running for pod in case.gang)
    )


def watch_resize(case: Case) -> Plan | None:
    """Pods that have no place any more end; a change of size comes to its end, one way or the other."""
    counts = case.job.counts()
    leaving = [pod for pod in case.current if pod.role == WORKER and pod.index >= counts.get(WORKER, 0)]
    if case.status.admission is not None and (asked := [pod for pod in leaving if _stays(pod)]):
        deadline = case.status.preemption.deadline if case.status.preemption else None
        return case.plan(delete=case.stop(asked, deadline), again=0.0)
    if case.status.resizing is None:
        return None
    if case.status.resizing.attempt != case.status.attempt:
        case.draft.set(resizing=None)  # all pods ended meanwhile, and others began
        return None
    if _arrived(case):
        return _ended_well(case)
    trouble = _trouble(case) if case.job.joining() else None
    return _goes_back(case, *trouble) if trouble else None


def next_joiner(case: Case) -> float | None:
    """Seconds until those that join are not waited for any more; None if none do."""
    found = case.status.resizing
    if found is None or not case.job.joining():
        return None
    return max(0.0, case.spec.start_deadline_seconds - (case.now - found.time).total_seconds())


def _all_there(case: Case) -> bool:
    count = case.job.counts()[WORKER]
    there = (pod for pod in case.current if pod.role == WORKER and pod.index < count)
    return sum(pod.running or pod.phase == "Succeeded" for pod in there) == count


def _stays(pod: PodState) -> bool:
    return not pod.finished and pod.deleting_since is None


def _arrived(case: Case) -> bool:
    """Whether the program has begun with the new number."""
    report, found = case.report, case.status.resizing
    if report is None or found is None or report.received <= found.time or not _all_there(case):
        return False
    return bool(report.body.get("worldSize") == case.job.counts()[WORKER] * processes(case.spec.workers.resources))


def _ended_well(case: Case) -> Plan:
    case.draft.set(resizing=None)
    if (found := restarted_report(case)) is not None and not found[0].counts:
        told, end = found
        case.draft.known_round(end, told.round, told.step)
    message = f"{case.job.counts()[WORKER]} workers train together now, in attempt {case.status.attempt} as before"
    return case.plan(notes=(Note(Reason.RESIZED, message),), again=0.0)


def _trouble(case: Case) -> tuple[str, PodState | None] | None:
    """Why those that were to join do not, and the pod that did not come up, if one did not."""
    found = case.status.resizing
    assert found is not None
    joining = [pod for pod in case.current if pod.role == WORKER and not case.is_member(pod.role, pod.index)]
    for pod in joining:
        late = not pod.bound and (case.now - pod.seen).total_seconds() >= BIND_SECONDS
        if pod.finished or pod.deleting_since or late or pod.node in case.observed.lost_nodes:
            why = pod.unschedulable or pod.message or pod.reason or pod.phase
            return f"{pod.name} did not come up ({why})", pod
    if (case.now - found.time).total_seconds() >= case.spec.start_deadline_seconds:
        slow = next((pod for pod in joining if not pod.running), None)
        why = f"{slow.name} is {slow.waiting or slow.phase}" if slow else "they were not taken in"
        return f"not within startDeadlineSeconds={case.spec.start_deadline_seconds}: {why}", None
    return None


def _goes_back(case: Case, why: str, late: PodState | None) -> Plan:
    place, found = place_of(case.job), case.status.resizing
    assert place is not None
    assert found is not None
    before = Assignment(place.flavor, {**place.nodes, WORKER: place.nodes[WORKER][: found.before]})
    case.draft.goes_back(before, case.observed.epoch, late)
    message = (
        f"could not grow to {len(place.nodes[WORKER])} workers: {why}; it goes on with {found.before}, undisturbed"
    )
    return case.plan(notes=(Note(Reason.RESIZED, message, warning=True),), again=0.0)
