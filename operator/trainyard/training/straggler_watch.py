"""Who holds the gang up stands in the status, from when it is found until it is over. Written at those moments only."""

from datetime import UTC, datetime

from trainyard.api.names import WORKER
from trainyard.api.reasons import Reason
from trainyard.api.straggler import MAX_STRAGGLERS, Straggler
from trainyard.training.case import Case
from trainyard.training.stragglers import Slow, current, found, over
from trainyard.workloads.plan import Note
from trainyard.workloads.pod_state import PodState


def watch_stragglers(case: Case) -> tuple[Note, ...]:
    """Drafts which workers hold the others up, and returns what is to be said of it. For a gang of which all pods run."""
    known, told = case.status.stragglers, case.report.paces if case.report else ()
    pods = _pod_of_each_rank(case)
    if not pods or not (told or current(known)) or _stages_differ(case):
        return ()
    nodes = [pod.node for pod in pods]
    notes: list[Note] = []
    after: list[Straggler] = []
    for each in known:
        gone = _why_gone(case, each, nodes) if each.until is None else ""
        after.append(each.model_copy(update={"until": case.now}) if gone else each)
        if gone:
            notes.append(Note(Reason.STRAGGLER_GONE, f"{each} {gone}"))
    slow = found(told, nodes)
    if slow is not None and all(slow.node != each.node for each in current(after)):
        new = _named(case, slow, pods[slow.rank])
        after = _with(after, new)
        notes.append(Note(Reason.STRAGGLER_FOUND, _words(new), warning=True))
    if notes:
        case.draft.set(stragglers=after)
    return tuple(notes)


def _pod_of_each_rank(case: Case) -> list[PodState]:
    """Every pod runs equally many processes; empty where that is not so, or while the gang changes its size."""
    if case.status.resizing is not None:
        return []
    ranks = int((case.report.body.get("worldSize") if case.report else None) or 0)
    workers = sorted((pod for pod in case.current if pod.role == WORKER), key=lambda pod: pod.index)
    if not workers or ranks % len(workers):
        return []
    return [pod for pod in workers for _ in range(ranks // len(workers))]


def _stages_differ(case: Case) -> bool:
    """Whether workers have work of different kinds, so that one may take longer without being slow."""
    asked = case.spec.training.parallelism
    return asked is not None and asked.pipeline > 1


def _why_gone(case: Case, straggler: Straggler, nodes: list[str]) -> str:
    here = nodes[straggler.rank] if straggler.rank < len(nodes) else ""
    if here != straggler.node:
        return "was replaced"
    told = case.report.paces if case.report else ()
    return "keeps pace with the others again" if over(told, straggler.node, nodes) else ""


def _named(case: Case, slow: Slow, pod: PodState) -> Straggler:
    return Straggler(
        rank=slow.rank,
        pod=pod.name,
        node=slow.node,
        attempt=case.status.attempt,
        factor=slow.factor,
        since=datetime.fromtimestamp(slow.since, UTC),
    )


def _with(known: list[Straggler], new: Straggler) -> list[Straggler]:
    """A node is named once, and the oldest are forgotten: a job that flaps does not fill its status."""
    others = [each for each in known if each.node != new.node]
    ended = [each for each in others if each.until is not None]
    return [*ended, *current(others), new][-MAX_STRAGGLERS:]


def _words(straggler: Straggler) -> str:
    return f"{straggler} takes {straggler.factor:g} times as long for its part of a step as the others, who wait for it"
