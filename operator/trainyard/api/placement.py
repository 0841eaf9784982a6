"""What a workload may say of where it runs: flavors it accepts, and how near to each other its pods have to be."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from trainyard.api.meta import LABEL_KEY, Model, Name, list_map, rules


class FlavorChoice(Model):
    """A flavor that the workload accepts."""

    name: Name = Field(description="Name of a Flavor that the queue, or a queue above it, has quota of.")
    throughput: float | None = Field(
        default=None,
        gt=0,
        le=1e12,
        description="Speed on this flavor, in any unit that is the same for all of them, e.g. samples per second.",
    )


THROUGHPUT_RULE = (
    "self.all(f, has(f.throughput)) || !self.exists(f, has(f.throughput))",
    "spec.flavors: give a throughput for each of them, or for none",
)
FlavorChoices = Annotated[
    tuple[FlavorChoice, ...],
    Field(
        default=(),
        max_length=16,
        description="Flavors that it may run on, best first; by default those of its queue, in the queue's order. With a throughput for each, the fastest of those that have room is taken.",
        json_schema_extra=list_map("name") | rules(THROUGHPUT_RULE),
    ),
]


class TopologySpec(Model):
    """How near to each other the pods are. Domains are nodes that share the value of a label."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.sliceSize == 1 || has(self.sliceLevel)",
                "spec.topology.sliceLevel is required with spec.topology.sliceSize: it says what a slice must not leave",
            ),
            (
                "!has(self.sliceLevel) || self.sliceSize > 1",
                "spec.topology.sliceLevel needs a spec.topology.sliceSize of at least 2",
            ),
        )
    )

    level: str = Field(
        min_length=1,
        max_length=316,
        pattern=LABEL_KEY,
        description="Label of nodes whose value names the domain, e.g. topology.trainyard.dev/rack or topology.kubernetes.io/zone.",
    )
    mode: Literal["required", "preferred", "spread"] = Field(
        default="preferred",
        description="required: all pods in one domain, or the job waits. preferred: in one domain if it has room, else in as few as possible. spread: over as many domains as possible, evenly.",
    )
    slice_size: int = Field(
        default=1,
        ge=1,
        le=8192,
        description="Pods that stay together, counted in rank order; the number of pods is a multiple of it.",
    )
    slice_level: str | None = Field(
        default=None,
        min_length=1,
        max_length=316,
        pattern=LABEL_KEY,
        description="Label of the domain that each slice stays in, e.g. kubernetes.io/hostname or a rack below the level.",
    )
