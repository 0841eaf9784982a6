"""TrainingJob: a gang of PyTorch workers that train one model on one data set, or run the user's own command."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from trainyard.api.admission import AvoidedNode, JobAdmission
from trainyard.api.compression import MAX_VARIANTS, ParentModel, Variant
from trainyard.api.failure import Failure
from trainyard.api.forecast import Remedy, StartEstimate
from trainyard.api.incident import MAX_INCIDENTS, Incident
from trainyard.api.ledger import Ledger
from trainyard.api.meta import Conditions, Model, ObjectMeta, PreciseTime, Shared, Time, Word, list_map, rules
from trainyard.api.names import API_VERSION, GPU, MAX_HOSTNAME, MAX_NAME, SPARE, WORKER
from trainyard.api.preemption import Nomination, Preemption
from trainyard.api.quantity import parse
from trainyard.api.restored import Restored
from trainyard.api.straggler import MAX_STRAGGLERS, Straggler
from trainyard.api.tensorboard import TensorBoard
from trainyard.api.training_job_spec import TrainingJobSpec


class Restarted(Model):
    """The last restart."""

    attempt: int = Field(description="Attempt that ended, or that went on in its pods.")
    round: int | None = Field(
        default=None, description="Which start of the program in the attempt's pods began, where they were kept."
    )
    cause: str = Field(max_length=1024, description="What ended it.")
    time: Time = Field(description="When it was noticed.")
    step: int | None = Field(default=None, description="Last step that the attempt reported.")
    node: str = Field(
        default="",
        description="Node on which its first failure was, if one failed. Nodes on which several jobs failed are used last.",
    )


class Resizing(Model):
    """A change of an elastic job's size in its pods: those that come or go do, and those that stay go on with the new number."""

    attempt: int = Field(description="Attempt in which it happens.")
    before: int = Field(description="Workers until then.")
    time: PreciseTime = Field(description="When it was decided.")


class Checkpointing(Model):
    """How far apart checkpoints are where spec.training.checkpointEverySteps is auto, as the trainer decided it last."""

    every_steps: int = Field(description="Steps from one to the next.")
    seconds: float = Field(description="How long that takes.")
    stall_seconds: float = Field(description="How long training stands still for one.")
    write_seconds: float = Field(description="How long it takes until one is durable; training goes on meanwhile.")
    interruption_seconds: float | None = Field(
        default=None,
        description="How far apart unplanned interruptions of this gang are expected to be; nothing if the trainer was not told.",
    )
    why: str = Field(default="", max_length=512, description="The same in words.")


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
    warning: str = Field(
        default="", max_length=1024, description="What the trainer wants a person to know, until a newer checkpoint."
    )
    checkpoint_failures: int = Field(default=0, description="Checkpoints that this run could not write.")
    checkpointing: Checkpointing | None = Field(
        default=None, description="With checkpointEverySteps: auto, how often checkpoints are made, and why."
    )
    updated_at: PreciseTime = Field(description="When this was written.")


class Checkpoint(Model):
    """The last durable checkpoint."""

    step: int = Field(description="Step that it holds.")
    path: str = Field(max_length=1024, description="Folder on the claim.")
    time: PreciseTime | None = Field(
        default=None,
        description="When it became known that it is durable: what a preemption loses is counted from here.",
    )


class Result(Model):
    """The exported model."""

    claim_name: str = Field(description="Claim that holds it.")
    path: str = Field(max_length=1024, description="Folder on the claim with model.safetensors and card.json.")
    digest: str = Field(max_length=128, description="sha256 of model.safetensors.")
    variants: list[Variant] = Field(
        default_factory=list,
        max_length=MAX_VARIANTS,
        description="With spec.compression: each variant, whether it is published, and its figures.",
    )


class WorkerCounts(Shared):
    """Pods of the current attempt."""

    active: int = Field(default=0, description="Pods that exist and have not ended.")
    ready: int = Field(default=0, description="Pods that run.")
    succeeded: int = Field(default=0, description="Pods that ended with exit code 0.")


class TrainingJobStatus(Model):
    """What the operator knows of the job."""

    observed_generation: int = Field(default=0, description="Generation of the spec that this status describes.")
    phase: Word = Field(
        default="",
        description="Summary of the conditions for people: Pending, Admitted, Running, Restarting, Suspending, Suspended, Complete, Failed.",
    )
    reason: Word = Field(
        default="", description="Why the job waits or how it ended, in one word; the condition's message says more."
    )
    conditions: Conditions = ()
    attempt: int = Field(
        default=1, description="Current attempt, counted from 1; its number stands in the pods' names."
    )
    restarts: int = Field(default=0, description="Restarts of the gang in all.")
    counted_restarts: list[Time] = Field(
        default_factory=list,
        max_length=64,
        description="When those restarts were that count against spec.restart.maxRestarts, where it has a window.",
    )
    disruptions: int = Field(
        default=0,
        description="Restarts out of these that were not the program's fault, e.g. a lost node; they do not count against spec.restart.maxRestarts.",
    )
    replacing: list[str] = Field(
        default_factory=list, description="Pods, by uid, that are being replaced while the others wait."
    )
    resizing: Resizing | None = Field(
        default=None, description="The change of size that is under way in the pods of an elastic job."
    )
    last_restart: Restarted | None = Field(default=None, description="The last restart and its cause.")
    last_failure: Failure | None = Field(
        default=None, description="The failure that ended an attempt last: of several pods the one that failed first."
    )
    queue_position: int | None = Field(
        default=None, description="Place among the waiting of its queue, counted from 1."
    )
    eta: StartEstimate | None = Field(
        default=None, description="When a waiting job is expected to start; nothing while nobody can tell."
    )
    remedies: list[Remedy] = Field(
        default_factory=list,
        max_length=8,
        description="Changes with which a waiting job would have started when it was last looked at, the smallest first.",
    )
    gpus: int = Field(default=0, description="GPUs that the whole gang holds, or asks for while it waits.")
    admission: JobAdmission | None = Field(default=None, description="The place that the job holds.")
    nomination: Nomination | None = Field(
        default=None, description="The place that a waiting job gets when others have made way for it."
    )
    preemption: Preemption | None = Field(
        default=None, description="The request to make way for another workload, while it is being carried out."
    )
    preemptions: int = Field(
        default=0, description="How often the job made way for others; its queue's preemption.maxPreemptions bounds it."
    )
    avoid: list[AvoidedNode] = Field(
        default_factory=list, max_length=64, description="Nodes that refused a pod of this job a short time ago."
    )
    workers: WorkerCounts = Field(default_factory=WorkerCounts.plain, description="Pods of the current attempt.")
    progress: Progress | None = Field(default=None, description="Where training is; at most one update in 30 seconds.")
    checkpoint: Checkpoint | None = Field(default=None, description="The last durable checkpoint.")
    parent: ParentModel | None = Field(
        default=None,
        description="With spec.compression.parent: the model that is compressed, as it was when the job first found it. It stays that one.",
    )
    result: Result | None = Field(default=None, description="The exported model.")
    tensorboard: TensorBoard | None = Field(default=None, description="Its TensorBoard, if spec.tensorboard is true.")
    stragglers: list[Straggler] = Field(
        default_factory=list,
        max_length=MAX_STRAGGLERS,
        description="Workers that the others waited for, now or before. Their nodes are used last for a while.",
    )
    ledger: Ledger | None = Field(
        default=None,
        description="What the time since the job's creation was spent on. Written at transitions and with progress.",
    )
    restored: Restored | None = Field(
        default=None, description="Who the job was before it was restored from a backup, if it was."
    )
    incidents: list[Incident] = Field(
        default_factory=list,
        max_length=MAX_INCIDENTS,
        description="The last interruptions, each from the fault to the first new step. Written with the transitions that they tell of.",
        json_schema_extra=list_map("number"),
    )
    first_step_time: PreciseTime | None = Field(
        default=None, description="When the first step of the first attempt ended."
    )
    start_time: PreciseTime | None = Field(default=None, description="When every pod ran for the first time.")
    completion_time: PreciseTime | None = Field(default=None, description="When the job completed or failed.")


_PARENT = "self.spec.compression.parent"


class TrainingJob(Model):
    """A gang of PyTorch workers that train one model on one data set, or run your own command, under the quota of a queue."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"size(self.metadata.name) <= {MAX_NAME}",
                f"metadata.name must be at most {MAX_NAME} characters: the hostnames of the workers derive from it",
            ),
            (
                "self.metadata.name.matches('^[a-z][-a-z0-9]*$')",
                "metadata.name must be lower case letters, digits and dashes, and begin with a letter: hostnames and a Service derive from it",
            ),
            (
                f"!has(self.spec.roles) || self.spec.roles.all(r, size(self.metadata.name) + size(r.name) <= {MAX_HOSTNAME})",
                f"metadata.name and the name of a role must be at most {MAX_HOSTNAME} characters together: hostnames derive from them",
            ),
            (
                f"!has(self.spec.compression) || !has({_PARENT}) || !has({_PARENT}.trainingJob) || {_PARENT}.trainingJob != self.metadata.name",
                "spec.compression.parent.trainingJob must be another job; leave parent out to compress what this one trains",
            ),
        )
    )

    api_version: Literal["trainyard.dev/v1alpha1"] = API_VERSION
    kind: Literal["TrainingJob"] = "TrainingJob"
    metadata: ObjectMeta
    spec: TrainingJobSpec = Field(description="What to train, on what, with how many workers.")
    status: TrainingJobStatus = Field(default_factory=TrainingJobStatus, description="Written by the operator.")

    plural: ClassVar[str] = "trainingjobs"
    short: ClassVar[str] = "tyj"

    def since(self) -> datetime | None:
        """When it was created; one that was restored, when it was at first."""
        return self.status.restored.since if self.status.restored else self.metadata.creation_timestamp

    def first_uid(self) -> str:
        """Its uid; of one that was restored, the one that it had at first."""
        return self.status.restored.uid if self.status.restored else self.metadata.uid

    def counts(self) -> dict[str, int]:
        """Pods of each role that the gang has a place for, or would like to have while it waits."""
        admission = self.status.admission
        if admission is None:
            return self.spec.counts()
        return {role.name: sum(run.count for run in role.runs) for role in admission.roles}

    def size(self) -> int:
        """The same of all roles together."""
        return sum(self.counts().values())

    def members(self) -> int:
        """The same without those that only stand by, or are not taken in yet."""
        return self.size() - self.counts().get(SPARE, 0) - self.joining()

    def joining(self) -> int:
        """Workers that come to others who train already, and are not taken in yet: the last ones."""
        found = self.status.resizing
        if found is None or found.attempt != self.status.attempt:
            return 0
        return max(0, self.counts().get(WORKER, 0) - found.before)

    def gpus(self) -> int:
        """GPUs that the whole gang holds, or asks for while it waits; parts of a GPU count together. Never complains."""
        return self._milli(GPU) // 1000

    def held_gpus(self) -> float:
        """GPUs that the job holds now; none while it waits or when it is over."""
        return self.held(GPU)

    def held(self, resource: str) -> float:
        """The same of any resource, as its pods ask for it."""
        if self.status.admission is None or self.status.completion_time is not None:
            return 0.0
        return self._milli(resource) / 1000

    def _milli(self, resource: str) -> int:
        counts = self.counts()
        asked = dict.fromkeys((WORKER, SPARE), self.spec.workers.resources)
        asked |= {each.name: each.resources for each in self.spec.roles}
        try:
            milli = sum(
                parse({**each.limits, **each.requests}.get(resource, "0")) * counts.get(name, 0)
                for name, each in asked.items()
            )
        except ValueError:
            return 0
        return max(0, milli)
