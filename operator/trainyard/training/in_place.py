"""Restarts that keep pods: programs that their agents started again, and one pod replaced while the others wait for it.

The agents of a gang agree on rounds among themselves (images/trainer/trainer/rounds.py); what the operator does is to allow
them so many, to count those that were, and to put a new pod where one cannot come back. Whatever is not simple restarts the
whole gang: a job with roles or with rules of its own, an image without our agent, and the loss of pod 0, which keeps the
rounds and is the only one to commit checkpoints: an old one that still ran could not be told from the new one.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from trainyard.api.failure import FailureClass
from trainyard.api.names import WORKER
from trainyard.api.reasons import Reason
from trainyard.scheduling.snapshot import Resize
from trainyard.training.case import Case
from trainyard.training.failure import STOPPED_ON_REQUEST, Consequence, Ended
from trainyard.training.failure_classes import classify
from trainyard.training.pods import in_place
from trainyard.training.reports import RestartedReport
from trainyard.training.restart_limit import restarts_left
from trainyard.training.spares import use_spares
from trainyard.training.workload import lost_of_place
from trainyard.workloads.plan import Note, Plan
from trainyard.workloads.pod_state import Exit, PodState
from trainyard.workloads.times import BIND_SECONDS, MEND_SECONDS

NAMED = 3
"""Victims, or nodes, that an event names."""


def restarted_report(case: Case) -> tuple[RestartedReport, Ended] | None:
    """The round that the newest report tells of, and what ended the one before; None when that is known."""
    if case.report is None or case.report.body.get("restarted") is None:
        return None
    told = RestartedReport.model_validate(case.report.body["restarted"])
    pod = next((pod for pod in case.current if (pod.role, pod.index) == (WORKER, told.index)), None)
    if pod is None or told.round <= case.draft.round():
        return None
    words = json.dumps({"cause": told.cause})
    when = datetime.fromtimestamp(told.at, UTC) if told.at else None
    failed = replace(pod, phase="Failed", exit=Exit(told.exit_code, "Error", words, when))
    cause = f"{pod.name} ended with exit code {told.exit_code}: {told.cause}"
    if not told.counts:
        kind = FailureClass.PREEMPTED if told.exit_code == STOPPED_ON_REQUEST else FailureClass.INFRASTRUCTURE
        return told, Ended(Consequence.DISRUPTION, cause, pod.node, failed, kind)
    return told, Ended(Consequence.RESTART, cause, pod.node, failed, *classify(failed, case.observed.failure_table))


def replacing(case: Case, end: Ended) -> Plan | None:
    """Decide to replace the pods that are lost rather than all; None where that cannot be."""
    workers = [pod for pod in case.gang if pod.role == WORKER]
    bad = [pod for pod in workers if not pod.running]
    lost = lost_of_place(case.observed)
    bad += [pod for pod in workers if pod.running and pod.node in lost]
    absent = [each for each in case.absent() if each[0] == WORKER]
    if not _can_replace(case, end, bad, absent):
        return None
    names = [f"{pod.role} {pod.index}" for pod in bad] + [f"{role} {index}" for role, index in absent]
    case.draft.failed_by(end)
    case.draft.replacing(end, [pod.uid for pod in bad], counts=end.consequence is Consequence.RESTART)
    message = f"{end.cause}; {', '.join(names[:8])} replaced, the others wait"
    return case.plan(notes=(Note(Reason.POD_REPLACED, message, warning=True),), again=0.0)


def _can_replace(case: Case, end: Ended, bad: Sequence[PodState], absent: Sequence[tuple[str, int]]) -> bool:
    lost = lost_of_place(case.observed)
    return (
        end.consequence in (Consequence.DISRUPTION, Consequence.RESTART)
        and case.ready()
        and in_place(case.job)
        and restarts_left(case.job, case.now) > 0
        and len(bad) + len(absent) < case.job.counts()[WORKER] - case.job.joining()
        and (WORKER, 0) not in {*((pod.role, pod.index) for pod in bad), *absent}
        and all(_died_with_its_agent(pod) or _was_asked_to_end(pod) or pod.node in lost for pod in bad)
        and not (absent and lost)
    )


def _died_with_its_agent(pod: PodState) -> bool:
    """The pod was taken away under its agent, which would have said what happened."""
    if not pod.finished or pod.phase != "Failed":
        return False
    return pod.exit is None or (pod.exit.code != STOPPED_ON_REQUEST and not pod.exit.report)


def _was_asked_to_end(pod: PodState) -> bool:
    """Somebody else takes the pod away in order: the gang has stopped after a checkpoint, and waits for the one in its stead."""
    return pod.deleting_since is not None or (pod.exit is not None and pod.exit.code == STOPPED_ON_REQUEST)


def onto_other_nodes(case: Case, decision: Resize, lost: Collection[str]) -> Plan:
    """Take the nodes that the scheduler found for the part of those that are lost."""
    case.draft.moved(decision.assignment, case.observed.epoch)
    message = f"keeps its place; pods of {len(lost)} lost nodes ({', '.join(sorted(lost)[:NAMED])}) go to others"
    return case.plan(notes=(Note(Reason.NODE_LOST, message),), again=0.0)


def replace_pods(case: Case) -> Plan | None:
    """Take away the pods that are to be replaced, and find other nodes for those whose nodes are lost."""
    if not case.status.replacing:
        return None
    if not any((pod.role, pod.index) == (WORKER, 0) and pod.running for pod in case.current):
        case.draft.set(replacing=[])  # it went too: nobody is left to wait for
        return case.plan(again=0.0)
    there = [pod for pod in case.current if pod.uid in case.status.replacing]
    if there:
        return case.plan(delete=case.stop(there), again=BIND_SECONDS)
    if not (lost := lost_of_place(case.observed)):
        case.draft.set(replacing=[])
        return case.plan(again=0.0)
    if (plan := use_spares(case, lost)) is not None:
        return plan
    if isinstance(case.observed.decision, Resize):
        return onto_other_nodes(case, case.observed.decision, lost)
    restart = case.status.last_restart
    left = MEND_SECONDS - (case.now - restart.time).total_seconds() if restart else 0.0
    if left > 0:
        return case.plan(again=left)
    end = Ended(Consequence.DISRUPTION, f"no other node can take the part of {', '.join(sorted(lost)[:NAMED])}")
    case.draft.set(replacing=[])
    case.draft.restarting(end, counts=False)
    return case.plan(notes=(Note(Reason.RESTARTING, end.cause, warning=True),), again=0.0)
