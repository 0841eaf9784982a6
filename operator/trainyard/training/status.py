"""The status of a TrainingJob as a value that rules transform: each function returns the status with one thing said."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

from trainyard.api.admission import AvoidedNode, JobAdmission, RoleAssignment, compact
from trainyard.api.names import WORKER
from trainyard.api.preemption import Nomination, Preemption, WorkloadReference
from trainyard.api.reasons import ConditionType, Reason, Waiting
from trainyard.api.training_job import (
    Checkpoint,
    Progress,
    Resizing,
    Restarted,
    Result,
    TrainingJob,
    TrainingJobStatus,
    WorkerCounts,
)
from trainyard.scheduling.snapshot import Assignment, Evict, Preempt, Verdict, WorkloadKey
from trainyard.training.failure import Consequence, Ended, recorded
from trainyard.training.ledger import advanced
from trainyard.training.ledger_sight import Sight
from trainyard.training.observed import Report
from trainyard.training.pods import claim_name
from trainyard.training.reports import parse_last_words
from trainyard.training.restart_limit import remembered
from trainyard.training.stragglers import closed, outlived
from trainyard.workloads import conditions
from trainyard.workloads.pod_state import PodState
from trainyard.workloads.times import AVOID_SECONDS

_LONGEST_ETA = 366 * 86_400.0
_STOPS = (Reason.QUEUE_DRAINED, Reason.RUN_TIME_EXCEEDED)


def stopping(status: TrainingJobStatus) -> Reason | None:
    """Why a job that holds a place is being stopped, apart from a preemption; None if it is not."""
    found = conditions.find(status.conditions, ConditionType.READY)
    if found is None or status.admission is None:
        return None
    return next((each for each in _STOPS if found.reason == each), None)


def goes_on(status: TrainingJobStatus) -> bool:
    """Whether a job that makes way has its smaller or other place already."""
    preemption, admission = status.preemption, status.admission
    return preemption is not None and admission is not None and admission.time >= preemption.requested_at


class Draft:
    """A status being written: starts as the last one, ends as the next."""

    def __init__(
        self, job: TrainingJob, now: datetime, pods: Sequence[PodState] = (), report: Report | None = None
    ) -> None:
        """pods, report: of the current attempt, for the ledger."""
        self.job = job
        self.now = now
        self._sight = Sight(job, now, tuple(pods), *((report.body, report.received) if report else ()))
        self.fields: dict[str, Any] = {name: getattr(job.status, name) for name in TrainingJobStatus.model_fields}
        self.set(observed_generation=job.metadata.generation, gpus=job.gpus())

    def set(self, **fields: Any) -> None:
        self.fields.update(fields)

    def state(self, kind: ConditionType, value: bool, reason: str, message: str) -> None:
        known = conditions.state(
            self.fields["conditions"],
            kind,
            value,
            reason,
            message,
            now=self.now,
            generation=self.job.metadata.generation,
        )
        self.set(conditions=known)

    def status(self) -> TrainingJobStatus:
        """The status as far as it is drafted, with the ledger that belongs to it."""
        drafted = self.job.status.model_copy(update=self.fields)
        if outlived(drafted):
            drafted = drafted.model_copy(update={"stragglers": closed(drafted.stragglers, self.now)})
        news = not same_progress(self.job.status.progress, drafted.progress)
        ledger = advanced(self._sight, drafted, news=news)
        if ledger is drafted.ledger:
            return drafted
        return drafted.model_copy(update={"ledger": ledger})

    def so_far(self) -> TrainingJob:
        """The job with the status as far as it is drafted, apart from the ledger."""
        return self.job.model_copy(update={"status": self.job.status.model_copy(update=self.fields)})

    # What can be said, in the order of a job's life.

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

    def _admission(self, assignment: Assignment, epoch: int) -> JobAdmission:
        queue, flavor = self.job.spec.queue, assignment.flavor
        return JobAdmission(epoch=epoch, queue=queue, flavor=flavor, time=self.now, roles=_roles(assignment))

    def _placed(self, assignment: Assignment) -> None:
        count = sum(len(nodes) for nodes in assignment.nodes.values())
        distinct = len({node for nodes in assignment.nodes.values() for node in nodes})
        message = f"{count} pods on {distinct} nodes of flavor {assignment.flavor}"
        self.state(ConditionType.ADMITTED, True, Reason.ADMITTED, message)

    def size(self) -> int:
        """Pods of the place that is held."""
        admission = self.fields["admission"]
        return sum(run.count for role in admission.roles for run in role.runs) if admission else 0

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

    def goes_back(self, assignment: Assignment, epoch: int, node: str) -> None:
        """Does not grow after all. node: the one that may be at fault; empty if none is."""
        self.set(admission=self._admission(assignment, epoch), resizing=None, avoid=self._avoiding(node))

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

    def stopping(self, reason: Reason, message: str) -> None:
        """Pods will be asked to write a checkpoint and end."""
        self.set(phase="Suspending", reason=reason.value)
        self.state(ConditionType.READY, False, reason, message)

    def drained(self) -> None:
        """The place is given back until the queue admits jobs again."""
        message = (
            "stopped after a checkpoint since its queue is drained; it goes on when the queue's stopPolicy is None"
        )
        self._given_back()
        self.set(phase="Pending", reason=Waiting.ON_HOLD.value)
        self.state(ConditionType.ADMITTED, False, Waiting.ON_HOLD, message)
        self.state(ConditionType.READY, False, Waiting.ON_HOLD, "waits for a place")

    def _given_back(self) -> None:
        self.set(admission=None, preemption=None, attempt=self.fields["attempt"] + 1)

    def _lifted(self) -> None:
        if conditions.find(self.fields["conditions"], ConditionType.SUSPENDED):
            self.state(ConditionType.SUSPENDED, False, Reason.RESUMED, "nothing suspends the job")

    def counted(self, pods: Iterable[PodState]) -> None:
        found = list(pods)
        counts = WorkerCounts(
            active=sum(not pod.finished for pod in found),
            ready=sum(pod.running and pod.ready for pod in found),
            succeeded=sum(pod.phase == "Succeeded" for pod in found),
        )
        self.set(workers=counts)

    def starting(self, message: str) -> None:
        self.set(phase="Admitted", reason=Reason.PODS_STARTING.value)
        self.state(ConditionType.READY, False, Reason.PODS_STARTING, message)

    def running(self, since: datetime) -> None:
        self.set(phase="Running", reason=Reason.RUNNING.value, start_time=self.fields["start_time"] or since)
        self.state(ConditionType.READY, True, Reason.RUNNING, f"all {self.job.members()} {self.job.spec.noun} run")

    def undone(self, ended: Ended) -> None:
        """The place is given back; the job is placed anew, elsewhere."""
        self.set(
            phase="Pending",
            reason=Reason.ATTEMPT_UNDONE.value,
            admission=None,
            preemption=None,
            attempt=self.fields["attempt"] + 1,
            avoid=self._avoiding(ended.node),
        )
        self.state(ConditionType.ADMITTED, False, Reason.ATTEMPT_UNDONE, ended.cause)
        self.state(ConditionType.READY, False, Reason.ATTEMPT_UNDONE, ended.cause)

    def moved(self, assignment: Assignment, epoch: int) -> None:
        """Other nodes take the part of lost ones. No pod of this attempt was made yet."""
        self.set(admission=self._admission(assignment, epoch))
        self._placed(assignment)

    def lost_place(self, message: str) -> None:
        """The place is given back; no pod of this attempt was made in it."""
        self.set(phase="Pending", reason=Reason.NODE_LOST.value, admission=None, preemption=None)
        self.state(ConditionType.ADMITTED, False, Reason.NODE_LOST, message)

    def failed_by(self, ended: Ended, step: int | None = None) -> None:
        """Keep which pod failed first, and as what. step: the last before it, if more is known than what the status shows."""
        progress: Progress | None = self.fields["progress"]
        step = progress.step if step is None and progress else step
        before = self.fields["last_failure"]
        self.set(last_failure=recorded(ended, before, attempt=self.fields["attempt"], step=step, now=self.now))

    def round(self) -> int:
        """Which start of the program in the pods of this attempt is known, from 1."""
        last: Restarted | None = self.fields["last_restart"]
        return last.round if last is not None and last.round and last.attempt == self.fields["attempt"] else 1

    def started_again(self, ended: Ended, round_: int, step: int | None) -> None:
        """The agents have started the program again in its pods."""
        self._restarted(round_ - self.round(), counts=ended.consequence is Consequence.RESTART)
        self.set(last_restart=self._kept(ended, round_, step))

    def known_round(self, ended: Ended, round_: int, step: int | None) -> None:
        """The program was started again in its pods, which is no failure."""
        self.set(last_restart=self._kept(ended, round_, step))

    def replacing(self, ended: Ended, uids: list[str], *, counts: bool) -> None:
        """Some pods are replaced; the others start their programs again when the new ones are there."""
        self.set(
            phase="Restarting",
            reason=Reason.RESTARTING.value,
            last_restart=self._kept(ended, self.round() + 1, None),
            replacing=uids,
        )
        self._restarted(1, counts=counts)
        self.state(ConditionType.READY, False, Reason.RESTARTING, ended.cause)

    def _kept(self, ended: Ended, round_: int, step: int | None) -> Restarted:
        progress, attempt = self.fields["progress"], self.fields["attempt"]
        step = progress.step if step is None and progress else step
        return Restarted(attempt=attempt, round=round_, cause=ended.cause[:1024], time=self.now, step=step)

    def restarting(self, ended: Ended, *, counts: bool) -> None:
        progress = self.fields["progress"]
        restarted = Restarted(
            attempt=self.fields["attempt"],
            cause=ended.cause[:1024],
            time=self.now,
            step=progress.step if progress else None,
            node=ended.node if counts else "",
        )
        self.set(
            phase="Restarting",
            reason=Reason.RESTARTING.value,
            attempt=self.fields["attempt"] + 1,
            last_restart=restarted,
        )
        self._restarted(1, counts=counts)
        self.state(ConditionType.READY, False, Reason.RESTARTING, ended.cause)

    def _restarted(self, times: int, *, counts: bool = True) -> None:
        """Count restarts: all of them, and those that were not the program's fault, or when the others were."""
        spec, counted = self.job.spec.restart, self.fields["counted_restarts"]
        self.set(restarts=self.fields["restarts"] + times)
        if counts:
            self.set(counted_restarts=remembered(spec, counted, self.now, times))
        else:
            self.set(disruptions=self.fields["disruptions"] + times)

    def suspending(self, left: int, reason: Reason) -> None:
        self.set(phase="Suspending", reason=reason.value)
        self.state(ConditionType.READY, False, reason, f"{left} pods write a checkpoint and end")

    def suspended(self, reason: Reason, why: str, *, had_pods: bool) -> None:
        attempt = self.fields["attempt"] + (1 if had_pods else 0)
        self.set(
            phase="Suspended",
            reason=reason.value,
            admission=None,
            nomination=None,
            eta=None,
            remedies=[],
            preemption=None,
            queue_position=None,
            attempt=attempt,
        )
        self.state(ConditionType.SUSPENDED, True, reason, f"{why}; no resources are held")
        self.state(ConditionType.ADMITTED, False, reason, why)
        self.state(ConditionType.READY, False, reason, why)

    def failed(self, reason: Reason, message: str, node: str = "") -> None:
        """node: where its last failure was, which may speak against the node."""
        avoid = self._avoiding(node)
        self.set(phase="Failed", reason=reason.value, preemption=None, completion_time=self.now, avoid=avoid)
        self.state(ConditionType.FAILED, True, reason, message)
        self.state(ConditionType.READY, False, reason, message)

    def completed(self, started: datetime, message: str) -> None:
        self.set(
            phase="Complete",
            preemption=None,
            reason=Reason.COMPLETED.value,
            completion_time=self.now,
            start_time=self.fields["start_time"] or started,
        )
        self.state(ConditionType.COMPLETE, True, Reason.COMPLETED, message)
        self.state(ConditionType.READY, False, Reason.COMPLETED, "training is over")

    def reported(self, report: Report) -> None:
        """Take over what rank 0 said."""
        progress = _progress(report.body, self.fields["progress"], self.now)
        if self._goes_on_saving(report.body):
            progress = progress.model_copy(update={"warning": ""})
        self.set(progress=progress)
        self._durable(report.body)

    def _goes_on_saving(self, body: Mapping[str, Any]) -> bool:
        """Whether a newer checkpoint than before was made, and nothing is wrong now."""
        known, told = self.fields["checkpoint"], body.get("checkpoint") or {}
        return not body.get("warning") and known is not None and int(told.get("step", 0)) > known.step

    def last_words(self, body: Mapping[str, Any]) -> None:
        """Take over a worker's termination message: it is there even when reports were missed."""
        body = parse_last_words(body)
        said = {name: value for name, value in body.items() if value is not None}
        self._sight = replace(self._sight, said={**self._sight.said, **said}, said_at=self.now)
        self._rounds_told(body.get("restarted"))
        if "step" in body:
            self.set(progress=_progress({**body, "phase": "done"}, self.fields["progress"], self.now))
        self._durable(body)

    def _rounds_told(self, told: Mapping[str, Any] | None) -> None:
        """Count the starts in the attempt's pods that no report told of."""
        if told is not None and told["round"] > self.round():
            self._restarted(told["round"] - self.round(), counts=told.get("counts", True))

    def _durable(self, body: Mapping[str, Any]) -> None:
        if (checkpoint := body.get("checkpoint")) and isinstance(checkpoint, Mapping):
            self.set(checkpoint=self._checkpoint(int(checkpoint["step"]), str(checkpoint["path"])[:1024]))
        claim = claim_name(self.job)
        if (result := body.get("result")) and isinstance(result, Mapping) and claim:
            self.set(
                result=Result(claim_name=claim, path=str(result["path"])[:1024], digest=str(result["digest"])[:128])
            )
        if (first := body.get("firstStepAt")) and self.fields["first_step_time"] is None:
            self.set(first_step_time=datetime.fromisoformat(str(first)))

    def _checkpoint(self, step: int, path: str) -> Checkpoint:
        """One that is told again is as old as it was."""
        known: Checkpoint | None = self.fields["checkpoint"]
        if known is not None and (known.step, known.path) == (step, path):
            return known
        return Checkpoint(step=step, path=path, time=self.now)

    def _avoiding(self, node: str) -> list[AvoidedNode]:
        kept = [each for each in self.fields["avoid"] if each.until > self.now and each.name != node]
        return (
            [*kept, AvoidedNode(name=node, until=self.now + timedelta(seconds=AVOID_SECONDS))][-64:] if node else kept
        )


def _roles(assignment: Assignment) -> list[RoleAssignment]:
    return [compact(role, list(nodes)) for role, nodes in assignment.nodes.items()]


def _reference(key: WorkloadKey, uid: str) -> WorkloadReference:
    kind: Literal["TrainingJob", "InferenceService"] = (
        "InferenceService" if key.kind == "InferenceService" else "TrainingJob"
    )
    return WorkloadReference(kind=kind, namespace=key.namespace, name=key.name, uid=uid, serial=key.slot)


def same_progress(old: Progress | None, new: Progress | None) -> bool:
    """Whether nothing is told that a reader does not know, apart from when."""
    if old is None or new is None:
        return old is new
    return old.model_copy(update={"updated_at": new.updated_at, "eta": new.eta}) == new


def _progress(body: Mapping[str, Any], old: Progress | None, now: datetime) -> Progress:
    metrics = {str(name)[:64]: float(value) for name, value in (body.get("metrics") or {}).items()} or (
        old.metrics if old else {}
    )
    step, total, rate = int(body.get("step") or 0), body.get("totalSteps"), _step_rate(body, old, now)
    return Progress(
        phase=str(body.get("phase", ""))[:64],
        step=step,
        total_steps=total if total is not None else (old.total_steps if old else None),
        epoch=body.get("epoch"),
        loss=body.get("loss"),
        metrics=dict(list(metrics.items())[:32]),
        throughput=body.get("throughput"),
        world_size=body.get("worldSize") or (old.world_size if old else None),
        restored_step=body["restoredStep"]
        if body.get("restoredStep") is not None
        else (old.restored_step if old else None),
        eta=_duration((total - step) / rate) if total and rate and total > step else "",
        warning=str(body.get("warning") or (old.warning if old else ""))[:1024],
        checkpoint_failures=int(body.get("checkpointFailures") or 0),
        updated_at=now,
    )


def _step_rate(body: Mapping[str, Any], old: Progress | None, now: datetime) -> float | None:
    """Steps per second: what the trainer says, else what two reports tell."""
    if isinstance(rate := body.get("stepsPerSecond"), int | float) and rate > 0:
        return float(rate)
    if old is None or (seconds := (now - old.updated_at).total_seconds()) <= 0:
        return None
    made = int(body.get("step") or 0) - old.step
    return made / seconds if made > 0 else None


def _duration(seconds: float) -> str:
    """As in 45s, 3m20s, 5h12m."""
    if seconds > _LONGEST_ETA:
        return "over a year"
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{whole % 60:02}s" if minutes else f"{whole}s"
