"""How pods of a job fail: classes that people act on in different ways, and rules by which a user decides what follows."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from trainyard.api.meta import Model, PreciseTime, rules


class FailureClass(StrEnum):
    """What kind of thing went wrong."""

    USER_ERROR = "UserError"  # the program or its configuration
    OUT_OF_MEMORY = "OutOfMemory"  # of the pod or of a GPU
    DATA = "Data"  # the data set
    NETWORK = "Network"  # between the pods, or to the world
    GPU = "GPU"  # the device or its driver
    NODE = "Node"  # the node went away or sent the pod away
    HANG = "Hang"  # no step for far longer than one takes
    PREEMPTED = "Preempted"  # asked to end, and did
    STORAGE = "Storage"  # a volume that is full, read-only or gone
    INFRASTRUCTURE = "Infrastructure"  # the container could not be started, or somebody deleted the pod


class FailureAction(StrEnum):
    """What follows when a pod failed."""

    FAIL = "Fail"  # the job fails at once: a restart would not help
    RESTART = "Restart"  # the gang restarts from its last checkpoint; counts against maxRestarts
    RESTART_UNCOUNTED = "RestartUncounted"  # the same without counting
    IGNORE = "Ignore"  # the others go on without it


class FailureRow(Model):
    """A row of a cluster's own that comes before the built-in table of classes: what fits any of its parts gets its class."""

    model_config = ConfigDict(extra="forbid")

    kind: FailureClass = Field(alias="class", description="Class that a failure gets.")
    exit_codes: frozenset[int] = Field(default=frozenset(), description="Exit codes of the main container.")
    reasons: frozenset[str] = Field(default=frozenset(), description="Reasons of the container or pod, e.g. OOMKilled.")
    contains: tuple[str, ...] = Field(default=(), description="Texts in the pod's last words, whatever their case.")
    remedy: str = Field(default="", max_length=512, description="What usually helps; by default that of the class.")

    @model_validator(mode="after")
    def _fits_something(self) -> Self:
        if not (self.exit_codes or self.reasons or self.contains):
            raise ValueError("expected one of exitCodes, reasons and contains")
        return self


_GIVEN = "has(self.exitCodes) || has(self.classes) || has(self.reasons) || has(self.contains)"


class FailureRule(Model):
    """What follows a failure. All that is given must match."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (_GIVEN, "spec.restart.rules: a rule needs one of exitCodes, classes, reasons and contains"),
            (
                "self.action != 'Ignore' || (has(self.roles) && !self.roles.exists(r, r == 'worker'))",
                "spec.restart.rules: Ignore needs roles, and no workers among them: the job is done when all its workers are",
            ),
        )
    )

    action: FailureAction = Field(description="Fail, Restart, RestartUncounted or Ignore.")
    exit_codes: list[Annotated[int, Field(ge=1, le=255)]] | None = Field(
        default=None, min_length=1, max_length=64, description="Exit codes of the main container; 128 + N is signal N."
    )
    classes: list[FailureClass] | None = Field(
        default=None, min_length=1, max_length=16, description="Classes of failure, e.g. OutOfMemory or Network."
    )
    reasons: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Reasons of the container or pod as kubectl shows them, e.g. OOMKilled or Evicted.",
    )
    contains: str | None = Field(
        default=None, min_length=1, max_length=256, description="Text in the pod's last words, whatever its case."
    )
    roles: list[str] | None = Field(
        default=None, min_length=1, max_length=9, description="Roles that the rule is for; by default all."
    )


class Failure(Model):
    """The failure that ended an attempt: of several the first, not those that followed from it."""

    attempt: int = Field(description="Attempt that it ended.")
    kind: FailureClass = Field(alias="class", description="What kind of thing went wrong, e.g. OutOfMemory.")
    role: str = Field(default="", max_length=63, description="Role of the pod.")
    index: int = Field(default=0, description="Number of the pod in its role.")
    node: str = Field(default="", max_length=253, description="Where it ran.")
    blameless: bool = Field(
        default=False,
        description="Whether it says nothing of the node: the pod was sent away, or others had taken its place.",
    )
    exit_code: int | None = Field(default=None, description="Exit code of its main container, if it had one.")
    step: int | None = Field(default=None, description="Last step that the job reported before, if it reports steps.")
    times: int = Field(
        default=1, description="How often in a row the job failed so: same class, role, exit code and step."
    )
    message: str = Field(default="", max_length=1024, description="What it said last.")
    remedy: str = Field(default="", max_length=512, description="What usually helps.")
    time: PreciseTime = Field(description="When it was noticed.")
    happened: PreciseTime | None = Field(
        default=None, description="When it happened, if the pod, its node or the trainer says so."
    )
