"""What caches remember of an object once the world has read it.

The world keeps what it understood; the next change is compared with no more than this of the state before. A pod whole takes twenty
times as much memory, a job four times, and there are ten thousand of each.
"""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from trainyard.api.meta import word
from trainyard.api.names import RESTORING
from trainyard.nodes.care import NOTES

Object = dict[str, Any]

_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp")


def identity(obj: Mapping[str, Any]) -> Object:
    """Which object it is, and which state of it: enough to write to it, and to post an event on it."""
    metadata = obj["metadata"]
    kept = {name: metadata[name] for name in _IDENTITY if name in metadata}
    if "namespace" in kept:
        kept["namespace"] = word(kept["namespace"])
    return {"apiVersion": word(obj.get("apiVersion", "")), "kind": word(obj.get("kind", "")), "metadata": kept}


def of_workload(obj: Object) -> Object:
    """Of a job or a service also its queue, whose numbers change when it goes, and whether it is restored and described."""
    kept = identity(obj)
    if RESTORING in (notes := obj["metadata"].get("annotations") or {}):
        kept["metadata"]["annotations"] = {RESTORING: notes[RESTORING]}
    described = (obj.get("status") or {}).get("observedGeneration")
    queue = obj.get("spec", {}).get("queue", "")
    return {**kept, "spec": _spec(queue), "status": _status(described)}


def of_child(child: Object) -> Object:
    """Also whose it is."""
    kept, metadata = identity(child), child["metadata"]
    if "labels" in metadata:
        kept["metadata"]["labels"] = {name: word(value) for name, value in metadata["labels"].items()}
    if "ownerReferences" in metadata:
        kept["metadata"]["ownerReferences"] = metadata["ownerReferences"]
    return kept


def of_pod(pod: Object) -> Object:
    """Also whether it has ended."""
    return {**of_child(pod), "status": _phase(pod.get("status", {}).get("phase"))}


def of_node(node: Mapping[str, Any]) -> Object:
    """Also what matters to scheduling and to its health. Images and devices in use make up most of a node's status."""
    kept, metadata, status = identity(node), node["metadata"], node.get("status", {})
    notes = metadata.get("annotations") or {}
    kept["metadata"] |= {"labels": metadata.get("labels"), "annotations": {k: notes[k] for k in NOTES if k in notes}}
    told = {name: status[name] for name in ("allocatable", "capacity", "conditions") if name in status}
    told["nodeInfo"] = {"bootID": status.get("nodeInfo", {}).get("bootID")}
    return {**kept, "spec": node.get("spec"), "status": told}


KEPT = {
    "TrainingJob": of_workload,
    "InferenceService": of_workload,
    "Pod": of_pod,
    "Node": of_node,
    "Service": of_child,
}
"""By kind; of others all is kept."""


@lru_cache(4096)
def _spec(queue: str) -> Object:
    """The same for all of a queue."""
    return {"queue": queue}


@cache
def _phase(phase: str | None) -> Object:
    return {"phase": phase}


@lru_cache(4096)
def _status(described: int | None) -> Object:
    return {"observedGeneration": described}
