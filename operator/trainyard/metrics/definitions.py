"""Every metric: name, type, labels and the line that explains it. Code that measures and docs/metrics.md both start here.

Base units, one unit a metric. Series of an object are rendered from the world at scrape time, so they end with the
object; what must outlive objects is keyed by queue. `values` lists a label's values where they are known beforehand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import get_args

from trainyard.api.failure import FailureClass
from trainyard.api.invariants import Invariant
from trainyard.api.ledger import Category
from trainyard.api.reasons import Waiting
from trainyard.api.rollout import Phase

PREFIX = "trainyard_"


class Kind(StrEnum):
    """Types as Prometheus knows them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Group(StrEnum):
    """Chapters of the documentation."""

    OPERATOR = "Operator"
    QUEUES = "Queues"
    NODES = "Nodes"
    TRAINING = "Training jobs"
    INFERENCE = "Inference services"


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of series. `name` is what a query says, with `_total` for a counter."""

    name: str
    kind: Kind
    group: Group
    meaning: str
    labels: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()

    @property
    def family(self) -> str:
        """Name of the family in OpenMetrics: a counter's is without `_total`."""
        return self.name.removesuffix("_total") if self.kind is Kind.COUNTER else self.name


_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_WAIT = (0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 43_200, 86_400, 259_200, 604_800)


def _counter(name: str, group: Group, meaning: str, *labels: str, **values: tuple[str, ...]) -> Metric:
    return Metric(f"{PREFIX}{name}_total", Kind.COUNTER, group, meaning, labels, values)


def _gauge(name: str, group: Group, meaning: str, *labels: str, **values: tuple[str, ...]) -> Metric:
    return Metric(PREFIX + name, Kind.GAUGE, group, meaning, labels, values)


def _histogram(
    name: str, group: Group, meaning: str, buckets: tuple[float, ...], *labels: str, **values: tuple[str, ...]
) -> Metric:
    return Metric(PREFIX + name, Kind.HISTOGRAM, group, meaning, labels, values, buckets)


# Operator.
BUILD_INFO = _gauge(
    "build_info",
    Group.OPERATOR,
    "Always 1; what runs.",
    "version",
    "revision",
    "python",
    "kopf",
)
LEADER = _gauge("operator_leader", Group.OPERATOR, "1 on the holder of the Lease, 0 on a standby.", "pod")
WATCH_AGE = _gauge(
    "watch_last_activity_age_seconds",
    Group.OPERATOR,
    "Since the API server was last heard of on this watch; absent before the first complete list.",
    "resource",
)
CACHE_OBJECTS = _gauge("cache_objects", Group.OPERATOR, "Objects in the cache.", "resource")
CACHE_REPAIRED = _counter(
    "cache_repaired",
    Group.OPERATOR,
    "Objects that a list found different from the cache: changes that the watch had missed.",
    "resource",
)
RECONCILES = _counter("reconcile", Group.OPERATOR, "Reconciles that ended.", "kind", "result", result=("ok", "error"))
RECONCILE_SECONDS = _histogram(
    "reconcile_duration_seconds", Group.OPERATOR, "One reconcile, from start to end.", _SHORT, "kind"
)
RECONCILE_WAIT_SECONDS = _histogram(
    "reconcile_wait_seconds", Group.OPERATOR, "From a key becoming due to the start of its reconcile.", _SHORT, "kind"
)
QUEUE_DEPTH = _gauge("reconcile_queue_depth", Group.OPERATOR, "Keys that are due and wait for a worker.", "kind")
QUEUE_AGE = _gauge(
    "reconcile_oldest_age_seconds",
    Group.OPERATOR,
    "How long the longest waiting key has been due; 0 when none waits.",
    "kind",
)
KUBE_REQUESTS = _counter(
    "kube_requests",
    Group.OPERATOR,
    "Requests to the API server by HTTP status; 0 for no answer.",
    "verb",
    "resource",
    "code",
)
KUBE_SECONDS = _histogram(
    "kube_request_duration_seconds",
    Group.OPERATOR,
    "Requests to the API server, from sending to the whole answer; watches are left out.",
    _SHORT,
    "verb",
    "resource",
    "code",
)
KUBE_BYTES = _counter(
    "kube_transferred_bytes",
    Group.OPERATOR,
    "Bytes exchanged with the API server, of each request the larger of the two bodies.",
    "verb",
    "resource",
)
CYCLE_SECONDS = _histogram(
    "admission_cycle_seconds",
    Group.OPERATOR,
    "One admission cycle: admitted when it gave somebody a place, waiting when all wait, idle when nobody does.",
    _SHORT,
    "result",
    result=("admitted", "waiting", "idle"),
)
EVENTS = _counter(
    "events_emitted",
    Group.OPERATOR,
    "Kubernetes Events that were asked for.",
    "type",
    "reason",
    type=("Normal", "Warning"),
)
EVENTS_DROPPED = _counter(
    "events_dropped",
    Group.OPERATOR,
    "Events never written: over a rate, the queue full, or refused by the API server.",
)
LOOP_LAG = _histogram(
    "event_loop_lag_seconds", Group.OPERATOR, "How late the event loop wakes a sleeper: what blocks it.", _LAG
)
SERIES_DROPPED = _gauge(
    "metric_series_dropped",
    Group.OPERATOR,
    "Series left out of this scrape because their family is at its cap; absent when none are.",
    "family",
)

# Queues.
QUOTA_GUARANTEED = _gauge(
    "quota_guaranteed", Group.QUEUES, "Quota, in units of the resource.", "queue", "flavor", "resource"
)
QUOTA_USED = _gauge(
    "quota_used",
    Group.QUEUES,
    "Held by what is admitted, and by pods of deleted jobs that still end; in units of the resource.",
    "queue",
    "flavor",
    "resource",
)
PENDING = _gauge(
    "queue_pending_workloads",
    Group.QUEUES,
    "Jobs and replicas that wait for a place, by the reason that their status gives.",
    "queue",
    "reason",
    reason=tuple(each.value for each in Waiting),
)
ADMITTED = _gauge("queue_admitted_workloads", Group.QUEUES, "Jobs and replicas that hold a place.", "queue")
OLDEST_PENDING = _gauge(
    "queue_oldest_pending_seconds", Group.QUEUES, "Age of the oldest that waits; 0 when none does.", "queue"
)
ADMISSION_WAIT = _histogram(
    "admission_wait_seconds", Group.QUEUES, "From the wish for a place to the admission.", _WAIT, "queue"
)
QUOTA_LIMIT = _gauge(
    "quota_limit",
    Group.QUEUES,
    "The most that the queue may hold, borrowed quota included; absent where it sets no limit.",
    "queue",
    "flavor",
    "resource",
)
BORROWED_SHARE = _gauge(
    "queue_borrowed_share",
    Group.QUEUES,
    "What the queue borrows of its tree, of the resource of which it borrows most, divided by its weight: the smaller goes first.",
    "queue",
)
ETA_ERROR = _histogram(
    "start_eta_error_seconds",
    Group.QUEUES,
    "Distance between the start that was first told to somebody who waited and the real one.",
    _WAIT,
    "queue",
)
PREEMPTIONS = _counter(
    "preemptions",
    Group.QUEUES,
    "Jobs and replicas that were asked to make way, by their queue and the one that gets the place.",
    "queue",
    "by_queue",
)
PREEMPTED_SECONDS = _counter(
    "preempted_gpu_seconds_lost",
    Group.QUEUES,
    "GPU-seconds of work after the last durable checkpoint of jobs that made way.",
    "queue",
)
KEPT_PLACES = _counter(
    "kept_places",
    Group.QUEUES,
    "Places kept for somebody who waits: made; moved later because a job ran longer than expected; moved later for no such reason, which must stay 0.",
    "result",
    result=("made", "moved_later", "broken"),
)
VIOLATIONS = _counter(
    "invariant_violations",
    Group.OPERATOR,
    "Findings of the auditor: promises that only a fault of Trainyard breaks. Must stay 0; an event and the log tell the object.",
    "invariant",
    invariant=tuple(each.value for each in Invariant),
)

# Nodes.
NODE_GPUS = _gauge(
    "node_gpus",
    Group.NODES,
    "GPUs of a node, each in one state: held by a pod, else out of use with its node, else free. "
    "The flavor is the one with the narrowest selector that fits, or none.",
    "node",
    "flavor",
    "state",
    state=("allocated", "free", "cordoned", "unhealthy"),
)

NODE_SLOWNESS = _gauge(
    "node_slowness",
    Group.NODES,
    "How strongly jobs say that workers on the node held them up lately: 1, and one more for twice as strongly; absent where "
    "none says so. Such nodes come last among equal ones.",
    "node",
)
FRAGMENTED = _gauge(
    "flavor_fragmented_gpus",
    Group.NODES,
    "Free GPUs of the flavor's nodes that typical workloads of now cannot use.",
    "flavor",
)
SICK_NODES = _gauge(
    "flavor_sick_nodes",
    Group.NODES,
    "Nodes of the flavor that a monitor calls broken, on which several workloads failed lately, or that are not ready.",
    "flavor",
    "state",
    state=("broken", "suspect", "not_ready"),
)
BREAKER = _gauge(
    "flavor_breaker_open",
    Group.NODES,
    "1 while so many nodes of the flavor are sick that broken ones take pods as a last choice: look for a common cause.",
    "flavor",
)

# Training jobs.
PHASES = ("Pending", "Admitted", "Running", "Restarting", "Suspending", "Suspended", "Complete", "Failed")
_JOB = ("namespace", "training_job")
JOB_INFO = _gauge(
    "training_job_info",
    Group.TRAINING,
    "Always 1; what the job is. model is the entrypoint's image, or custom, for a program of the user's own.",
    *_JOB,
    "uid",
    "queue",
    "flavor",
    "model",
    "dataset",
)
JOB_PHASE = _gauge(
    "training_job_phase", Group.TRAINING, "1 for the current phase, 0 for the others.", *_JOB, "phase", phase=PHASES
)
WORKER_STATES = ("desired", "active", "ready", "succeeded", "failed")
JOB_WORKERS = _gauge(
    "training_job_workers",
    Group.TRAINING,
    "Pods of the current attempt; active ones have not ended.",
    *_JOB,
    "state",
    state=WORKER_STATES,
)
JOB_GPUS = _gauge("training_job_gpus", Group.TRAINING, "GPUs that the whole gang asks for.", *_JOB)
JOB_STEP = _gauge("training_job_step", Group.TRAINING, "Optimizer steps made.", *_JOB)
JOB_TOTAL_STEPS = _gauge("training_job_total_steps", Group.TRAINING, "Optimizer steps in all.", *_JOB)
JOB_LOSS = _gauge("training_job_loss", Group.TRAINING, "Training loss of the last report.", *_JOB)
JOB_THROUGHPUT = _gauge(
    "training_job_samples_per_second", Group.TRAINING, "Throughput over all workers together, while they run.", *_JOB
)
JOB_METRIC = _gauge(
    "training_job_metric",
    Group.TRAINING,
    "A measure on held-out data as the trainer reports it, such as accuracy or mse; at most 16 a job.",
    *_JOB,
    "name",
)
JOB_ETA = _gauge(
    "training_job_eta_seconds",
    Group.TRAINING,
    "Time left until the last step; absent when the rate is unknown or no step is left.",
    *_JOB,
)
JOB_RESTARTS = _counter(
    "training_job_restarts",
    Group.TRAINING,
    "Restarts of the gang; a disruption was not the program's fault.",
    *_JOB,
    "cause",
    cause=("failure", "disruption"),
)
JOB_LAST_PROGRESS = _gauge(
    "training_job_last_progress_timestamp_seconds",
    Group.TRAINING,
    "When the trainer was last heard of, in Unix time.",
    *_JOB,
)
JOB_CHECKPOINT_STEP = _gauge(
    "training_job_checkpoint_step", Group.TRAINING, "Step of the last durable checkpoint.", *_JOB
)
JOB_CHECKPOINT_FAILURES = _counter(
    "training_job_checkpoint_failures",
    Group.TRAINING,
    "Checkpoints that could not be written since the program was started last, e.g. since the volume is full.",
    *_JOB,
)
JOB_FIRST_STEP = _gauge(
    "training_job_first_step_seconds", Group.TRAINING, "From the job's creation to the end of its first step.", *_JOB
)
JOB_STRAGGLER = _gauge(
    "training_job_straggler_factor",
    Group.TRAINING,
    "How many times as long as the others a worker on the node needed for its own part of a step when it was found to hold "
    "them up; absent while none does.",
    *_JOB,
    "node",
)
STRAGGLERS = _counter(
    "training_job_stragglers",
    Group.TRAINING,
    "Workers that were found to hold their job up since the operator started.",
    "queue",
)
COMPLETIONS = _counter(
    "training_job_completions",
    Group.TRAINING,
    "Jobs that ended since the operator started.",
    "queue",
    "result",
    result=("complete", "failed"),
)
FAILURES = _counter(
    "training_job_failures",
    Group.TRAINING,
    "Failures that ended an attempt since the operator started, by class.",
    "queue",
    "class",
    **{"class": tuple(each.value for each in FailureClass)},
)
LEDGER_SECONDS = _gauge(
    "training_job_ledger_seconds",
    Group.TRAINING,
    "What the time of jobs was spent on since their creation, summed over all of the queue that exist.",
    "queue",
    "category",
    category=tuple(each.value for each in Category),
)
GOODPUT = _gauge(
    "training_job_goodput_ratio",
    Group.TRAINING,
    "Productive share of the GPU time that the jobs of the queue which exist have held; absent while they held none.",
    "queue",
)
UNPRODUCTIVE = _gauge(
    "training_job_unproductive_gpu_seconds",
    Group.TRAINING,
    "GPU time that was held and not productive, by what took it, summed over all jobs of the queue that exist: class of a "
    "failure, reason of a status, Saving, DataWait, Hang, or other.",
    "queue",
    "cause",
)

# Inference services.
_SERVICE = ("namespace", "inference_service")
SERVICE_INFO = _gauge(
    "inference_service_info",
    Group.INFERENCE,
    "Always 1; what is served.",
    *_SERVICE,
    "uid",
    "queue",
    "digest",
)
SERVICE_READY = _gauge(
    "inference_service_ready", Group.INFERENCE, "1 while every replica answers behind the gateway.", *_SERVICE
)
REPLICA_STATES = ("desired", "admitted", "ready")
SERVICE_REPLICAS = _gauge(
    "inference_service_replicas",
    Group.INFERENCE,
    "Replicas: asked for, holding a place, answering.",
    *_SERVICE,
    "state",
    state=REPLICA_STATES,
)
GATEWAY_STATES = ("desired", "ready")
SERVICE_GATEWAYS = _gauge(
    "inference_service_gateways",
    Group.INFERENCE,
    "Gateway pods: asked for, ready.",
    *_SERVICE,
    "state",
    state=GATEWAY_STATES,
)
SERVICE_SLO = _gauge(
    "inference_service_slo_objective_ratio",
    Group.INFERENCE,
    "With spec.slo: share of the requests that are to be answered well; the gateways count how many were.",
    *_SERVICE,
)
SERVICE_ROLLOUT = _gauge(
    "inference_service_rollout_phase",
    Group.INFERENCE,
    "With a rollout that goes on, or a last one: 1 for its phase, 0 for the others.",
    *_SERVICE,
    "phase",
    phase=get_args(Phase),
)
SERVICE_START = _gauge(
    "inference_service_start_seconds",
    Group.INFERENCE,
    "From the service's creation to its becoming ready for the first time.",
    *_SERVICE,
)
START_STAGES = ("quota", "scheduling", "image", "load", "gateway")
START_STAGE = _histogram(
    "inference_service_start_stage_seconds",
    Group.INFERENCE,
    "Parts of the starts of replicas: wanted until it has a place, a bound pod, a running server, a loaded and warmed-up model, and a gateway that sends it requests.",
    (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280),
    "stage",
    stage=START_STAGES,
)

ALL: tuple[Metric, ...] = tuple(each for each in list(globals().values()) if isinstance(each, Metric))
