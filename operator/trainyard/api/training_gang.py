"""The pods of a TrainingJob: its workers, further roles beside them, who waits for whom, and whose end completes the job."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from trainyard.api.meta import Model, PodTemplate, ResourceRequirements, Shared, immutable, rules, stay
from trainyard.api.names import MAX_PODS
from trainyard.api.training_program import Entrypoint


class Dependency(Model):
    """Pods that others wait for before they are started."""

    role: str = Field(
        max_length=20, description="Role of the pods that are waited for; worker is that of spec.workers."
    )
    status: Literal["Ready", "Complete"] = Field(
        default="Ready",
        description="Whether all of them must be ready, by their readiness probes if they have some, or have ended with exit code 0.",
    )


DependsOn = Annotated[
    tuple[Dependency, ...],
    Field(
        max_length=8,
        description="What is waited for before these pods are started, in every attempt. The place is held from the beginning.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    ),
]


class Workers(Shared):
    """The gang."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.minReplicas) || self.minReplicas <= self.replicas",
                "spec.workers.minReplicas must be at most spec.workers.replicas",
            ),
            (
                "has(self.minReplicas) || !has(self.replicas) || self.replicas == oldSelf.replicas",
                "spec.workers.replicas is immutable: delete the job and create it anew",
            ),
            (
                "!has(self.spares) || self.spares == 0 || !has(self.minReplicas)",
                "spec.workers.spares: an elastic job shrinks rather than keep spares; set one of spares and minReplicas",
            ),
            stay("spec.workers", "minReplicas", "spares", "dependsOn", "resources", "template"),
        )
    )

    replicas: int = Field(
        default=1,
        ge=1,
        le=MAX_PODS,
        description="Number of pods. All of them start, or none. With minReplicas: the most that are of use, which may be changed at any time.",
    )
    min_replicas: int | None = Field(
        default=None,
        ge=1,
        le=MAX_PODS,
        description="Makes the job elastic: it starts with any number of pods from this to replicas, grows while GPUs are idle, and shrinks before it is preempted, each time from its last checkpoint.",
        json_schema_extra=immutable("spec.workers.minReplicas"),
    )
    spares: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="Pods more that stand by, with place, image and volume. When a worker's node is lost the worker is started in the place of one at once, rather than when there is room elsewhere. They count against quota.",
        json_schema_extra=immutable("spec.workers.spares"),
    )
    depends_on: DependsOn = Field(default_factory=tuple, json_schema_extra=immutable("spec.workers.dependsOn"))
    resources: ResourceRequirements = Field(
        default_factory=ResourceRequirements.plain,
        description="Resources of each pod, as in core/v1. A whole number of nvidia.com/gpu in limits, each with a process of its own; or a part of one, e.g. 500m, on flavors that are fractional.",
        json_schema_extra=immutable("spec.workers.resources"),
    )
    template: PodTemplate | None = Field(
        default=None,
        description="A core/v1 PodTemplateSpec that the workers start from: volumes, sidecars, environment, security. The container named `trainer` is ours.",
        json_schema_extra=immutable("spec.workers.template"),
    )


class Role(Model):
    """Further pods of the gang that are no workers: parameter servers, an evaluator, a loader of data."""

    name: str = Field(
        min_length=1,
        max_length=20,
        pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        description="What the role is called, in the names of its pods too. The workers' own is worker.",
    )
    replicas: int = Field(
        default=1, ge=1, le=MAX_PODS, description="Number of pods; all of them start, or no pod of the job."
    )
    entrypoint: Entrypoint = Field(
        description="Their program. PET_* variables tell of the pods of the same role, TRAINYARD_ROLES how many there are of each, and pod I of role R is $TRAINYARD_JOB-R-I.$TRAINYARD_DOMAIN (of the workers only the first)."
    )
    depends_on: DependsOn = Field(default_factory=tuple)
    resources: ResourceRequirements = Field(
        default_factory=ResourceRequirements.plain, description="Resources of each pod, as in core/v1."
    )
    template: PodTemplate | None = Field(
        default=None,
        description="A core/v1 PodTemplateSpec that the pods start from. The container named `trainer` is ours.",
    )


class SuccessPolicy(Model):
    """When the job is complete."""

    operator: Literal["All", "Any"] = Field(
        default="All", description="Whether all pods of the roles must end with exit code 0, or one of them is enough."
    )
    roles: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=9,
        description="Roles that it goes by; by default the workers.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
