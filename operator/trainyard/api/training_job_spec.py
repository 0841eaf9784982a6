"""The spec of a TrainingJob: what to train, on what, with how many workers, and what may be changed later."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from trainyard.api.choice import NamedChoice
from trainyard.api.compression import Compression
from trainyard.api.failure import FailureRule
from trainyard.api.meta import (
    LABEL_KEY,
    Model,
    Name,
    PodTemplate,
    Quantity,
    ResourceRequirements,
    Shared,
    immutable,
    kept,
    list_map,
    rules,
)
from trainyard.api.names import MAX_PODS, SPARE, WORKER
from trainyard.api.placement import THROUGHPUT_RULE, FlavorChoices, TopologySpec

_RESERVED = (
    "name.startsWith('TRAINYARD_') || name in ['PET_NNODES', 'PET_NODE_RANK', 'PET_MASTER_ADDR', 'PET_MASTER_PORT']"
)


class Entrypoint(Model):
    """The user's own program."""

    command: list[str] = Field(
        min_length=1,
        max_length=256,
        description="Command and arguments, e.g. [torchrun, train.py]. PET_* variables tell torchrun its rank and peers.",
    )
    image: str = Field(
        default="", max_length=1024, description="Image that holds the program. Empty uses the trainer image."
    )
    env: dict[str, str] = Field(
        default_factory=dict,
        max_length=256,
        description="Environment variables added to every worker.",
        json_schema_extra=rules(
            (
                f"!self.exists(name, {_RESERVED})",
                "TRAINYARD_* and PET_NNODES, PET_NODE_RANK, PET_MASTER_ADDR, PET_MASTER_PORT are set by Trainyard",
            )
        ),
    )


def _stay(path: str, *names: str) -> tuple[str, str, str]:
    """A rule by which optional fields neither come nor go, since a rule at a field that is not there is not asked."""
    unchanged = " && ".join(f"has(self.{name}) == has(oldSelf.{name})" for name in names)
    first = f"'{names[-1]}'"
    for name in reversed(names[:-1]):
        first = f"(has(self.{name}) != has(oldSelf.{name}) ? '{name}' : {first})"
    message = "is immutable: delete the job and create it anew"
    return unchanged, f"{path}: {', '.join(names)} neither come nor go", f"'{path}.' + {first} + ' {message}'"


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
            _stay("spec.workers", "minReplicas", "spares", "dependsOn", "resources", "template"),
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


_ROLES_RULES = (
    (
        "self.all(r, r.name != 'worker' && r.name != 'spare')",
        "spec.roles: worker is the role of spec.workers and spare that of its spares; choose another name",
    ),
    kept("spec.roles"),
)

OPTIMIZERS = Literal["gd", "sgd", "adam", "adamw"]


class Parallelism(Model):
    """How the processes of the workers share a step. All that is not shared otherwise is data parallel."""

    data: Literal["replicated", "sharded"] = Field(
        default="replicated",
        description="Whether each process holds all weights (DDP) or a share of them, gathered layer by layer (FSDP).",
    )
    tensor: int = Field(
        default=1, ge=1, le=1024, description="Processes that share each matrix; best on one node. For model llama."
    )
    pipeline: int = Field(default=1, ge=1, le=1024, description="Stages that share the row of layers. For model llama.")
    microbatches: int = Field(
        default=4, ge=1, le=4096, description="Parts in which a step passes through the stages; at least one a stage."
    )
    servers: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Processes, out of the workers', that hold the weights for the others (parameter servers); the first ones.",
    )
    staleness: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Steps that a worker may be ahead of another where there are servers; 0 makes every step together.",
    )


CheckpointSteps = Annotated[
    Annotated[int, Field(ge=1)] | Literal["auto"],
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            **rules(
                (
                    "type(self) == string ? self == 'auto' : self >= 1",
                    "spec.training.checkpointEverySteps must be a whole number of at least 1, or auto",
                )
            ),
        }
    ),
]
"""How many steps lie between two checkpoints."""


class Training(Shared):
    """How the built-in program trains."""

    epochs: int = Field(default=1, ge=1, le=1_000_000, description="Passes over the training data.")
    batch_size: int = Field(
        default=64, ge=1, le=1_048_576, description="Samples in a step over all workers together; divided among them."
    )
    optimizer: OPTIMIZERS = Field(
        default="adamw",
        description="Rule that updates the weights: gd (gradient descent on all samples at once), sgd (with momentum), adam, adamw.",
    )
    learning_rate: float = Field(default=0.001, gt=0, le=1000, description="Peak step size of the optimizer.")
    weight_decay: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Decay of weights per unit of learning rate; by default 0.01 with adamw and none with the others.",
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd.")
    betas: list[Annotated[float, Field(ge=0, lt=1)]] | None = Field(
        default=None,
        min_length=2,
        max_length=2,
        description="Decay of the means that adam and adamw keep of gradients and of their squares; by default 0.9 and 0.999.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    schedule: Literal["trapezoid", "constant", "linear", "cosine"] = Field(
        default="trapezoid",
        description="Course of the learning rate after its rise: level and a straight fall at the end, constant, or a linear or cosine fall.",
    )
    warmup_steps: int | None = Field(
        default=None,
        ge=0,
        description="Steps in which the learning rate rises; by default a twentieth of all, at most 500.",
    )
    clip_norm: float | None = Field(
        default=None,
        gt=0,
        description="The most that the gradients of all weights together may measure; by default no limit.",
    )
    accumulate_steps: int = Field(
        default=1,
        ge=1,
        le=4096,
        description="Parts in which a worker takes its share of a step, one after the other, to need less memory.",
    )
    precision: Literal["fp32", "bf16", "fp8"] = Field(
        default="fp32",
        description="What the forward pass computes in; weights, gradients and optimizer stay in fp32. fp8 is bf16 with the products"
        " of linear layers in 8 bits, for GPUs of compute capability 8.9 or more; the job fails at once on any other.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the model (torch.compile): slower at the first step, faster after it. An image of your own needs a C++ compiler for it.",
    )
    recompute: bool = Field(
        default=False,
        description="Compute what layers computed again in the backward pass rather than keep it: less memory, a third more work.",
    )
    parallelism: Parallelism | None = Field(
        default=None, description="How the workers' processes share a step; by default all are data parallel."
    )
    loss: Literal["cross-entropy", "mse"] | None = Field(
        default=None, description="What is minimised; by default cross-entropy for classes and mse for numbers."
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=4_294_967_295,
        description="Seed of the initial weights, the split and the order of the data.",
    )
    label_smoothing: float | None = Field(
        default=None, ge=0, lt=1, description="How far cross-entropy moves its targets from 0 and 1; by default 0.1."
    )
    checkpoint_every_steps: CheckpointSteps | None = Field(
        default=None,
        description="Steps between checkpoints, or auto: as often as loses least, by what one costs and how often the gang is interrupted. By default one at the end of each epoch.",
    )
    async_checkpoints: bool = Field(
        default=True,
        description="Write checkpoints while training goes on; it stands still only for a copy of the weights in memory.",
    )
    keep_checkpoints: int = Field(default=3, ge=1, le=1000, description="Newest checkpoints that are kept.")
    keep_best: int = Field(
        default=0, ge=0, le=1000, description="Checkpoints that are kept besides because bestMetric was best there."
    )
    best_metric: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Metric of the held-out samples that keepBest goes by; by default accuracy, or mse for numbers. Less is better where the name has loss, mse or mae in it.",
    )
    keep_every_hours: float | None = Field(
        default=None, gt=0, le=87_600, description="Keeps one checkpoint besides for each so many hours."
    )


AccessMode = Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]


class ClaimTemplate(Model):
    """A claim to be made for the job."""

    size: Quantity = Field(default="10Gi", description="Size of the volume.")
    storage_class_name: str | None = Field(
        default=None, max_length=253, description="Class of the volume; empty takes the cluster's default."
    )
    access_modes: tuple[AccessMode, ...] = Field(
        default=("ReadWriteMany",),
        min_length=1,
        max_length=3,
        description="How the volume is shared. More than one worker needs ReadWriteMany.",
    )


class Storage(Shared):
    """Where data, checkpoints and exports live."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.claimName) != has(self.claimTemplate)",
                "spec.storage takes exactly one of claimName and claimTemplate",
            )
        )
    )

    claim_name: Name | None = Field(
        default=None,
        description="An existing PersistentVolumeClaim in the job's namespace. More than one worker needs one with ReadWriteMany.",
    )
    claim_template: ClaimTemplate | None = Field(
        default=None, description="Makes a claim with the job's name when there is none."
    )
    reclaim: Literal["Retain", "Delete"] = Field(
        default="Retain", description="Whether a claim made from claimTemplate outlives the job."
    )


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
    _stay(
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
