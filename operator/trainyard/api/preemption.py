"""The durable form of a preemption: who makes way for whom, and until when they may write a checkpoint.

Both sides are written before the first pod is asked to stop, so that an operator that starts anew goes on with the same victims
and the same deadline.
"""

from typing import Literal

from pydantic import Field

from trainyard.api.admission import RoleAssignment
from trainyard.api.meta import Model, PreciseTime, list_map

MAX_VICTIMS = 512
"""Keeps a nominated gang of 8,192 pods below 512 KiB; a gang that needs more waits until some have ended by themselves."""


class WorkloadReference(Model):
    """Names a job, or one replica of a service."""

    kind: Literal["TrainingJob", "InferenceService"] = Field(description="Kind of the object.")
    namespace: str = Field(max_length=63, description="Its namespace.")
    name: str = Field(max_length=253, description="Its name.")
    uid: str = Field(max_length=64, description="Its uid: an object made anew under the same name is another one.")
    serial: int = Field(default=0, ge=0, description="Number of the replica, for a service; 0 for a job.")

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" + (f" replica {self.serial}" if self.serial else "")


class Nomination(Model):
    """The place that a waiting workload gets when its victims have gone. It ends with an admission, or when it is given up."""

    epoch: int = Field(description="Leadership under which it was decided: the Lease's transition count.")
    flavor: str = Field(description="Flavor whose quota it will hold.")
    time: PreciseTime = Field(description="When it was decided.")
    deadline: PreciseTime = Field(
        description="When victims that still run are stopped, whether or not their checkpoint is written."
    )
    victims: list[WorkloadReference] = Field(
        default_factory=list, max_length=MAX_VICTIMS, description="Who makes way. None is added later."
    )
    roles: list[RoleAssignment] = Field(
        default_factory=list,
        max_length=16,
        description="Nodes of each role, kept free for it from now on.",
        json_schema_extra=list_map("name"),
    )


class Preemption(Model):
    """A request to make way that is being carried out."""

    by: WorkloadReference = Field(description="Who gets the place.")
    requested_at: PreciseTime = Field(description="When the workload was asked to write a checkpoint and stop.")
    deadline: PreciseTime = Field(description="When its pods are deleted, whether or not the checkpoint is written.")
