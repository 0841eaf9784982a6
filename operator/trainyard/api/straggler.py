"""A worker that others wait for, as the status of a TrainingJob names it."""

from pydantic import Field

from trainyard.api.meta import Model, PreciseTime

MAX_STRAGGLERS = 8


class Straggler(Model):
    """A worker that held the others up: it needed longer for its own part of a step, and in the end all need as long as the slowest."""

    rank: int = Field(description="Its rank among the processes that train together.")
    pod: str = Field(max_length=253, description="Name of its pod.")
    node: str = Field(max_length=253, description="Node of the pod.")
    attempt: int = Field(description="The attempt.")
    factor: float = Field(
        description="How many times as long as the others it needed for its own part of a step, when it was found."
    )
    since: PreciseTime = Field(description="When the trainer first told of it.")
    until: PreciseTime | None = Field(
        default=None, description="When it was over, or the attempt ended; nothing while it lasts."
    )

    def __str__(self) -> str:
        return f"rank {self.rank} ({self.pod} on {self.node})"
