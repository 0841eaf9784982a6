"""Everything a router reads from its environment, by the names that the model server has for the same things."""

from collections.abc import Mapping
from dataclasses import dataclass

from server.errors import StartError
from server.graph.wiring import VARIABLE, Stage, parse


@dataclass(frozen=True)
class RouterSettings:
    """Durations in seconds, sizes in bytes, max_queue in requests in flight."""

    stages: tuple[Stage, ...]
    name: str
    service_uid: str = ""
    digest: str = ""
    host: str = ""
    """Empty for all addresses of both families: a pod is reached on its own, which it does not know."""
    port: int = 8080
    request_seconds: int = 300
    max_queue: int = 64
    max_body_bytes: int = 16 * 1024 * 1024
    drain_seconds: int = 5


def from_environment(env: Mapping[str, str]) -> RouterSettings:
    """Raises StartError naming the variable that is missing or wrong."""
    for name in (VARIABLE, "TRAINYARD_MODEL_NAME"):
        if not env.get(name):
            raise StartError(f"{name} is not set; the operator sets it for a service whose spec.model is a graph")
    return RouterSettings(
        stages=parse(env[VARIABLE]),
        name=env["TRAINYARD_MODEL_NAME"],
        service_uid=env.get("TRAINYARD_SERVICE_UID", ""),
        digest=env.get("TRAINYARD_MODEL_DIGEST", ""),
        host=env.get("TRAINYARD_HOST", ""),
        port=_whole(env, "TRAINYARD_PORT", 8080),
        request_seconds=_whole(env, "TRAINYARD_REQUEST_SECONDS", 300),
        max_queue=_whole(env, "TRAINYARD_MAX_QUEUE", 64),
        max_body_bytes=_whole(env, "TRAINYARD_MAX_BODY_BYTES", 16 * 1024 * 1024),
        drain_seconds=_whole(env, "TRAINYARD_DRAIN_SECONDS", 5),
    )


def _whole(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal():
        raise StartError(f"{name} is {text!r}; expected a whole number")
    return int(text)
