"""Pods that stand by: when nodes of workers are lost, the workers are started in the places of spares.

A spare holds a place, an image and a volume, and nothing that training needs to know of. It is used from the last one on, so that
those that are left keep their numbers; one that is used or lost is not replaced until the job is placed anew.
"""

from collections.abc import Collection

from trainyard.api.admission import JobAdmission, compact
from trainyard.api.names import SPARE, WORKER
from trainyard.api.reasons import Reason
from trainyard.training.case import Case
from trainyard.training.workload import lost_of_place
from trainyard.workloads.plan import Note, Plan
from trainyard.workloads.pod_state import PodState

_AGAIN_SECONDS = 60.0
"""How long a spare that ended of its own accord rests before it is started again."""


def stood_in(admission: JobAdmission, lost: Collection[str]) -> JobAdmission | None:
    """The place in which spares have taken the part of workers whose nodes are lost, as far as there are spares; None if there are none."""
    nodes = {role.name: role.nodes() for role in admission.roles}
    spares = [node for node in nodes.get(SPARE, ()) if node not in lost]
    workers = nodes.get(WORKER, [])
    failed = [index for index, node in enumerate(workers) if node in lost]
    if not spares or not failed:
        return None
    for index in failed[: len(spares)]:
        workers[index] = spares.pop()
    return _with_nodes(admission, nodes | {SPARE: spares})


def without(admission: JobAdmission, gone: Collection[int]) -> JobAdmission:
    """The place without some spares, by number. The last ones get their numbers."""
    nodes = {role.name: role.nodes() for role in admission.roles}
    left = nodes[SPARE]
    for index in sorted(gone, reverse=True):
        left[index] = left[-1]
        left.pop()
    return _with_nodes(admission, nodes)


def _with_nodes(admission: JobAdmission, nodes: dict[str, list[str]]) -> JobAdmission:
    return admission.model_copy(update={"roles": [compact(role, names) for role, names in nodes.items() if names]})


def use_spares(case: Case, lost: Collection[str]) -> Plan | None:
    """Workers of lost nodes go where spares stand by."""
    admission = case.status.admission
    found = stood_in(admission, lost) if admission else None
    if found is None:
        return None
    case.draft.set(admission=found)
    left = case.draft.so_far().counts().get(SPARE, 0)
    message = f"workers of lost nodes ({', '.join(sorted(lost)[:3])}) are started where spares stood by; {left} spares are left"
    return case.plan(notes=(Note(Reason.SPARE_USED, message),), again=0.0)


def watch_spares(case: Case) -> Plan | None:
    """Spares on lost nodes give their place back; pods that are spares no more, or have ended, make room for others."""
    admission = case.status.admission
    if admission is None or not case.spec.workers.spares:
        return None
    nodes = next((role.nodes() for role in admission.roles if role.name == SPARE), [])
    lost = lost_of_place(case.observed)
    if gone := {index for index, node in enumerate(nodes) if node in lost}:
        case.draft.set(admission=without(admission, gone))
        names = ", ".join(sorted({nodes[index] for index in gone})[:3])
        message = f"{len(gone)} of {len(nodes)} spares were on lost nodes ({names}); the job goes on, and gets others when it is placed anew"
        return case.plan(notes=(Note(Reason.SPARE_LOST, message, warning=True),), again=0.0)
    spares = [pod for pod in case.current if pod.role == SPARE and pod.deleting_since is None]
    if astray := [pod for pod in spares if pod.index >= len(nodes) or (pod.node and pod.node != nodes[pod.index])]:
        return case.plan(delete=case.stop(astray), again=0.0)
    if ended := [pod for pod in spares if pod.finished and _rested(pod, case) >= _AGAIN_SECONDS]:
        note = Note(Reason.SPARE_LOST, f"{_why(ended[0])}; it is started again", warning=True)
        return case.plan(delete=case.stop(ended), notes=(note,), again=0.0)
    return None


def next_spare(case: Case) -> float | None:
    """Seconds until a spare that ended is started again; None if none did."""
    ended = (pod for pod in case.current if pod.role == SPARE and pod.finished and pod.deleting_since is None)
    return min((max(0.0, _AGAIN_SECONDS - _rested(pod, case)) for pod in ended), default=None)


def _rested(pod: PodState, case: Case) -> float:
    since = (pod.exit and pod.exit.finished_at) or pod.created
    return (case.now - since).total_seconds()


def _why(pod: PodState) -> str:
    how = f"ended with exit code {pod.exit.code}" if pod.exit else f"is gone: {pod.reason} {pod.message}".strip()
    return f"spare {pod.name} {how}"
