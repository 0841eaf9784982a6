"""What `spec.gateway` asks of the gateway's pods: variables, and Secrets that are mounted. No Secret is read by us."""

from dataclasses import dataclass

from trainyard.api.inference_service import InferenceService
from trainyard.workloads.plan import Object

HOLD_SECONDS = 300
"""How long a request waits for the first replica of a service that may have none."""
TLS_PORT = 8443
_FOLDER = "/etc/trainyard"


@dataclass(frozen=True, slots=True)
class _Mounted:
    """A Secret, mounted under its purpose."""

    purpose: str
    secret: str

    @property
    def folder(self) -> str:
        return f"{_FOLDER}/{self.purpose}"


def hold_seconds(service: InferenceService) -> int:
    """How long a request waits while no replica is ready."""
    if service.spec.gateway.hold_seconds is not None:
        return service.spec.gateway.hold_seconds
    return HOLD_SECONDS if _may_be_empty(service) else 0


def variables(service: InferenceService) -> dict[str, str]:
    """Environment of both containers; what is left out keeps the gateway's own default."""
    gateway = service.spec.gateway
    limits = service.spec.request_limits
    found = {
        "TRAINYARD_RETRIES": str(gateway.retries),
        "TRAINYARD_QUEUE_SECONDS": str(gateway.queue_seconds),
        "TRAINYARD_MAX_BODY_BYTES": str(limits.max_body_bytes),
        "TRAINYARD_RESPONSE_SECONDS": str(_patience(limits.seconds)),
    }
    if service.spec.slo:
        found["TRAINYARD_SLO_MS"] = str(service.spec.slo.latency_ms)
        found |= {"TRAINYARD_SLO_FIRST_BYTE": "1"} if service.spec.slo.of == "FirstByte" else {}
    if gateway.grpc:
        found["TRAINYARD_GRPC"] = "1"
    if seconds := hold_seconds(service):
        found |= {"TRAINYARD_HOLD_SECONDS": str(seconds), "TRAINYARD_HOLD_LIMIT": str(gateway.hold_limit)}
    if gateway.affinity and gateway.affinity.header:
        found["TRAINYARD_AFFINITY_HEADER"] = gateway.affinity.header
    if gateway.affinity and gateway.affinity.prefix_bytes:
        found["TRAINYARD_AFFINITY_PREFIX_BYTES"] = str(gateway.affinity.prefix_bytes)
    if gateway.rate_limits:
        rate = gateway.rate_limits.per_client
        found |= {"TRAINYARD_RATE_REQUESTS": str(rate.requests), "TRAINYARD_RATE_SECONDS": str(rate.seconds)}
    folders = {each.purpose: each.folder for each in _mounted(service)}
    if "keys" in folders:
        found["TRAINYARD_KEYS_DIR"] = folders["keys"]
    if "tls" in folders:
        found["TRAINYARD_TLS_DIR"] = folders["tls"]
    if gateway.jwt:
        found["TRAINYARD_JWT_KEY"] = f"{folders['jwt']}/public.pem"
        found |= {"TRAINYARD_JWT_ISSUER": gateway.jwt.issuer} if gateway.jwt.issuer else {}
        found |= {"TRAINYARD_JWT_AUDIENCE": gateway.jwt.audience} if gateway.jwt.audience else {}
    return found


def volumes(service: InferenceService) -> list[Object]:
    """Secrets as volumes of the pod: readable by its group, which is the gateway's own."""
    return [
        {"name": each.purpose, "secret": {"secretName": each.secret, "defaultMode": 0o440}}
        for each in _mounted(service)
    ]


def mounts(service: InferenceService) -> list[Object]:
    """Where both containers see them. A whole folder: a file alone would not follow its Secret."""
    return [{"name": each.purpose, "mountPath": each.folder, "readOnly": True} for each in _mounted(service)]


def _mounted(service: InferenceService) -> list[_Mounted]:
    gateway = service.spec.gateway
    found = []
    if gateway.auth:
        found.append(_Mounted("keys", gateway.auth.api_keys_secret))
    if gateway.jwt:
        found.append(_Mounted("jwt", gateway.jwt.public_key_secret))
    if gateway.tls:
        found.append(_Mounted("tls", gateway.tls.secret_name))
    return found


def _patience(seconds: int) -> int:
    """Longer than a server, which looks at the clock twenty times in its limit, so that callers hear the server's reason."""
    return seconds + seconds // 10 + 2


def _may_be_empty(service: InferenceService) -> bool:
    autoscaling = service.spec.autoscaling
    if autoscaling is None:
        return False
    return 0 in (autoscaling.min_replicas, *(each.min_replicas for each in autoscaling.schedules))
