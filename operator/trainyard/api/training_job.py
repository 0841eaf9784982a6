"""TrainingJob: a gang of PyTorch workers that train one model on one data set, or run the user's own command."""

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from trainyard.api.admission import AvoidedNode, JobAdmission
from trainyard.api.meta import (
    Conditions,
    Model,
    Name,
    ObjectMeta,
    Opaque,
    PodTemplate,
    PreciseTime,
    Quantity,
    ResourceRequirements,
    Time,
    rules,
)
from trainyard.api.names import API_VERSION, GPU, MAX_NAME, MAX_PODS
from trainyard.api.quantity import whole


class NamedChoice(Model):
    """Something out of a registry, with parameters of its own."""

    name: str = Field(
        min_length=1,
        max_length=128,
        description="Name in the trainer's registry. An unknown name fails the job at once and lists what there is.",
    )
    parameters: Opaque = Field(
        default_factory=dict, description="Parameters that this choice takes; unknown ones fail the job and are named."
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
        default_factory=dict, max_length=256, description="Environment variables added to every worker."
    )


class Workers(Model):
    """The gang."""

    replicas: int = Field(default=1, ge=1, le=MAX_PODS, description="Number of pods. All of them start, or none.")
    resources: ResourceRequirements = Field(
        default_factory=ResourceRequirements,
        description="Resources of each pod, as in core/v1. A whole number of nvidia.com/gpu in limits; each GPU gets a process.",
    )
    template: PodTemplate | None = Field(
        default=None,
        description="A core/v1 PodTemplateSpec that the workers start from: volumes, sidecars, environment, security. The container named `trainer` is ours.",
    )


OPTIMIZERS = Literal["sgd", "adam", "adamw"]


class Training(Model):
    """How the built-in program trains."""

    epochs: int = Field(default=1, ge=1, le=1_000_000, description="Passes over the training data.")
    batch_size: int = Field(
        default=64, ge=1, le=1_048_576, description="Samples in a step over all workers together; divided among them."
    )
    optimizer: OPTIMIZERS = Field(default="adamw", description="Rule that updates the weights.")
    learning_rate: float = Field(default=0.001, gt=0, le=1000, description="Peak step size of the optimizer.")
    weight_decay: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Decay of weights per unit of learning rate; by default 0.01 with adamw and none with the others.",
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd.")
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
    checkpoint_every_steps: int | None = Field(
        default=None, ge=1, description="Steps between checkpoints; by default one at the end of each epoch."
    )
    keep_checkpoints: int = Field(default=3, ge=1, le=1000, description="Newest checkpoints that are kept.")


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


class Storage(Model):
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


class Restart(Model):
    """What happens when a worker fails."""

    max_restarts: int = Field(
        default=3,
        ge=0,
        le=1000,
        description="Restarts of the gang from its last checkpoint before the job fails. Exit codes 64 and 65 fail at once: a restart would not help.",
    )


_FROZEN = (
    "queue",
    "model",
    "entrypoint",
    "dataset",
    "workers.replicas",
    "workers.resources",
    "workers.template",
    "training",
    "storage",
    "restart",
    "startDeadlineSeconds",
)


def _has(path: str, root: str) -> str:
    """Whether the field and all that it is in are there: CEL ends with an error at the first that is not."""
    parts = path.split(".")
    return " && ".join(f"has({root}.{'.'.join(parts[: length + 1])})" for length in range(len(parts)))


def _immutable() -> dict[str, Any]:
    """All of the spec but suspend, priority and TTL; each field says so by name."""
    pairs = []
    for path in _FROZEN:
        now, was = _has(path, "self"), _has(path, "oldSelf")
        pairs.append(
            (
                f"({now}) == ({was}) && (!({now}) || self.{path} == oldSelf.{path})",
                f"spec.{path} is immutable: delete the job and create it anew",
            )
        )
    pairs.append(("has(self.model) != has(self.entrypoint)", "spec takes exactly one of model and entrypoint"))
    pairs.append(("!has(self.model) || has(self.dataset)", "spec.dataset is required with spec.model"))
    return rules(*pairs)


class TrainingJobSpec(Model):
    """What to train, on what, with how many workers."""

    model_config = ConfigDict(json_schema_extra=_immutable())

    queue: Name = Field(description="Queue that the job asks for quota. It must select the job's namespace.")
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000, description="Higher starts first within the queue.")
    suspend: bool = Field(
        default=False,
        description="True stops the workers after a checkpoint and gives back their GPUs; false lets the job go on from there.",
    )
    model: NamedChoice | None = Field(
        default=None, description="A built-in model: linear, mlp, cnn, or one that the image registers."
    )
    dataset: NamedChoice | None = Field(
        default=None, description="A built-in data set: digits, iris, diabetes, or one that the image registers."
    )
    entrypoint: Entrypoint | None = Field(default=None, description="Your own program instead of a built-in model.")
    workers: Workers = Field(
        default_factory=Workers,
        description="The gang: number of pods and what each needs.",
        json_schema_extra={"default": {}},
    )
    training: Training = Field(default_factory=Training, description="How the built-in program trains.")
    storage: Storage | None = Field(
        default=None,
        description="Where checkpoints and the trained model are kept. Without it a restart begins anew and no model is exported.",
    )
    restart: Restart = Field(default_factory=Restart, description="What happens when a worker fails.")
    start_deadline_seconds: int = Field(
        default=600,
        ge=30,
        le=86_400,
        description="How long an admitted gang may take until every pod runs; then the attempt is undone and its GPUs given back.",
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=2_147_483_647,
        description="Deletes the job this long after it finished; by default never.",
    )


class Restarted(Model):
    """The last restart."""

    attempt: int = Field(description="Attempt that ended.")
    cause: str = Field(max_length=1024, description="What ended it.")
    time: Time = Field(description="When it was noticed.")
    step: int | None = Field(default=None, description="Last step that the attempt reported.")


class Progress(Model):
    """Where training is."""

    phase: str = Field(
        default="",
        max_length=64,
        description="What the trainer does: starting, training, checkpointing, evaluating, exporting, done.",
    )
    step: int = Field(default=0, description="Optimizer steps made.")
    total_steps: int | None = Field(default=None, description="Optimizer steps in all.")
    epoch: int | None = Field(default=None, description="Current pass over the data.")
    loss: float | None = Field(default=None, description="Training loss of the last report.")
    metrics: dict[str, float] = Field(default_factory=dict, description="Measures on held-out data, e.g. accuracy.")
    throughput: float | None = Field(default=None, description="Samples per second over all workers.")
    world_size: int | None = Field(default=None, description="Processes that train together.")
    restored_step: int | None = Field(default=None, description="Step of the checkpoint that this attempt began from.")
    eta: str = Field(default="", max_length=32, description="Time left until the last step, e.g. 3m20s.")
    warning: str = Field(default="", max_length=1024, description="Something that the trainer wants a person to know.")
    updated_at: PreciseTime = Field(description="When this was written.")


class Checkpoint(Model):
    """The last durable checkpoint."""

    step: int = Field(description="Step that it holds.")
    path: str = Field(max_length=1024, description="Folder on the claim.")


class Result(Model):
    """The exported model."""

    claim_name: str = Field(description="Claim that holds it.")
    path: str = Field(max_length=1024, description="Folder on the claim with model.safetensors and card.json.")
    digest: str = Field(max_length=128, description="sha256 of model.safetensors.")


class WorkerCounts(Model):
    """Pods of the current attempt."""

    active: int = Field(default=0, description="Pods that exist and have not ended.")
    ready: int = Field(default=0, description="Pods that run.")
    succeeded: int = Field(default=0, description="Pods that ended with exit code 0.")


class TrainingJobStatus(Model):
    """What the operator knows of the job."""

    observed_generation: int = Field(default=0, description="Generation of the spec that this status describes.")
    phase: str = Field(
        default="",
        description="Summary of the conditions for people: Pending, Admitted, Running, Restarting, Suspending, Suspended, Complete, Failed.",
    )
    reason: str = Field(
        default="", description="Why the job waits or how it ended, in one word; the condition's message says more."
    )
    conditions: Conditions = ()
    attempt: int = Field(
        default=1, description="Current attempt, counted from 1; its number stands in the pods' names."
    )
    restarts: int = Field(default=0, description="Restarts of the gang in all.")
    disruptions: int = Field(
        default=0,
        description="Restarts out of these that were not the program's fault, e.g. a lost node; they do not count against spec.restart.maxRestarts.",
    )
    last_restart: Restarted | None = Field(default=None, description="The last restart and its cause.")
    queue_position: int | None = Field(
        default=None, description="Place among the waiting of its queue, counted from 1."
    )
    gpus: int = Field(default=0, description="GPUs that the whole gang asks for.")
    admission: JobAdmission | None = Field(default=None, description="The place that the job holds.")
    avoid: list[AvoidedNode] = Field(
        default_factory=list, max_length=64, description="Nodes that refused a pod of this job a short time ago."
    )
    workers: WorkerCounts = Field(default_factory=WorkerCounts, description="Pods of the current attempt.")
    progress: Progress | None = Field(default=None, description="Where training is; at most one update in 30 seconds.")
    checkpoint: Checkpoint | None = Field(default=None, description="The last durable checkpoint.")
    result: Result | None = Field(default=None, description="The exported model.")
    first_step_time: PreciseTime | None = Field(
        default=None, description="When the first step of the first attempt ended."
    )
    start_time: PreciseTime | None = Field(default=None, description="When every pod ran for the first time.")
    completion_time: PreciseTime | None = Field(default=None, description="When the job completed or failed.")


class TrainingJob(Model):
    """A gang of PyTorch workers that train one model on one data set, or run your own command, under the quota of a queue."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"size(self.metadata.name) <= {MAX_NAME}",
                f"metadata.name must be at most {MAX_NAME} characters: the hostnames of the workers derive from it",
            )
        )
    )

    api_version: Literal["trainyard.dev/v1alpha1"] = API_VERSION
    kind: Literal["TrainingJob"] = "TrainingJob"
    metadata: ObjectMeta
    spec: TrainingJobSpec = Field(description="What to train, on what, with how many workers.")
    status: TrainingJobStatus = Field(default_factory=TrainingJobStatus, description="Written by the operator.")

    plural: ClassVar[str] = "trainingjobs"
    short: ClassVar[str] = "tyj"

    def gpus(self) -> int:
        """GPUs that the whole gang asks for."""
        return max(0, whole(self.spec.workers.resources.limits.get(GPU, "0"))) * self.spec.workers.replicas
