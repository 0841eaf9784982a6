"""What happens when a worker of a TrainingJob fails: how often, how and by which rules it starts again."""

from pydantic import ConfigDict, Field

from trainyard.api.failure import FailureRule
from trainyard.api.meta import Shared, rules


class Restart(Shared):
    """What happens when a worker fails."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.windowSeconds) || self.maxRestarts <= 64",
                "spec.restart.maxRestarts must be at most 64 with spec.restart.windowSeconds",
            )
        )
    )

    max_restarts: int = Field(
        default=3,
        ge=0,
        le=1000,
        description="Restarts of the gang from its last checkpoint before the job fails. Exit codes 64 and 65 fail at once: a restart would not help.",
    )
    window_seconds: int | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="Restarts longer ago than this do not count against maxRestarts any more; by default all count. With it maxRestarts is at most 64.",
    )
    in_place: bool = Field(
        default=True,
        description="Start the program again in the pods that are there, and replace single pods, where that is possible: not with rules or roles, nor in an image of yours. Otherwise all pods are made anew.",
    )
    hang_seconds: int | None = Field(
        default=None,
        ge=0,
        le=86_400,
        description="The program hangs when it makes no step for ten times as long as one takes, and for so long at least; then the stacks of all ranks are kept and it is started again. 0 never judges. By default 60, and 600 with an entrypoint, which must report its steps to be judged.",
    )
    rules: tuple[FailureRule, ...] = Field(
        default=(),
        max_length=16,
        description="What follows which failure. The first that matches a pod decides; without one, exit codes 64 and 65 fail the job, a node's failures restart the gang uncounted, and all else restarts it.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
