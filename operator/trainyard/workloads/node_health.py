"""What monitors say about a node's hardware in its conditions, and where workloads failed lately.

Conditions of GPUs have no standard: Amazon's agent says AcceleratedHardwareReady=False, Microsoft's GPUMissing=True, Nebius'
NebiusGPUError=True, NVSentinel Gpu...=True; node-problem-detector says KernelDeadlock=True.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from trainyard.api.inference_service import InferenceService
from trainyard.api.training_job import TrainingJob

_HARDWARE = re.compile(
    r"gpu|xid|nvlink|nvswitch|acceleratedhardware|^kerneldeadlock$|^readonlyfilesystem$", re.IGNORECASE
)
_GOOD_IF_TRUE = re.compile(r"(ready|healthy|available|ok)$", re.IGNORECASE)
FAILURE_SECONDS = 3600.0
"""How long a failure speaks against a node."""


def broken(conditions: Iterable[Mapping[str, Any]]) -> str:
    """The first condition that says that hardware or kernel is broken; empty if none does. What is unknown says nothing."""
    for each in conditions:
        kind = str(each.get("type", ""))
        if _HARDWARE.search(kind) and each.get("status") == ("False" if _GOOD_IF_TRUE.search(kind) else "True"):
            return kind
    return ""


def failures(things: Iterable[object], now: datetime) -> dict[str, int]:
    """By node, how many jobs and services failed there lately, each counted once."""
    return dict(Counter(node for thing in things for node in _failed_on(thing, now)))


def tells_of_failure(thing: object) -> bool:
    """Whether it counts, now or once did."""
    return isinstance(thing, TrainingJob | InferenceService) and bool(
        thing.status.avoid or (isinstance(thing, TrainingJob) and thing.status.last_restart)
    )


def _failed_on(thing: object, now: datetime) -> set[str]:
    if not isinstance(thing, TrainingJob | InferenceService):
        return set()
    nodes = {each.name for each in thing.status.avoid if each.until > now}
    if isinstance(thing, TrainingJob) and (last := thing.status.last_restart) is not None:
        recent = now - last.time < timedelta(seconds=FAILURE_SECONDS)
        nodes |= {last.node} if last.node and recent else set()
    return nodes
