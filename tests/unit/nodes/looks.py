"""A node as tests of its health show it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from trainyard.api.names import GPU
from trainyard.api.node_health import Remedy
from trainyard.nodes.signs import Grade, Sign

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
Object = dict[str, Any]


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def condition(kind: str, status: str = "True", reason: str = "", message: str = "", since: float = 0.0) -> Object:
    time = at(since).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": time}


def node(
    *conditions: Object,
    allocatable: int = 8,
    capacity: int = 8,
    boot: str = "one",
    notes: Mapping[str, str] | None = None,
) -> Object:
    ready = condition("Ready", since=-86_400)
    return {
        "metadata": {"name": "n1", "labels": {}, "annotations": dict(notes or {})},
        "spec": {},
        "status": {
            "conditions": [ready, *conditions],
            "allocatable": {GPU: str(allocatable)},
            "capacity": {GPU: str(capacity)},
            "nodeInfo": {"bootID": boot},
        },
    }


def sign(event: str = "fault", grade: Grade = Grade.BROKEN, **more: Any) -> Sign:
    return Sign(event, grade, event, more.pop("remedy", Remedy.RESET_GPU), NOW, **more)
