"""Everything the server reads from its environment, read once at start.

No other module looks at os.environ, so a test builds a Settings and nothing leaks in from the machine.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from server.errors import StartError


@dataclass(frozen=True)
class Settings:
    """How this replica serves. Durations in seconds, sizes in bytes, max_queue in waiting requests."""

    model_path: Path
    model_name: str | None = None  # None: the card's name
    model_digest: str | None = None  # None: only the card's own digest is checked
    service_uid: str = ""
    host: str = "0.0.0.0"  # noqa: S104 - a pod is reached on its own address, which it does not know
    port: int = 8080
    max_queue: int = 64
    max_body_bytes: int = 16 * 1024 * 1024
    max_batch: int = 64
    drain_seconds: float = 5.0
    threads: int = 1
    device: str = "auto"


def from_environment(env: Mapping[str, str] = os.environ) -> Settings:
    """Settings of the process. Raises StartError naming the variable that is missing or wrong."""
    path = env.get("TRAINYARD_MODEL_PATH", "")
    if not path:
        raise StartError("TRAINYARD_MODEL_PATH is not set; expected the folder that holds model.safetensors")
    return Settings(
        model_path=Path(path),
        model_name=env.get("TRAINYARD_MODEL_NAME") or None,
        model_digest=env.get("TRAINYARD_MODEL_DIGEST") or None,
        service_uid=env.get("TRAINYARD_SERVICE_UID", ""),
        host=env.get("TRAINYARD_HOST", "0.0.0.0"),  # noqa: S104 - as above
        port=_whole(env, "TRAINYARD_PORT", 8080, 0),
        max_queue=_whole(env, "TRAINYARD_MAX_QUEUE", 64, 1),
        max_body_bytes=_whole(env, "TRAINYARD_MAX_BODY_BYTES", 16 * 1024 * 1024, 1),
        max_batch=_whole(env, "TRAINYARD_MAX_BATCH", 64, 1),
        drain_seconds=_seconds(env, "TRAINYARD_DRAIN_SECONDS", 5.0),
        threads=_whole(env, "TRAINYARD_THREADS", available_cpus(), 1),
        device=env.get("TRAINYARD_DEVICE", "auto"),
    )


def available_cpus(quota_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Whole CPUs this container may use. torch would otherwise start a thread for each core of the node."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = quota_file.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, round(int(quota) / int(period))))


def _whole(env: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise StartError(f"{name} is {text!r}; expected a whole number of at least {least}")
    return int(text)


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise StartError(f"{name} is {text!r}; expected seconds, zero or more")
    return value
