"""The spec of a TrainingJob: what to train, on what, with how many workers, and what may be changed later."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from trainyard.api.choice import NamedChoice
from trainyard.api.compression import Compression
from trainyard.api.meta import (
    LABEL_KEY,
    Model,
    Name,
    Shared,
    immutable,
    kept,
    list_map,
    rules,
    stay,
)
from trainyard.api.names import MAX_PODS, SPARE, WORKER
from trainyard.api.placement import THROUGHPUT_RULE, FlavorChoices, TopologySpec
from trainyard.api.restart import Restart
from trainyard.api.training_gang import Role, SuccessPolicy, Workers
from trainyard.api.training_program import Entrypoint, Training
from trainyard.api.training_storage import Storage

_ROLES_RULES = (
    (
        "self.all(r, r.name != 'worker' && r.name != 'spare')",
        "spec.roles: worker is the role of spec.workers and spare that of its spares; choose another name",
    ),
    kept("spec.roles"),
)


class JobBudget(Model):
    """The most that the job may use."""

    max_gpu_hours: float = Field(
        alias="maxGPUHours",
        gt=0,
        le=1_000_000_000,
        description="GPU-hours in all: the GPUs that the job holds, times the time for which it holds them. A warning is given at 80 %; when all are used the job is suspended after a checkpoint, and goes on when this is raised. May be changed.",
    )


_MULTIPLE = "has(self.topology) && has(self.workers.{field}) && self.workers.{field} % self.topology.sliceSize != 0"
_PARENT = "has(self.compression) && has(self.compression.parent)"
_RULES = (
    (
        f"[has(self.model), has(self.entrypoint), {_PARENT}].exists_one(each, each)",
        "spec takes exactly one of model, entrypoint and compression.parent",
    ),
    (
        "!has(self.compression) || !has(self.entrypoint)",
        "spec.compression compresses what spec.model trains, or its parent: it takes no spec.entrypoint",
    ),
    ("!has(self.model) || has(self.dataset)", "spec.dataset is required with spec.model"),
    (
        f"!({_PARENT}) || !has(self.dataset)",
        "spec.dataset goes with spec.model: what a parent was trained on is found by its card",
    ),
    (
        "!has(self.compression) || has(self.storage)",
        "spec.compression needs spec.storage: there the variants are kept",
    ),
    (
        "!has(self.compression) || (self.workers.replicas == 1 && !has(self.workers.minReplicas))",
        "spec.workers.replicas must be 1 with spec.compression, without minReplicas: one process measures; train with more in a job of its own and name that as spec.compression.parent",
    ),
    *(
        (
            f"!({_MULTIPLE.format(field=field)})",
            f"spec.workers.{field} must be a multiple of spec.topology.sliceSize: slices are never split",
        )
        for field in ("replicas", "minReplicas")
    ),
    (
        "!has(self.expectedSeconds) || !has(self.maxRunSeconds) || self.expectedSeconds <= self.maxRunSeconds",
        "spec.expectedSeconds must be at most spec.maxRunSeconds",
    ),
    (
        "!has(self.topology) || self.topology.sliceSize == 1 || !has(self.workers.spares) || self.workers.spares == 0",
        "spec.workers.spares: a spare cannot take over in a slice of others; leave out spares or spec.topology.sliceSize",
    ),
    (
        f"!has(self.roles) || self.workers.replicas + self.roles.map(r, r.replicas).sum() <= {MAX_PODS}",
        f"spec.workers and spec.roles must be at most {MAX_PODS} pods together",
    ),
    (
        "!has(self.tensorboard) || !self.tensorboard || has(self.storage)",
        "spec.tensorboard needs spec.storage: there the logs are kept",
    ),
    stay(
        "spec",
        "model",
        "entrypoint",
        "dataset",
        "training",
        "compression",
        "storage",
        "restart",
        "topology",
        "roles",
        "successPolicy",
    ),
)

Gate = Annotated[str, Field(min_length=1, max_length=316, pattern=LABEL_KEY)]


class TrainingJobSpec(Shared):
    """What to train, on what, with how many workers."""

    model_config = ConfigDict(json_schema_extra=rules(*_RULES))

    queue: Name = Field(
        description="Queue that the job asks for quota. It must select the job's namespace.",
        json_schema_extra=immutable("spec.queue"),
    )
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000, description="Higher starts first within the queue.")
    suspend: bool = Field(
        default=False,
        description="True stops the workers after a checkpoint and gives back their GPUs; false lets the job go on from there.",
    )
    model: NamedChoice | None = Field(
        default=None,
        description="A built-in model: linear, mlp, cnn, resnet, lstm, gru, transformer, llama, gan, or one that the image registers.",
        json_schema_extra=immutable("spec.model"),
    )
    dataset: NamedChoice | None = Field(
        default=None,
        description="A built-in data set: digits, iris, diabetes, docs (text), order (text in classes), series, files (your own), or one that the image registers.",
        json_schema_extra=immutable("spec.dataset"),
    )
    entrypoint: Entrypoint | None = Field(
        default=None,
        description="Your own program instead of a built-in model.",
        json_schema_extra=immutable("spec.entrypoint"),
    )
    workers: Workers = Field(
        default_factory=Workers.plain,
        description="The gang: number of pods and what each needs.",
        json_schema_extra={"default": {}},
    )
    roles: tuple[Role, ...] = Field(
        default=(),
        max_length=8,
        description="Further pods of the gang that are no workers. They start with the workers unless dependsOn says otherwise; when the job is complete they are stopped.",
        json_schema_extra=list_map("name") | rules(*_ROLES_RULES),
    )
    success_policy: SuccessPolicy | None = Field(
        default=None,
        description="When the job is complete; by default when all workers ended with exit code 0. What else runs is stopped then.",
        json_schema_extra=immutable("spec.successPolicy"),
    )
    training: Training = Field(
        default_factory=Training.plain,
        description="How the built-in program trains.",
        json_schema_extra=immutable("spec.training"),
    )
    compression: Compression | None = Field(
        default=None,
        description="Smaller and faster variants of the model that this job trains, or of one that was trained before. What is measured to be worse is refused.",
        json_schema_extra=immutable("spec.compression"),
    )
    storage: Storage | None = Field(
        default=None,
        description="Where checkpoints and the trained model are kept. Without it a restart begins anew and no model is exported.",
        json_schema_extra=immutable("spec.storage"),
    )
    restart: Restart = Field(
        default_factory=Restart.plain,
        description="What happens when a worker fails.",
        json_schema_extra=immutable("spec.restart"),
    )
    flavors: Annotated[
        FlavorChoices, Field(json_schema_extra=list_map("name") | rules(THROUGHPUT_RULE, kept("spec.flavors")))
    ] = ()
    topology: TopologySpec | None = Field(
        default=None,
        description="How near to each other the workers are. By default anywhere on nodes of one flavor.",
        json_schema_extra=immutable("spec.topology"),
    )
    preemptible: bool = Field(
        default=True,
        description="Whether the job may be stopped, after a checkpoint, so that another can start. Whose jobs may be stopped for whom is said in spec.preemption of queues.",
        json_schema_extra=immutable("spec.preemptible"),
    )
    expected_seconds: int | None = Field(
        default=None,
        ge=1,
        le=2_147_483_647,
        description="How long the job will run. Short jobs start in gaps that long ones wait for; one that runs longer is not stopped. By default learned from jobs like it. May be changed.",
    )
    max_run_seconds: int | None = Field(
        default=None,
        ge=1,
        le=2_147_483_647,
        description="The job fails when it ran so long since it was admitted; by default never. Restarts and another size begin nothing anew, a suspension or preemption does. May be changed.",
    )
    budget: JobBudget | None = Field(
        default=None, description="What the job may use in all; by default there is no limit. May be changed."
    )
    admission_gates: tuple[Gate, ...] = Field(
        default=(),
        max_length=16,
        description="Decisions that are awaited from outside, e.g. example.com/approved. The job waits until the list is empty; whoever decides takes the name out.",
        json_schema_extra={"x-kubernetes-list-type": "set"}
        | rules(("self.all(g, g in oldSelf)", "spec.admissionGates: a gate can be taken away, none can be added")),
    )
    start_deadline_seconds: int = Field(
        default=600,
        ge=30,
        le=86_400,
        description="How long an admitted gang may take until every pod runs; then the attempt is undone and its GPUs given back.",
        json_schema_extra=immutable("spec.startDeadlineSeconds"),
    )
    clean_pod_policy: Literal["Running", "All"] = Field(
        default="Running",
        description="Pods that are deleted when the job is over: those that still run, or all, whose logs are gone then. None may go on: the place is given back.",
    )
    tensorboard: bool = Field(
        default=False,
        description="Keeps a TensorBoard, the Service NAME-tensorboard, until this is false or the job is deleted. Needs spec.storage. May be changed at any time.",
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=2_147_483_647,
        description="Deletes the job this long after it finished; by default never.",
    )

    def counts(self) -> dict[str, int]:
        """Pods of each role at the job's largest size, workers first."""
        spares = {SPARE: self.workers.spares} if self.workers.spares else {}
        return {WORKER: self.workers.replicas} | {each.name: each.replicas for each in self.roles} | spares

    def pods(self) -> int:
        """The same of all roles together."""
        return sum(self.counts().values())

    @property
    def noun(self) -> str:
        """What the pods of the gang are called."""
        return "pods" if self.roles else "workers"
