"""A status of a TrainingJob that somebody emptied: its place is read back from the pods, which nobody stops."""

from trainyard.api.names import SPARE, WORKER
from trainyard.api.reasons import Reason
from trainyard.scheduling.snapshot import Assignment
from trainyard.training.case import Case
from trainyard.workloads.plan import Note, Plan
from trainyard.workloads.understood import says_nothing


def read_back(case: Case) -> Plan | None:
    """A gang that is whole is where its pods are. Of any other the pods end, and another attempt, of a number that no pod has, gets a place."""
    if case.status.admission is not None or not case.observed.pods or not says_nothing(case.status):
        return None
    newest = max(case.status.attempt, *(pod.attempt for pod in case.observed.pods))
    assignment = _place(case, newest)
    if assignment is None:
        case.draft.set(attempt=newest + 1)
        return case.plan(again=0.0)
    case.draft.set(attempt=newest)
    case.draft.admitted(assignment, case.observed.epoch)
    count = sum(map(len, assignment.nodes.values()))
    return case.plan(
        notes=(Note(Reason.ADMITTED, f"attempt {newest} is known again from its {count} pods"),), again=0.0
    )


def _place(case: Case, attempt: int) -> Assignment | None:
    pods = [
        pod
        for pod in case.observed.pods
        if pod.attempt == attempt and pod.bound and pod.flavor and not pod.deleting_since
    ]
    counts, least = case.job.counts(), case.spec.workers.min_replicas if case.spec.workers else None
    nodes: dict[str, tuple[str, ...]] = {}
    for role, count in counts.items():
        mine = sorted((pod for pod in pods if pod.role == role), key=lambda pod: pod.index)
        if role == SPARE:
            # One that was used up, or rests, is missing; the gang is whole without it.
            mine = [pod for place, pod in enumerate(mine[:count]) if pod.index == place]
            if mine:
                nodes[role] = tuple(pod.node for pod in mine)
            continue
        fewest = least if role == WORKER and least is not None else count
        if [pod.index for pod in mine] != list(range(len(mine))) or not fewest <= len(mine) <= count:
            return None
        nodes[role] = tuple(pod.node for pod in mine)
    return Assignment(pods[0].flavor, nodes) if pods else None
