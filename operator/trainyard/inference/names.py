"""Names and labels of an InferenceService's children."""

from trainyard.api.inference_service import InferenceService
from trainyard.api.names import ROLE_LABEL, SERVICE_LABEL
from trainyard.inference.observed import GRPC_PORT


def pod_name(service: InferenceService, serial: int) -> str:
    """Deterministic, so that a repeated create is recognised; a serial is never used twice."""
    return f"{service.metadata.name}-{serial}"


def gateway_name(service: InferenceService) -> str:
    return f"{service.metadata.name}-gateway"


def headless_name(service: InferenceService) -> str:
    return f"{service.metadata.name}-replicas"


def replica_labels(service: InferenceService) -> dict[str, str]:
    return {SERVICE_LABEL: service.metadata.name, ROLE_LABEL: "replica"}


def gateway_labels(service: InferenceService) -> dict[str, str]:
    return {SERVICE_LABEL: service.metadata.name, ROLE_LABEL: "gateway"}


def selector(service: InferenceService) -> str:
    """For the scale subresource."""
    return ",".join(f"{name}={value}" for name, value in sorted(replica_labels(service).items()))


def grpc_address(service: InferenceService) -> str:
    """For clients of gRPC; empty where there is none."""
    named = f"{service.metadata.name}.{service.metadata.namespace}.svc:{GRPC_PORT}"
    return named if service.spec.gateway.grpc else ""


def url(service: InferenceService) -> str:
    scheme = "https" if service.spec.gateway.tls else "http"
    return f"{scheme}://{service.metadata.name}.{service.metadata.namespace}.svc"
