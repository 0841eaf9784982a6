"""Queue: how much of each flavor its jobs may hold, and which namespaces may use it."""

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from trainyard.api.meta import (
    Amount,
    Conditions,
    LabelSelector,
    Model,
    Name,
    ObjectMeta,
    PreciseTime,
    Quantity,
    Time,
    list_map,
    rules,
)
from trainyard.api.names import API_VERSION, MAX_LABEL


class ResourceQuota(Model):
    """Quota of one resource on one flavor."""

    name: str = Field(
        min_length=1, max_length=253, description="The resource, e.g. nvidia.com/gpu. The flavor must offer it."
    )
    guaranteed: Amount = Field(
        description="How much the jobs of this queue may always hold. What they leave unused is lent to other queues below the same root, and comes back when it is wanted."
    )
    limit: Amount | None = Field(
        default=None,
        description="How much the queue and all queues below it may hold in all, what they borrow included; by default whatever the others leave.",
    )
    lendable: Amount | None = Field(
        default=None,
        description="How much of what the queue and all queues below it are guaranteed may be lent to others; by default all of it.",
    )


class FlavorQuota(Model):
    """Quotas on one flavor."""

    name: Name = Field(description="Name of a Flavor.")
    resources: list[ResourceQuota] = Field(
        min_length=1,
        max_length=16,
        description="Quota of each resource. A resource that is not listed is not limited by this queue.",
        json_schema_extra=list_map("name"),
    )


class QueuePreemption(Model):
    """Whose jobs may be stopped so that a job of this queue can start."""

    reclaim: Literal["Never", "LowerPriority", "Any"] = Field(
        default="Any",
        description="How a job that is within the queue's guarantee gets back what other queues borrow: never, from jobs of lower priority, or from any.",
    )
    within_queue: Literal["Never", "LowerPriority", "LowerOrNewerEqual"] = Field(
        default="LowerPriority",
        description="Whether jobs of this queue make way for one another: never, those of lower priority, or also younger ones of the same.",
    )
    min_run_seconds: int = Field(
        default=0, ge=0, le=2_147_483_647, description="A job of this queue is not stopped before it ran so long."
    )
    max_preemptions: int = Field(
        default=10, ge=0, le=1000, description="A job of this queue is not stopped more often than this."
    )


class Budget(Model):
    """GPU time that the jobs of a queue may use per period."""

    gpu_hours: Amount = Field(description="GPU-hours in each period, e.g. 500.")
    period_seconds: int = Field(
        default=2_592_000,
        ge=60,
        le=31_622_400,
        description="Length of a period; periods follow each other from 1970 on.",
    )


class QueueSpec(Model):
    """Who may use the queue and how much they may hold."""

    parent: Name | None = Field(
        default=None,
        description="The queue above. Queues below one root lend each other what they do not use. Only queues that are nobody's parent take jobs.",
    )
    weight: int = Field(
        default=1,
        ge=0,
        le=1_000_000,
        description="Share of what may be borrowed, relative to the queues with the same parent. 0 borrows only what nobody else wants.",
    )
    namespace_selector: LabelSelector = Field(
        default_factory=LabelSelector,
        description="Namespaces whose jobs may use this queue, by label. Empty admits nobody; to admit all, ask for kubernetes.io/metadata.name Exists.",
    )
    flavors: list[FlavorQuota] = Field(
        default_factory=list,
        max_length=16,
        description="Flavors that jobs of this queue may use, tried in this order. By default those of the nearest queue above that has some. What queues are guaranteed adds up along the tree: a parent repeats nothing, it may add to it or limit it.",
        json_schema_extra=list_map("name"),
    )
    preemption: QueuePreemption = Field(
        default_factory=QueuePreemption,
        description="Whose jobs may be stopped so that a job of this queue can start.",
        json_schema_extra={"default": {}},
    )
    max_priority: int | None = Field(
        default=None,
        ge=-1_000_000,
        le=1_000_000,
        description="A job of higher priority counts as one of this priority.",
    )
    budget: Budget | None = Field(
        default=None, description="GPU time per period. When it is used up, what runs goes on and nothing new starts."
    )
    max_run_seconds: int | None = Field(
        default=None,
        ge=1,
        le=2_147_483_647,
        description="A job of this queue is stopped, after a checkpoint, when it ran so long.",
    )
    usage_half_life_seconds: int | None = Field(
        default=None,
        ge=60,
        le=31_622_400,
        description="Who borrows next is decided by what each queue borrowed lately, forgotten by half in this time; by default by what it borrows now.",
    )
    stop_policy: Literal["None", "Hold", "HoldAndDrain"] = Field(
        default="None",
        description="Hold admits nothing new and lets what runs go on; HoldAndDrain also stops what runs, after a checkpoint.",
    )


class QuotaUse(Model):
    """Use of one quota."""

    flavor: str = Field(description="Name of the flavor.")
    resource: str = Field(description="Name of the resource.")
    used: Quantity = Field(
        description="Held by the admitted jobs of this queue and all queues below it, and by pods of deleted jobs that still end."
    )
    guaranteed: Quantity = Field(description="Guaranteed to this queue and all queues below it.")
    borrowed: Quantity = Field(default="0", description="The part of `used` that is beyond `guaranteed`.")
    lent: Quantity = Field(
        default="0", description="The part of `guaranteed` that other queues hold now; it comes back when it is wanted."
    )


class BudgetUse(Model):
    """Use of the budget in the current period."""

    period_start: Time = Field(description="When the period began.")
    gpu_hours: float = Field(default=0, description="GPU-hours used since then.")
    updated_at: PreciseTime = Field(description="Until when use is counted in.")


class RecentShare(Model):
    """What the queue borrowed lately, as it counts when the next one may borrow."""

    share: float = Field(
        description="Weighted share of what siblings lend, averaged over the past, forgotten by half in usageHalfLifeSeconds."
    )
    updated_at: PreciseTime = Field(description="Until when the past is counted in.")


class QueueStatus(Model):
    """What the queue holds now."""

    observed_generation: int = Field(default=0, description="Generation of the spec that this status describes.")
    conditions: Conditions = ()
    pending: int = Field(default=0, description="Jobs and replicas that wait.")
    admitted: int = Field(default=0, description="Jobs and replicas that hold quota.")
    summary: str = Field(
        default="", max_length=256, description="Held of guaranteed by resource, all flavors together, for printing."
    )
    use: list[QuotaUse] = Field(
        default_factory=list,
        max_length=256,
        description="Use of each quota.",
        json_schema_extra=list_map("flavor", "resource"),
    )
    budget: BudgetUse | None = Field(default=None, description="Use of spec.budget in the current period.")
    recent_share: RecentShare | None = Field(
        default=None, description="What the queue borrowed lately; with spec.usageHalfLifeSeconds only."
    )


class Queue(Model):
    """A node of the quota tree. Jobs and services ask its leaves for resources: a quota per flavor and resource, for the namespaces it selects."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.spec.parent) || self.spec.parent != self.metadata.name",
                "spec.parent must name another queue than this one",
            ),
            (
                f"size(self.metadata.name) <= {MAX_LABEL}",
                f"metadata.name must be at most {MAX_LABEL} characters: pods carry it in a label",
            ),
        )
    )

    api_version: Literal["trainyard.dev/v1alpha1"] = API_VERSION
    kind: Literal["Queue"] = "Queue"
    metadata: ObjectMeta
    spec: QueueSpec = Field(description="Who may use the queue and how much they may hold.")
    status: QueueStatus = Field(default_factory=QueueStatus, description="Written by the operator.")

    plural: ClassVar[str] = "queues"
    short: ClassVar[str] = "tyq"
