"""Of InferenceServices, as the operator sees them."""

from typing import get_args

from trainyard.api.rollout import Phase
from trainyard.metrics.definitions.metric import Group, gauge, histogram

_SERVICE = ("namespace", "inference_service")
SERVICE_INFO = gauge(
    "inference_service_info",
    Group.INFERENCE,
    "Always 1; what is served.",
    *_SERVICE,
    "uid",
    "queue",
    "digest",
)
SERVICE_READY = gauge(
    "inference_service_ready", Group.INFERENCE, "1 while every replica answers behind the gateway.", *_SERVICE
)
REPLICA_STATES = ("desired", "admitted", "ready")
SERVICE_REPLICAS = gauge(
    "inference_service_replicas",
    Group.INFERENCE,
    "Replicas: asked for, holding a place, answering.",
    *_SERVICE,
    "state",
    state=REPLICA_STATES,
)
GATEWAY_STATES = ("desired", "ready")
SERVICE_GATEWAYS = gauge(
    "inference_service_gateways",
    Group.INFERENCE,
    "Gateway pods: asked for, ready.",
    *_SERVICE,
    "state",
    state=GATEWAY_STATES,
)
SERVICE_SLO = gauge(
    "inference_service_slo_objective_ratio",
    Group.INFERENCE,
    "With spec.slo: share of the requests that are to be answered well; the gateways count how many were.",
    *_SERVICE,
)
SERVICE_ROLLOUT = gauge(
    "inference_service_rollout_phase",
    Group.INFERENCE,
    "With a rollout that goes on, or a last one: 1 for its phase, 0 for the others.",
    *_SERVICE,
    "phase",
    phase=get_args(Phase),
)
SERVICE_START = gauge(
    "inference_service_start_seconds",
    Group.INFERENCE,
    "From the service's creation to its becoming ready for the first time.",
    *_SERVICE,
)
START_STAGES = ("quota", "scheduling", "image", "load", "gateway")
START_STAGE = histogram(
    "inference_service_start_stage_seconds",
    Group.INFERENCE,
    "Parts of the starts of replicas: wanted until it has a place, a bound pod, a running server, a loaded and warmed-up model, and a gateway that sends it requests.",
    (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280),
    "stage",
    stage=START_STAGES,
)
