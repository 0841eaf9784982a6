"""What the rules of a TrainingJob share: the job, its pods by attempt, the status being drafted, and the patch that says so."""

import math
from collections.abc import Callable
from datetime import datetime

from trainyard.api.names import SPARE, WORKER
from trainyard.api.reasons import ConditionType
from trainyard.api.training_job import TrainingJobStatus
from trainyard.training.charges import draw_of
from trainyard.training.observed import Observed
from trainyard.training.progress import same_progress
from trainyard.training.status import Draft
from trainyard.workloads import conditions
from trainyard.workloads.plan import Delete, Note, Object, Plan, changed, still_good
from trainyard.workloads.pod_state import PodState


class Case:
    """What the rules share: the job, its pods by attempt, and the status being drafted."""

    def __init__(self, observed: Observed, now: datetime) -> None:
        self.observed, self.job, self.now = observed, observed.job, now
        self.spec, self.status = observed.job.spec, observed.job.status
        self._members = self.job.counts()
        if WORKER in self._members:
            self._members[WORKER] -= self.job.joining()
        self.current = [pod for pod in observed.pods if pod.attempt == self.status.attempt]
        self.stale = [pod for pod in observed.pods if pod.attempt != self.status.attempt and not pod.finished]
        report = observed.report
        self.report = report if report is not None and report.attempt == self.status.attempt else None
        self.gang = [pod for pod in self.current if self.is_member(pod.role, pod.index)]
        """Pods of this attempt for which the others wait: no spares, none that join or leave."""
        draw = draw_of(observed.job, observed.flavors)
        self.draft = Draft(observed.job, now, self.gang, self.report, draw, shares_gpus=observed.shares_gpus)

    def plan(
        self,
        *,
        delete: tuple[Delete, ...] = (),
        create: tuple[Object, ...] = (),
        notes: tuple[Note, ...] = (),
        again: float | None = None,
    ) -> Plan:
        """Status as drafted, if anything in it changed."""
        status, urgent = difference(self.status, self.draft.status())
        return Plan(status=status, urgent=urgent, delete=delete, create=create, notes=notes, again=again)

    @property
    def size(self) -> int:
        """Pods of the gang as it was admitted, apart from spares."""
        return self.job.members()

    def stop(self, pods: list[PodState], deadline: datetime | None = None) -> tuple[Delete, ...]:
        """Asks pods to end, by the deadline if there is one: the trainer writes a checkpoint first.

        Those on lost nodes are deleted without waiting for a kubelet that will not answer.
        """
        lost = self.observed.lost_nodes
        grace = None if deadline is None else max(1, math.ceil((deadline - self.now).total_seconds()))
        gone = [Delete(pod.name, pod.uid, 0) for pod in pods if pod.node in lost]
        return (
            *gone,
            *(Delete(pod.name, pod.uid, grace) for pod in pods if pod.node not in lost and pod.deleting_since is None),
        )

    def ready(self) -> bool:
        found = conditions.find(self.status.conditions, ConditionType.READY)
        return found is not None and found.status == "True"

    def is_member(self, role: str, index: int) -> bool:
        """Whether the others cannot do without the pod: it is no spare, has a place, and was taken in."""
        return role != SPARE and index < self._members.get(role, 0)

    def missing(self) -> list[tuple[str, int]]:
        """Role and index of each pod of the gang that is not there, role by role."""
        there = {(pod.role, pod.index) for pod in self.current}
        counts = self.job.counts()
        return [(role, index) for role in counts for index in range(counts[role]) if (role, index) not in there]

    def absent(self) -> list[tuple[str, int]]:
        """Those of the missing that the others cannot do without."""
        return [each for each in self.missing() if self.is_member(*each)]

    def take_last_words(self) -> None:
        """Take over what the workers said at their end, that of the first last; what they reported just before may say more of a result."""
        if self.report is not None:
            self.draft.durable(self.report.body)
        for pod in sorted((pod for pod in self.current if pod.role == WORKER), key=lambda pod: -pod.index):
            if pod.exit is not None and pod.exit.report:
                self.draft.last_words(pod.exit.report)


Rule = Callable[[Case], Plan | None]
"""What is to be done if the rule applies, else None."""


def difference(old: TrainingJobStatus, new: TrainingJobStatus) -> tuple[dict[str, object] | None, bool]:
    """The patch from `old` to `new`, and whether it is urgent: numbers and messages may wait their turn, transitions may not."""
    differ = {name for name in TrainingJobStatus.model_fields if _differ(getattr(old, name), getattr(new, name))}
    if not differ:
        return None, False
    patch = changed(dump(old, differ), dump(new, differ))
    if "progress" in patch and same_progress(old.progress, new.progress):
        del patch["progress"]
    elif "progress" in patch and old.progress and new.progress:
        # A merge patch keeps what it does not name: a measure that is no longer reported is taken out by name.
        gone = dict.fromkeys(old.progress.metrics.keys() - new.progress.metrics.keys())
        patch["progress"] = {
            **new.progress.model_dump(by_alias=True, mode="json"),
            "metrics": {**gone, **new.progress.metrics},
        }
    if patch.keys() <= {"eta"} and still_good(old.eta, new.eta):
        return None, False
    calm = {
        "eta",
        "remedies",
        "progress",
        "queuePosition",
        "conditions",
        "checkpoint",
        "result",
        "firstStepTime",
        "workers",
        "ledger",
        "incidents",
    }
    urgent = not patch.keys() <= calm or _statements(old) != _statements(new) or alarms(old) != alarms(new)
    return patch, urgent


def alarms(status: TrainingJobStatus) -> tuple[bool, bool]:
    """Whether the trainer's warning stands, and whether checkpoints of its run have failed."""
    progress = status.progress
    return (bool(progress.warning), progress.checkpoint_failures > 0) if progress else (False, False)


def dump(status: TrainingJobStatus, fields: set[str]) -> dict[str, object]:
    return status.model_dump(by_alias=True, mode="json", include=fields)


def _differ(old: object, new: object) -> bool:
    return old is not new and old != new


def _statements(status: TrainingJobStatus) -> set[tuple[str, str, str]]:
    return {(each.type, each.status, each.reason) for each in status.conditions}
