"""Flavor: a class of node. Owned by no queue, so that nothing is counted twice."""

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from trainyard.api.meta import Conditions, Model, ObjectMeta, Quantity, Toleration, rules
from trainyard.api.names import API_VERSION, GPU, MAX_LABEL


class FlavorSpec(Model):
    """Which nodes belong to the flavor and what they offer."""

    node_selector: dict[str, str] = Field(
        default_factory=dict,
        max_length=16,
        description="Labels that a node must have to belong to this flavor. Empty means every node.",
    )
    tolerations: list[Toleration] = Field(
        default_factory=list,
        max_length=16,
        description="Taints of those nodes that pods of this flavor tolerate. They are added to the pods.",
    )
    resources: list[str] = Field(
        default_factory=lambda: [GPU],
        min_length=1,
        max_length=16,
        description="Resources that quotas may count on this flavor, e.g. nvidia.com/gpu, cpu, memory.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    spot: bool = Field(
        default=False,
        description="These nodes may be taken away at short notice. Only jobs that may be preempted and those that name the flavor are placed here.",
    )
    fractional: bool = Field(
        default=False,
        description="GPUs of these nodes may be shared: a pod may ask for a part of one, e.g. nvidia.com/gpu: 500m. Elsewhere such a job is refused.",
    )
    price_per_hour: float | None = Field(
        default=None,
        ge=0,
        le=1e9,
        description="Price of one unit of the first of `resources` for an hour, in the currency of your other flavors.",
    )
    watts_per_unit: float | None = Field(
        default=None,
        ge=0,
        le=1e6,
        description="Power in watts that one unit of the first of `resources` draws under load, its share of the node included. Quotas of trainyard.dev/watts and estimates of energy are made of it.",
    )
    idle_watts_per_unit: float | None = Field(
        default=None,
        ge=0,
        le=1e6,
        description="The same while the unit is held and nothing is computed, for estimates of energy; by default wattsPerUnit. Power caps always count wattsPerUnit.",
    )


class FlavorStatus(Model):
    """What the operator sees of the flavor."""

    observed_generation: int = Field(default=0, description="Generation of the spec that this status describes.")
    conditions: Conditions = ()
    nodes: int = Field(default=0, description="Nodes that belong to the flavor.")
    ready_nodes: int = Field(default=0, description="Those of them that take pods now.")
    capacity: dict[str, Quantity] = Field(default_factory=dict, description="What those nodes offer together.")


class Flavor(Model):
    """A class of node: which nodes belong to it, the taints its pods tolerate, and the resources that quotas count on it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"size(self.metadata.name) <= {MAX_LABEL}",
                f"metadata.name must be at most {MAX_LABEL} characters: pods carry it in a label",
            )
        )
    )

    api_version: Literal["trainyard.dev/v1alpha1"] = API_VERSION
    kind: Literal["Flavor"] = "Flavor"
    metadata: ObjectMeta
    spec: FlavorSpec = Field(
        default_factory=FlavorSpec, description="Which nodes belong to the flavor and what they offer."
    )
    status: FlavorStatus = Field(default_factory=FlavorStatus, description="Written by the operator.")

    plural: ClassVar[str] = "flavors"
    short: ClassVar[str] = "tyf"
