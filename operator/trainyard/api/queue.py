"""Queue: how much of each flavor its jobs may hold, and which namespaces may use it."""

from typing import ClassVar, Literal

from pydantic import Field

from trainyard.api.meta import Conditions, LabelSelector, Model, Name, ObjectMeta, Quantity, list_map
from trainyard.api.names import API_VERSION


class ResourceQuota(Model):
    """Quota of one resource on one flavor."""

    name: str = Field(
        min_length=1, max_length=253, description="The resource, e.g. nvidia.com/gpu. The flavor must offer it."
    )
    guaranteed: Quantity = Field(description="How much the jobs of this queue may hold at a time.")


class FlavorQuota(Model):
    """Quotas on one flavor."""

    name: Name = Field(description="Name of a Flavor.")
    resources: list[ResourceQuota] = Field(
        min_length=1,
        max_length=16,
        description="Quota of each resource. A resource that is not listed is not limited by this queue.",
        json_schema_extra=list_map("name"),
    )


class QueueSpec(Model):
    """Who may use the queue and how much they may hold."""

    namespace_selector: LabelSelector = Field(
        default_factory=LabelSelector,
        description="Namespaces whose jobs may use this queue, by label. Empty admits nobody; to admit all, ask for kubernetes.io/metadata.name Exists.",
    )
    flavors: list[FlavorQuota] = Field(
        min_length=1,
        max_length=16,
        description="Flavors that jobs of this queue may use, tried in this order.",
        json_schema_extra=list_map("name"),
    )
    stop_policy: Literal["None", "Hold"] = Field(
        default="None", description="Hold admits nothing new; what runs goes on."
    )


class QuotaUse(Model):
    """Use of one quota."""

    flavor: str = Field(description="Name of the flavor.")
    resource: str = Field(description="Name of the resource.")
    used: Quantity = Field(description="Held by admitted jobs, and by pods of deleted jobs that still end.")
    guaranteed: Quantity = Field(description="The quota in force.")


class QueueStatus(Model):
    """What the queue holds now."""

    observed_generation: int = Field(default=0, description="Generation of the spec that this status describes.")
    conditions: Conditions = ()
    pending: int = Field(default=0, description="Jobs and replicas that wait.")
    admitted: int = Field(default=0, description="Jobs and replicas that hold quota.")
    use: list[QuotaUse] = Field(
        default_factory=list,
        max_length=256,
        description="Use of each quota.",
        json_schema_extra=list_map("flavor", "resource"),
    )


class Queue(Model):
    """Where jobs and services ask for resources: a quota per flavor and resource, for the namespaces it selects."""

    api_version: Literal["trainyard.dev/v1alpha1"] = API_VERSION
    kind: Literal["Queue"] = "Queue"
    metadata: ObjectMeta
    spec: QueueSpec = Field(description="Who may use the queue and how much they may hold.")
    status: QueueStatus = Field(default_factory=QueueStatus, description="Written by the operator.")

    plural: ClassVar[str] = "queues"
    short: ClassVar[str] = "tyq"
