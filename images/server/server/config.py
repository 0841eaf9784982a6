"""Everything the server reads from its environment, read once at start.

No other module looks at os.environ, so a test builds a Settings and nothing leaks in from the machine.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from server.errors import StartError
from server.language.limits import LanguageLimits, language_limits
from server.limits import Limits, parse_limits


@dataclass(frozen=True)
class Settings:
    """How this replica serves. Durations in seconds, sizes in bytes, max_queue in waiting requests."""

    model_path: Path = Path()  # not looked at where there is a repository
    repository: Path | None = None  # a folder of models instead of the one at model_path
    repository_seconds: float = 0.0  # how often it is looked at; 0: models are loaded and unloaded when asked
    model_name: str | None = None  # None: the card's name
    model_digest: str | None = None  # None: only the card's own digest is checked
    service_uid: str = ""
    host: str = ""
    """Empty for all addresses of both families: a pod is reached on its own, which it does not know."""
    port: int = 8080
    grpc_port: int | None = None  # None: no gRPC
    request_seconds: float = 300.0
    max_queue: int = 64
    max_body_bytes: int = 16 * 1024 * 1024
    max_batch: int = 64
    latency_budget_ms: int = 0  # milliseconds
    model_limits: Mapping[str, Limits] = field(default_factory=dict)  # of models that differ from these
    language: LanguageLimits = field(default_factory=LanguageLimits)
    drain_seconds: float = 5.0
    threads: int = 1
    device: str = "auto"
    compile: bool = False
    namespace: str = ""  # for spans
    otlp_endpoint: str = ""  # base address of a collector; "": nothing is traced
    trace_ratio: float = 1.0  # part of the requests that is traced where the caller does not say

    @property
    def limits(self) -> Limits:
        """Limits of a model that has none of its own."""
        return Limits(self.max_batch, self.max_queue, self.latency_budget_ms)

    def limits_of(self, model: str) -> Limits:
        return self.model_limits.get(model, self.limits)


def from_environment(env: Mapping[str, str] = os.environ) -> Settings:
    """Settings of the process. Raises StartError naming the variable that is missing or wrong."""
    path, repository = env.get("TRAINYARD_MODEL_PATH", ""), env.get("TRAINYARD_REPOSITORY", "")
    if not path and not repository:
        raise StartError(
            "TRAINYARD_MODEL_PATH is not set; expected the folder that holds model.safetensors,"
            " or TRAINYARD_REPOSITORY with a folder of models"
        )
    if repository:
        _require_unset(env, "TRAINYARD_MODEL_PATH", "TRAINYARD_MODEL_NAME", "TRAINYARD_MODEL_DIGEST")
    limits = Limits(
        _whole(env, "TRAINYARD_MAX_BATCH", 64, 1),
        _whole(env, "TRAINYARD_MAX_QUEUE", 64, 1),
        _whole(env, "TRAINYARD_LATENCY_BUDGET_MS", 0, 0),
    )
    return Settings(
        model_path=Path(path),
        repository=Path(repository) if repository else None,
        repository_seconds=_seconds(env, "TRAINYARD_REPOSITORY_SECONDS", 0.0),
        model_name=env.get("TRAINYARD_MODEL_NAME") or None,
        model_digest=env.get("TRAINYARD_MODEL_DIGEST") or None,
        service_uid=env.get("TRAINYARD_SERVICE_UID", ""),
        host=env.get("TRAINYARD_HOST", ""),
        port=_whole(env, "TRAINYARD_PORT", 8080, 0),
        grpc_port=_whole(env, "TRAINYARD_GRPC_PORT", 0, 0) if env.get("TRAINYARD_GRPC_PORT") else None,
        request_seconds=_seconds(env, "TRAINYARD_REQUEST_SECONDS", 300.0) or 300.0,
        max_queue=limits.max_queue,
        max_body_bytes=_whole(env, "TRAINYARD_MAX_BODY_BYTES", 16 * 1024 * 1024, 1),
        max_batch=limits.max_batch,
        latency_budget_ms=limits.latency_budget_ms,
        model_limits=parse_limits(env.get("TRAINYARD_MODEL_LIMITS", ""), limits),
        language=language_limits(env),
        drain_seconds=_seconds(env, "TRAINYARD_DRAIN_SECONDS", 5.0),
        threads=_whole(env, "TRAINYARD_THREADS", available_cpus(), 1),
        device=env.get("TRAINYARD_DEVICE", "auto"),
        compile=_flag(env, "TRAINYARD_COMPILE"),
        namespace=env.get("TRAINYARD_NAMESPACE", ""),
        otlp_endpoint=_address(env, "TRAINYARD_OTLP_ENDPOINT"),
        trace_ratio=_ratio(env, "TRAINYARD_TRACE_RATIO", 1.0),
    )


def available_cpus(quota_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Whole CPUs this container may use. torch would otherwise start a thread for each core of the node."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = quota_file.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, round(int(quota) / int(period))))


def _require_unset(env: Mapping[str, str], *names: str) -> None:
    for name in names:
        if env.get(name):
            raise StartError(f"{name} is set beside TRAINYARD_REPOSITORY; expected one of them: one model or many")


def _whole(env: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise StartError(f"{name} is {text!r}; expected a whole number of at least {least}")
    return int(text)


def _flag(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "")
    if text not in ("", "0", "1"):
        raise StartError(f"{name} is {text!r}; expected 1 or 0")
    return text == "1"


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise StartError(f"{name} is {text!r}; expected seconds, zero or more")
    return value


def _address(env: Mapping[str, str], name: str) -> str:
    text = env.get(name, "")
    if text and not text.startswith(("http://", "https://")):
        raise StartError(f"{name} is {text!r}; expected http://HOST:PORT or https://HOST:PORT")
    return text


def _ratio(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise StartError(f"{name} is {text!r}; expected a number from 0 to 1")
    return value
