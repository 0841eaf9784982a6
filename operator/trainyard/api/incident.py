"""Incidents: one record for each interruption of a TrainingJob, from what struck it to its first new step.

The last ones stand in the job's status; the operator remembers those of jobs that are gone. Readers compute what takes how long.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from trainyard.api.meta import Model, PreciseTime

MAX_INCIDENTS = 16
"""Of a job; the oldest go first."""


class Scope(StrEnum):
    """What had to be made anew, the least first."""

    PROGRAM = "Program"  # the program was started again in its pods
    PODS = "Pods"  # some pods were replaced while the others waited
    GANG = "Gang"  # all pods were replaced, on the same place or a mended one
    PLACE = "Place"  # the place was given back, and another one waited for


class Outcome(StrEnum):
    """What became of it."""

    OPEN = "Open"  # no new step was made yet
    RECOVERED = "Recovered"  # steps are made again
    SUPERSEDED = "Superseded"  # something else struck before a new step was made
    COMPLETED = "Completed"  # the job was complete without a further step
    FAILED = "Failed"  # the job failed
    DELETED = "Deleted"  # somebody deleted the job


class Incident(Model):
    """An interruption of a job. Times are None where that never happened, or nobody knows when."""

    number: int = Field(description="Which of the job, counted from 1.")
    attempt: int = Field(description="Attempt that was interrupted.")
    round: int = Field(default=1, description="Which start of the program in the attempt's pods that was.")
    cause: str = Field(
        max_length=64,
        description="Class of the failure, e.g. Node, Hang or OutOfMemory; of a planned one the reason, e.g. Preempted or Suspended.",
    )
    planned: bool = Field(
        default=False, description="Whether somebody decided on it: preemption, suspension, a drained queue or node."
    )
    message: str = Field(default="", max_length=256, description="What was said about it.")
    pod: str = Field(
        default="", max_length=253, description="The pod that failed first: its log tells more, where logs are kept."
    )
    node: str = Field(default="", max_length=253, description="Where that ran.")
    stacks: str = Field(
        default="", max_length=512, description="Folder on the job's claim with the stacks of all ranks, after a hang."
    )
    scope: Scope = Field(default=Scope.PROGRAM, description="What had to be made anew: Program, Pods, Gang or Place.")
    times: int = Field(default=1, description="How often in a row it came again before a new step was made.")
    gpus: float = Field(default=0, description="GPUs that the job held.")
    step: int | None = Field(default=None, description="Last step that was reported before.")
    restored_step: int | None = Field(default=None, description="Step from which the job went on.")
    lost_gpu_seconds: float = Field(
        default=0, description="GPU-seconds held until the first new step, and of steps that were made again."
    )
    outcome: Outcome = Field(default=Outcome.OPEN, description="Open until steps are made again or the job is over.")
    fault_at: PreciseTime = Field(description="When it happened, as far as pod, node or trainer tell.")
    detected_at: PreciseTime = Field(description="When it was noticed.")
    decided_at: PreciseTime | None = Field(
        default=None, description="When it was decided where the job goes on; nothing while it waits for a place."
    )
    replaced_at: PreciseTime | None = Field(
        default=None, description="When all pods ran again; nothing where none was replaced."
    )
    recovered_at: PreciseTime | None = Field(default=None, description="When the first new step was made.")
    ended_at: PreciseTime | None = Field(default=None, description="When it was over, whatever the outcome.")

    @property
    def lost_steps(self) -> int | None:
        """Steps that were made again; None while nobody can tell."""
        if self.step is None or self.restored_step is None:
            return None
        return max(0, self.step - self.restored_step)

    def after(self, moment: datetime | None) -> float | None:
        """Seconds from the fault to one of its moments."""
        return None if moment is None else max(0.0, (moment - self.fault_at).total_seconds())


class JobIncident(Incident):
    """An incident with the job that it struck, which may be gone."""

    namespace: str = Field(description="Namespace of the job.")
    job: str = Field(description="Name of the job.")
    uid: str = Field(
        description="The job's uid, of a restored one that which it had at first: a later job of the same name is another one."
    )
    queue: str = Field(default="", description="Queue of the job.")

    @property
    def key(self) -> tuple[str, int, datetime]:
        """A job that comes back from a backup counts on from what it had then: the number alone may be given twice."""
        return self.uid, self.number, self.fault_at


class Incidents(Model):
    """Interruptions of jobs, the newest first."""

    incidents: list[JobIncident] = Field(description="Those that were asked for.")
    left_out: int = Field(default=0, description="Older ones that were asked for and are too many to be told.")
