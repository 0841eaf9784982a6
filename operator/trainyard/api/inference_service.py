"""InferenceService: replicas of a model server behind a load balancer."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from trainyard.api.admission import AvoidedNode
from trainyard.api.autoscaling import Autoscaling, Scaling
from trainyard.api.batching import Batching, RequestLimits
from trainyard.api.compression import VariantName
from trainyard.api.forecast import Remedy, StartEstimate
from trainyard.api.gateway import Gateway
from trainyard.api.graph import Graph
from trainyard.api.meta import (
    FOLDER,
    Conditions,
    Model,
    Name,
    ObjectMeta,
    PodTemplate,
    PreciseTime,
    ResourceRequirements,
    list_map,
    rules,
)
from trainyard.api.names import API_VERSION, GPU, MAX_NAME
from trainyard.api.placement import FlavorChoices
from trainyard.api.preemption import Nomination, Preemption, WorkloadReference
from trainyard.api.quantity import whole
from trainyard.api.restored import Restored
from trainyard.api.rollout import Rollout, RolloutStatus
from trainyard.api.slo import ServiceLevelObjective
from trainyard.api.telemetry import Telemetry


class ModelSource(Model):
    """Which model is served."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "(has(self.trainingJob) ? 1 : 0) + (has(self.claimName) ? 1 : 0) + (has(self.graph) ? 1 : 0) == 1",
                "spec.model takes exactly one of trainingJob, claimName and graph",
            ),
            (
                "has(self.claimName) ? has(self.path) != has(self.repository) : !has(self.path) && !has(self.repository)",
                "spec.model takes exactly one of path and repository with claimName, and neither without it",
            ),
            (
                "!has(self.digest) || has(self.path)",
                "spec.model.digest goes with path: a trainingJob brings its own, and so does each model of a repository",
            ),
            (
                "!has(self.variant) || has(self.trainingJob)",
                "spec.model.variant goes with trainingJob: with claimName, path is the folder of the variant",
            ),
        )
    )

    training_job: Name | None = Field(
        default=None, description="A TrainingJob of the same namespace whose result is served, as soon as it is there."
    )
    variant: VariantName | None = Field(
        default=None,
        description="A published variant of that result (status.result.variants), in place of the result itself.",
    )
    claim_name: Name | None = Field(default=None, description="A PersistentVolumeClaim that holds the model.")
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        pattern=FOLDER,
        description="Folder on the claim with model.safetensors and card.json.",
    )
    repository: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        pattern=FOLDER,
        description="Folder on the claim with several models, each in NAME/VERSION; . is the claim's own. What changes in it is served without a restart.",
    )
    digest: str | None = Field(
        default=None,
        pattern=r"^sha256:[0-9a-f]{64}$",
        description="sha256 that model.safetensors must have; by default the one in its card.",
    )
    graph: Graph | None = Field(
        default=None,
        description="No model of its own: replicas are routers that ask other services, stage by stage. They need no GPU.",
    )


class InferenceServiceSpec(Model):
    """Which model, how many replicas, and what each needs."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.queue == oldSelf.queue", "spec.queue is immutable: create a second service and move the traffic"),
            (
                "!has(self.rollout) || self.rollout.strategy == 'Replace' || !has(self.model.claimName) || has(self.model.digest)",
                "spec.rollout.strategy: Canary and BlueGreen need spec.model.digest with claimName, which tells the models apart",
            ),
            (
                "!has(self.batching) || !has(self.batching.models) || size(self.batching.models) == 0 || has(self.model.repository)",
                "spec.batching.models goes with spec.model.repository: of a single model spec.batching says all",
            ),
            (
                "!has(self.rollout) || self.rollout.strategy == 'Replace' || !has(self.model.graph)",
                "spec.rollout.strategy: a graph is replaced; roll out the models of its stages instead",
            ),
            (
                "!has(self.model.graph) || !has(self.gateway) || !has(self.gateway.grpc) || !self.gateway.grpc",
                "spec.gateway.grpc: a graph answers REST only",
            ),
        )
    )

    queue: Name = Field(description="Queue that the replicas ask for quota. It must select the service's namespace.")
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000, description="Higher starts first within the queue.")
    model: ModelSource = Field(description="Which model is served.")
    replicas: int = Field(
        default=1, ge=0, le=1024, description="Number of model servers; with autoscaling the number at the beginning."
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="Let the number of model servers follow the demand."
    )
    resources: ResourceRequirements = Field(
        default_factory=ResourceRequirements.plain, description="Resources of each replica, as in core/v1."
    )
    template: PodTemplate | None = Field(
        default=None,
        description="A core/v1 PodTemplateSpec that replicas start from. The container named `server` is ours.",
    )
    flavors: FlavorChoices = ()
    preemptible: bool = Field(
        default=False,
        description="Whether replicas may be drained so that others can start. Whose may be stopped for whom is said in spec.preemption of queues.",
    )
    batching: Batching = Field(
        default_factory=Batching,
        description="How a model server computes requests together.",
    )
    request_limits: RequestLimits = Field(
        default_factory=RequestLimits, description="How large a request may be and how long it may take."
    )
    gateway: Gateway = Field(default_factory=Gateway, description="The load balancer in front of the replicas.")
    rollout: Rollout = Field(
        default_factory=Rollout, description="How a changed model takes the place of the one that is served."
    )
    slo: ServiceLevelObjective | None = Field(
        default=None, description="What callers may expect; metrics count how many requests met it."
    )
    telemetry: Telemetry = Field(
        default_factory=Telemetry,
        description="Traces of requests. A change replaces the gateway's pods; replicas follow when they are replaced.",
    )
    drain_seconds: int = Field(
        default=60, ge=1, le=3600, description="How long a replica that is taken away may finish its requests."
    )


class ReplicaAdmission(Model):
    """One replica and the place it holds."""

    serial: int = Field(description="Number of the replica, never used twice; it stands in the pod's name.")
    node: str = Field(description="Node it was given.")
    flavor: str = Field(description="Flavor whose quota is held.")
    digest: str = Field(default="", description="Digest of the model that the replica serves.")
    shape: str = Field(default="", description="Mark of what spec asked of its pod: a changed spec replaces it.")
    epoch: int = Field(default=0, description="Leadership under which it was decided.")
    admitted_at: PreciseTime = Field(description="When it was decided.")
    release: Literal["", "drain", "now"] = Field(
        default="",
        description="drain: it finishes its requests and goes; now: it is gone or could not start, and its place is given back.",
    )
    drain_started_at: PreciseTime | None = Field(
        default=None, description="When the gateways were asked to send it nothing new."
    )
    preemption: Preemption | None = Field(
        default=None, description="The request to make way for another workload, while it is being carried out."
    )


class ReplicaNomination(Nomination):
    """The place that a replica gets when others have made way for it."""

    serial: int = Field(description="Number that the replica will have.")
    victims: list[WorkloadReference] = Field(
        default_factory=list, max_length=32, description="Who makes way. None is added later."
    )


class ServedModel(Model):
    """The model that replicas load."""

    claim_name: str = Field(description="Claim that holds it; empty for a graph.")
    path: str = Field(description="Folder on the claim; empty for a graph.")
    digest: str = Field(default="", description="sha256 of model.safetensors, or of a graph as routers get it.")
    repository: bool = Field(default=False, description="Whether the folder holds several models.")
    variant: str = Field(default="", description="Which variant of the job's result it is; empty if it is none.")


class InferenceServiceStatus(Model):
    """What the operator knows of the service."""

    observed_generation: int = Field(default=0, description="Generation of the spec that this status describes.")
    phase: str = Field(
        default="",
        description="Summary of the conditions for people: Pending, Starting, Ready, Degraded, ScaledToZero.",
    )
    reason: str = Field(
        default="", description="Why the service is not ready, in one word; the condition's message says more."
    )
    conditions: Conditions = ()
    desired_replicas: int = Field(
        default=0, description="Replicas that are wanted: spec.replicas, or what autoscaling has decided."
    )
    scaling: Scaling | None = Field(default=None, description="With autoscaling: the last decision and its reason.")
    replicas: int = Field(default=0, description="Replicas that hold a place.")
    ready_replicas: int = Field(default=0, description="Replicas that answer.")
    gateways: int = Field(default=0, description="Gateway pods that are ready.")
    selector: str = Field(default="", description="Label selector of the replicas, for the scale subresource.")
    url: str = Field(default="", description="Where the service answers inside the cluster.")
    grpc_address: str = Field(
        default="", description="With spec.gateway.grpc: where gRPC is answered inside the cluster, as host:port."
    )
    gpus: int = Field(default=0, description="GPUs that all replicas ask for.")
    model: ServedModel | None = Field(default=None, description="The model that replicas load.")
    rollout: RolloutStatus | None = Field(
        default=None,
        description="With Canary or BlueGreen: the rollout of a changed model that goes on, or the last one.",
    )
    next_serial: int = Field(default=1, description="Serial number of the next replica.")
    admission: list[ReplicaAdmission] = Field(
        default_factory=list,
        max_length=2048,
        description="The places that replicas hold.",
        json_schema_extra=list_map("serial"),
    )
    nominations: list[ReplicaNomination] = Field(
        default_factory=list,
        max_length=16,
        description="The places that replicas get when others have made way for them; so many at a time.",
        json_schema_extra=list_map("serial"),
    )
    eta: StartEstimate | None = Field(
        default=None, description="When the first of the missing replicas is expected to start."
    )
    remedies: list[Remedy] = Field(
        default_factory=list,
        max_length=8,
        description="Changes with which a missing replica would have started when it was last looked at, the smallest first.",
    )
    avoid: list[AvoidedNode] = Field(
        default_factory=list, max_length=64, description="Nodes that refused a replica a short time ago."
    )
    restored: Restored | None = Field(
        default=None, description="Who the service was before it was restored from a backup, if it was."
    )
    ready_time: PreciseTime | None = Field(
        default=None, description="When the service became ready for the first time."
    )


class InferenceService(Model):
    """Replicas of a model server behind HAProxy, admitted through the same queues as training."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"size(self.metadata.name) <= {MAX_NAME}",
                f"metadata.name must be at most {MAX_NAME} characters: the names of the pods derive from it",
            ),
            (
                "self.metadata.name.matches('^[a-z][-a-z0-9]*$')",
                "metadata.name must be lower case letters, digits and dashes, and begin with a letter: it is that of a Service",
            ),
        )
    )

    api_version: Literal["trainyard.dev/v1alpha1"] = API_VERSION
    kind: Literal["InferenceService"] = "InferenceService"
    metadata: ObjectMeta
    spec: InferenceServiceSpec = Field(description="Which model, how many replicas, and what each needs.")
    status: InferenceServiceStatus = Field(
        default_factory=InferenceServiceStatus, description="Written by the operator."
    )

    plural: ClassVar[str] = "inferenceservices"
    short: ClassVar[str] = "tyi"

    def since(self) -> datetime | None:
        """When it was created; one that was restored, when it was at first."""
        return self.status.restored.since if self.status.restored else self.metadata.creation_timestamp

    def gpus(self) -> int:
        """GPUs that all replicas ask for."""
        return max(0, whole(self.spec.resources.limits.get(GPU, "0"))) * self.target()

    def target(self) -> int:
        """Replicas that are wanted: what the autoscaler decided, as far as the status shows it, or spec.replicas."""
        autoscaling = self.spec.autoscaling
        if autoscaling is None:
            return self.spec.replicas
        if self.status.scaling is not None:
            return self.status.scaling.desired
        return min(max(self.spec.replicas, autoscaling.min_replicas), autoscaling.max_replicas)
