"""By what a node is known to leave, and where workloads failed or were held up lately. What its hardware says is read in `nodes/signs`."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from trainyard.api.inference_service import InferenceService
from trainyard.api.training_job import TrainingJob

_GOING = frozenset(
    {
        "node.kubernetes.io/out-of-service",
        "node.cloudprovider.kubernetes.io/shutdown",
        "cloud.google.com/impending-node-termination",
        "karpenter.sh/disrupted",
        "karpenter.sh/disruption",
        "ToBeDeletedByClusterAutoscaler",
    }
)
_GOING_PREFIXES = ("aws-node-termination-handler/",)
_SHUTS_DOWN = "node is shutting down"
"""With which a kubelet that shuts down in order is not ready."""
_SHARING, _COPIES = "nvidia.com/gpu.sharing-strategy", "nvidia.com/gpu.replicas"
FAILURE_SECONDS = 3600.0
"""How long a failure speaks against a node."""
HALF_LIFE_SECONDS = 6 * 3600.0
"""After so long a straggler that is over speaks half as loud against its node."""
FORGOTTEN = 0.2
"""Less than so many jobs that are held up now say nothing."""


def leaving(node: Mapping[str, Any]) -> str:
    """By what a node says, or is said of it, that it will be gone soon: a taint or the kubelet's words; empty if nothing does."""
    for taint in node.get("spec", {}).get("taints", ()):
        key = str(taint.get("key", ""))
        if key in _GOING or key.startswith(_GOING_PREFIXES):
            return f"taint {key}"
    for each in node.get("status", {}).get("conditions", ()):
        if each.get("type") == "Ready" and each.get("status") != "True" and _SHUTS_DOWN in str(each.get("message", "")):
            return _SHUTS_DOWN
    return ""


def shares_gpus(labels: Mapping[str, str]) -> bool:
    """Whether NVIDIA's device plugin hands a GPU of the node out several times, by time slices or MPS, as its feature discovery labels it."""
    copies = labels.get(_COPIES, "")
    return labels.get(_SHARING, "none") != "none" or (copies.isdecimal() and int(copies) > 1)


def failures(things: Iterable[object], now: datetime) -> dict[str, int]:
    """By node, how many jobs and services failed there lately, each counted once."""
    return dict(Counter(node for thing in things for node in _failed_on(thing, now)))


def slowness(things: Iterable[object], now: datetime) -> dict[str, int]:
    """By node, how strongly jobs say that their workers are slow there: 1, and one more for twice as strongly.

    In whole steps, so that it stays the same while hardly anything has changed. Nodes of which nothing is said are left out.
    """
    weights: dict[str, float] = {}
    for thing in things:
        for node, weight in _slow_for(thing, now).items():
            weights[node] = weights.get(node, 0.0) + weight
    return {
        node: 1 + math.floor(math.log2(weight / FORGOTTEN)) for node, weight in weights.items() if weight >= FORGOTTEN
    }


def tells_of_nodes(thing: object) -> bool:
    """Whether its status speaks against a node, now or once did."""
    return isinstance(thing, TrainingJob | InferenceService) and bool(
        thing.status.avoid
        or (isinstance(thing, TrainingJob) and (thing.status.last_restart or thing.status.stragglers))
    )


def _failed_on(thing: object, now: datetime) -> set[str]:
    if not isinstance(thing, TrainingJob | InferenceService):
        return set()
    nodes = {each.name for each in thing.status.avoid if each.until > now and not each.blameless}
    if isinstance(thing, TrainingJob) and (last := thing.status.last_restart) is not None:
        recent = now - last.time < timedelta(seconds=FAILURE_SECONDS)
        nodes |= {last.node} if last.node and recent else set()
    return nodes


def _slow_for(thing: object, now: datetime) -> dict[str, float]:
    """A job has one voice at most. One that found several nodes slow divides it: the cause may be what it does."""
    if not isinstance(thing, TrainingJob) or not thing.status.stragglers:
        return {}
    weights: dict[str, float] = {}
    for each in thing.status.stragglers:
        age = max(0.0, (now - each.until).total_seconds()) if each.until is not None else 0.0
        weights[each.node] = max(weights.get(each.node, 0.0), 0.5 ** (age / HALF_LIFE_SECONDS))
    total = sum(weights.values())
    return {node: weight * weight / total for node, weight in weights.items() if weight * weight > 0}
