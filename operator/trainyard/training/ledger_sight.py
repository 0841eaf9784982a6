"""What the ledger can know of a job's attempt: from its pods, and from what its trainer said last.

A run is one start of the program: an attempt begins with the first, and has more when its pods are kept (`in_place`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from trainyard.api.energy import NOTHING, Draw
from trainyard.api.training_job import TrainingJob, TrainingJobStatus
from trainyard.workloads.pod_state import PodState

_LOADING = frozenset({"loading", "restoring"})
"""Phases in which a trainer says that it reads."""


def run_of(status: TrainingJobStatus) -> tuple[int, int]:
    """Attempt, and which start of the program in its pods, from 1."""
    last = status.last_restart
    begun = last.round if last is not None and last.attempt == status.attempt else None
    return status.attempt, begun or 1


@dataclass(frozen=True, slots=True)
class Sight:
    """The job with the status as it was, and what is known of its attempt."""

    job: TrainingJob
    now: datetime
    pods: tuple[PodState, ...] = ()
    said: Mapping[str, Any] = field(default_factory=dict)
    """The newest that the attempt's trainer said."""
    said_at: datetime | None = None
    draw: Draw = NOTHING
    """What the job draws and pays in its place."""
    shares_gpus: bool = False
    """Whether others may be on the same GPUs."""

    @property
    def stepped(self) -> bool:
        """Whether the run is known to have made a step."""
        own = self.job.status.ledger.attempt if self.job.status.ledger else None
        return own is not None and own.stepped and (own.attempt, own.round) == run_of(self.job.status)

    @property
    def bound_at(self) -> datetime | None:
        """When the last pod was bound; None while one is not."""
        bound = [pod.scheduled or pod.created for pod in self.pods if pod.bound or pod.finished]
        return max(bound, default=self.now) if len(bound) >= self.job.members() else None

    @property
    def began_at(self) -> datetime | None:
        """When the last container began to run; None while one does not."""
        begun = [pod.started for pod in self.pods if pod.started or pod.finished or pod.running]
        return max(filter(None, begun), default=self.now) if len(begun) >= self.job.members() else None

    @property
    def heard(self) -> Mapping[str, Any]:
        """What was said, if this run said it.

        Where pods were replaced twice before their program began, the trainer counts fewer rounds than the status.
        """
        told, known = self._round(), run_of(self.job.status)[1]
        if told == known:
            return self.said
        last, first = self.job.status.last_restart, self._first_step_at()
        return self.said if told < known and last and first and first > last.time else {}

    @property
    def told_of(self) -> tuple[int, int]:
        """The run that the trainer spoke of last."""
        return self.job.status.attempt, self._round()

    @property
    def joules(self) -> float:
        """Energy that the run's trainer has measured since its start; none where the counters are of others, too."""
        return 0.0 if self.shares_gpus else float(self.heard.get("joules") or 0.0)

    @property
    def loading_at(self) -> datetime | None:
        """When the trainer said that it reads, if that is the last it said."""
        return self.said_at if self.heard.get("phase") in _LOADING else None

    @property
    def step(self) -> int:
        """Steps that the trainer said were made."""
        return int(self.heard.get("step") or 0)

    def first_step(self) -> datetime | None:
        """When the run made its first step, as far as anybody said so; None before it.

        A program of the user's own that never reports is taken to work as soon as all its containers run.
        """
        if self.heard and (told := self._first_step_at()) is not None:
            return told
        if self.step > int(self.heard.get("restoredStep") or 0):
            return self.said_at
        silent = self.job.spec.entrypoint is not None and not self.said and self.job.status.progress is None
        return self.began_at if silent else None

    def failed_at(self) -> datetime | None:
        """When the run failed, if a later one of the attempt tells so."""
        if self._round() <= run_of(self.job.status)[1]:
            return None
        told = self.said["restarted"].get("at")
        return datetime.fromtimestamp(told, UTC) if told else self.said_at

    def restored(self) -> int | None:
        """Step from which the run went on, as it says or as its first report lets guess; None if only its last words are known."""
        if (told := self.heard.get("restoredStep")) is not None:
            return int(told)
        if "restoredStep" not in self.heard:
            return None
        return 0 if self.job.spec.model else max(0, self.step - 1)

    def saved(self) -> int | None:
        """Step of the last checkpoint that the trainer told of."""
        checkpoint = self.heard.get("checkpoint")
        return int(checkpoint["step"]) if isinstance(checkpoint, Mapping) else None

    def spent(self) -> Mapping[str, float]:
        """Seconds of the attempt that the trainer told apart, by category."""
        told: Mapping[str, float] = self.said.get("spent") or {}
        # What later runs load belongs to the recovery, which is a category of its own.
        return told if self._round() == 1 else {name: told[name] for name in told if name != "loading"}

    def _first_step_at(self) -> datetime | None:
        if not (told := self.said.get("firstStepAt")):
            return None
        found = datetime.fromisoformat(str(told))
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def _round(self) -> int:
        restarted = self.said.get("restarted")
        return int(restarted["round"]) if isinstance(restarted, Mapping) else 1
