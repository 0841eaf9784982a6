"""What a TrainingJob's status says of its pods: how they start, run, fail, start again and end."""

from collections.abc import Iterable
from datetime import datetime

from trainyard.api.reasons import ConditionType, Reason
from trainyard.api.training_job import Progress, Restarted, WorkerCounts
from trainyard.training.drafting import Drafting
from trainyard.training.failure import Consequence, Ended, recorded
from trainyard.workloads.pod_state import PodState


class OfRun(Drafting):
    """In the order of an attempt's life."""

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

    def failed_by(self, ended: Ended, step: int | None = None) -> None:
        """Keep which pod failed first, and as what. step: the last before it, if more is known than what the status shows."""
        progress: Progress | None = self.fields["progress"]
        step = progress.step if step is None and progress else step
        before = self.fields["last_failure"]
        self.set(last_failure=recorded(ended, before, attempt=self.fields["attempt"], step=step, now=self.now))

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

    def restarting(self, ended: Ended, *, counts: bool) -> None:
        progress = self.fields["progress"]
        restarted = Restarted(
            attempt=self.fields["attempt"],
            cause=ended.cause[:1024],
            time=self.now,
            step=progress.step if progress else None,
            node=ended.blamed if counts else "",
        )
        self.set(
            phase="Restarting",
            reason=Reason.RESTARTING.value,
            attempt=self.fields["attempt"] + 1,
            last_restart=restarted,
        )
        self._restarted(1, counts=counts)
        self.state(ConditionType.READY, False, Reason.RESTARTING, ended.cause)

    def _kept(self, ended: Ended, round_: int, step: int | None) -> Restarted:
        progress, attempt = self.fields["progress"], self.fields["attempt"]
        step = progress.step if step is None and progress else step
        return Restarted(attempt=attempt, round=round_, cause=ended.cause[:1024], time=self.now, step=step)

    def stopping(self, reason: Reason, message: str) -> None:
        """Pods will be asked to write a checkpoint and end."""
        self.set(phase="Suspending", reason=reason.value)
        self.state(ConditionType.READY, False, reason, message)

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
