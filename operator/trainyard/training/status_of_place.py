"""What a TrainingJob's status says of its place: waiting for it, having it, changing it, giving it back."""

from datetime import timedelta
from typing import Literal

from trainyard.api.admission import JobAdmission, RoleAssignment, compact
from trainyard.api.names import WORKER
from trainyard.api.preemption import Nomination, Preemption, WorkloadReference
from trainyard.api.reasons import ConditionType, Reason, Waiting
from trainyard.api.training_job import Resizing, WorkerCounts
from trainyard.scheduling.snapshot import Assignment, Evict, Preempt, Verdict, WorkloadKey
from trainyard.training.drafting import Drafting
from trainyard.training.failure import Ended
from trainyard.workloads import conditions
from trainyard.workloads.pod_state import PodState


class OfPlace(Drafting):
    """In the order of a place's life."""

    def waiting(self, verdict: Verdict, position: int | None) -> None:
        kept = verdict.reason is Waiting.WAITING_FOR_PREEMPTED_WORKLOADS
        nomination = self.fields["nomination"] if kept else None
        self.set(
            phase="Pending",
            reason=verdict.reason.value,
            queue_position=position,
            admission=None,
            nomination=nomination,
        )
        self.state(ConditionType.ADMITTED, False, verdict.reason, verdict.message)
        self.state(ConditionType.READY, False, verdict.reason, "waits for a place")

    def nominated(self, decision: Preempt, epoch: int) -> None:
        """Others are to make way: who, and by when. Nobody is asked before this is written."""
        nomination = Nomination(
            epoch=epoch,
            flavor=decision.assignment.flavor,
            time=self.now,
            deadline=self.now + timedelta(seconds=decision.deadline_seconds),
            victims=[_reference(each.key, each.uid) for each in decision.victims],
            roles=_roles(decision.assignment),
        )
        reason = Waiting.WAITING_FOR_PREEMPTED_WORKLOADS
        self.set(phase="Pending", reason=reason.value, nomination=nomination)
        self.state(ConditionType.ADMITTED, False, reason, f"{len(nomination.victims)} workloads are asked to make way")
        self.state(ConditionType.READY, False, reason, "waits for a place")

    def admitted(self, assignment: Assignment, epoch: int) -> None:
        self.set(
            admission=self._admission(assignment, epoch),
            nomination=None,
            eta=None,
            remedies=[],
            phase="Admitted",
            reason=Reason.PODS_STARTING.value,
            queue_position=None,
        )
        self._placed(assignment)
        self.state(ConditionType.READY, False, Reason.PODS_STARTING, "pods are being created")
        self._lifted()

    def moved(self, assignment: Assignment, epoch: int) -> None:
        """Other nodes take the part of lost ones. No pod of this attempt was made yet."""
        self.set(admission=self._admission(assignment, epoch))
        self._placed(assignment)

    def resized(self, assignment: Assignment, epoch: int, why: str) -> None:
        """Goes on at another place, with another number of pods: the old ones end first."""
        self.set(
            admission=self._admission(assignment, epoch),
            attempt=self.fields["attempt"] + 1,
            phase="Restarting",
            reason=Reason.RESIZED.value,
        )
        self._placed(assignment)
        self.state(ConditionType.READY, False, Reason.RESIZED, f"{why}; {self.size()} pods from now on")

    def resizing(self, assignment: Assignment, epoch: int) -> None:
        """Goes on in its pods with another number of them."""
        before = Resizing(attempt=self.fields["attempt"], before=self.job.counts()[WORKER], time=self.now)
        self.set(admission=self._admission(assignment, epoch), resizing=before)

    def goes_back(self, assignment: Assignment, epoch: int, late: PodState | None) -> None:
        """Does not grow after all. late: the pod that did not come up, if one did not."""
        avoid = self._avoiding(late.node, blameless=late.blameless) if late else self._avoiding("")
        self.set(admission=self._admission(assignment, epoch), resizing=None, avoid=avoid)

    def size(self) -> int:
        """Pods of the place that is held."""
        admission = self.fields["admission"]
        return sum(run.count for role in admission.roles for run in role.runs) if admission else 0

    def preempted(self, asked: Evict) -> None:
        """The request is taken on, and counted."""
        assert asked.by is not None
        by = _reference(asked.by, asked.by_uid)
        request = Preemption(by=by, requested_at=self.now, deadline=asked.deadline)
        self.set(preemption=request, preemptions=self.fields["preemptions"] + 1)

    def leaving(self, message: str) -> None:
        self.set(phase="Preempting", reason=Reason.PREEMPTED.value)
        self.state(ConditionType.READY, False, Reason.PREEMPTED, message)

    def made_way(self, message: str) -> None:
        """The place is given back; the job keeps its place in the queue."""
        self._given_back()
        self.set(phase="Pending", reason=Reason.PREEMPTED.value)
        self.state(ConditionType.ADMITTED, False, Reason.PREEMPTED, message)
        self.state(ConditionType.READY, False, Reason.PREEMPTED, "waits for a place")

    def drained(self) -> None:
        """The place is given back until the queue admits jobs again."""
        message = (
            "stopped after a checkpoint since its queue is drained; it goes on when the queue's stopPolicy is None"
        )
        self._given_back()
        self.set(phase="Pending", reason=Waiting.ON_HOLD.value)
        self.state(ConditionType.ADMITTED, False, Waiting.ON_HOLD, message)
        self.state(ConditionType.READY, False, Waiting.ON_HOLD, "waits for a place")

    def came_back(self, attempt: int) -> None:
        """Created anew from a backup: nothing is left of the place, or of the turn to get one."""
        message = "restored from a backup; it goes on from its last checkpoint, if it has one, when it gets a place"
        self.set(phase="Pending", reason=Reason.RESTORED.value, attempt=attempt, workers=WorkerCounts())
        self.set(admission=None, nomination=None, preemption=None, resizing=None, replacing=[])
        self.set(queue_position=None, eta=None, remedies=[])
        self.state(ConditionType.ADMITTED, False, Reason.RESTORED, message)
        self.state(ConditionType.READY, False, Reason.RESTORED, "waits for a place")

    def lost_place(self, message: str) -> None:
        """The place is given back; no pod of this attempt was made in it."""
        self.set(phase="Pending", reason=Reason.NODE_LOST.value, admission=None, preemption=None)
        self.state(ConditionType.ADMITTED, False, Reason.NODE_LOST, message)

    def undone(self, ended: Ended) -> None:
        """The place is given back; the job is placed anew, elsewhere."""
        self.set(
            phase="Pending",
            reason=Reason.ATTEMPT_UNDONE.value,
            admission=None,
            preemption=None,
            attempt=self.fields["attempt"] + 1,
            avoid=self._avoiding(ended.node, blameless=ended.blameless),
        )
        self.state(ConditionType.ADMITTED, False, Reason.ATTEMPT_UNDONE, ended.cause)
        self.state(ConditionType.READY, False, Reason.ATTEMPT_UNDONE, ended.cause)

    def _admission(self, assignment: Assignment, epoch: int) -> JobAdmission:
        queue, flavor = self.job.spec.queue, assignment.flavor
        return JobAdmission(epoch=epoch, queue=queue, flavor=flavor, time=self.now, roles=_roles(assignment))

    def _placed(self, assignment: Assignment) -> None:
        count = sum(len(nodes) for nodes in assignment.nodes.values())
        distinct = len({node for nodes in assignment.nodes.values() for node in nodes})
        message = f"{count} pods on {distinct} nodes of flavor {assignment.flavor}"
        self.state(ConditionType.ADMITTED, True, Reason.ADMITTED, message)

    def _given_back(self) -> None:
        self.set(admission=None, preemption=None, attempt=self.fields["attempt"] + 1)

    def _lifted(self) -> None:
        if conditions.find(self.fields["conditions"], ConditionType.SUSPENDED):
            self.state(ConditionType.SUSPENDED, False, Reason.RESUMED, "nothing suspends the job")


def _roles(assignment: Assignment) -> list[RoleAssignment]:
    return [compact(role, list(nodes)) for role, nodes in assignment.nodes.items()]


def _reference(key: WorkloadKey, uid: str) -> WorkloadReference:
    kind: Literal["TrainingJob", "InferenceService"] = (
        "InferenceService" if key.kind == "InferenceService" else "TrainingJob"
    )
    return WorkloadReference(kind=kind, namespace=key.namespace, name=key.name, uid=uid, serial=key.slot)
