"""Reads a yard from a cluster into a backup, with the user's own rights."""

import asyncio
from collections.abc import Mapping
from datetime import datetime

from pydantic import ValidationError

from trainyard.api.meta import problems
from trainyard.cli.backup.document import MEMORY, Backup, Saved, in_order
from trainyard.cli.errors import CliError
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import ClusterError, NotFound
from trainyard.cluster.resources import (
    CONFIG_MAPS,
    FLAVORS,
    INFERENCE_SERVICES,
    NAMESPACES,
    QUEUES,
    TRAINING_JOBS,
    Object,
    Resource,
)
from trainyard.workloads.understood import KINDS

RESOURCES: Mapping[str, Resource] = {each.kind: each for each in (FLAVORS, QUEUES, TRAINING_JOBS, INFERENCE_SERVICES)}
_KEPT = ("name", "namespace", "labels", "annotations", "uid", "creationTimestamp", "generation")
"""Of the metadata: owners and finalizers mean nothing elsewhere, and would have the object collected or kept for ever."""
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


async def take(client: ClusterClient, now: datetime, system: str) -> Backup:
    """Everything of ours that is not being deleted. system: namespace of the operator. Raises CliError."""
    try:
        async with asyncio.TaskGroup() as group:
            lists = {kind: group.create_task(client.list(resource)) for kind, resource in RESOURCES.items()}
            kept = group.create_task(recall(client, system))
            cluster = group.create_task(client.get(NAMESPACES, None, "kube-system"))
    except* NotFound:
        raise CliError("this cluster does not know Trainyard's kinds: there is nothing to back up") from None
    except* ClusterError as errors:
        raise CliError(f"the backup could not be taken: {errors.exceptions[0]}") from None
    saved = (_saved(kind, each) for kind, task in lists.items() for each in task.result().items if _stays(each))
    return Backup(
        now,
        in_order(saved),
        kept.result(),
        str((cluster.result() or {}).get("metadata", {}).get("uid", "")),
    )


async def recall(client: ClusterClient, system: str) -> dict[str, str]:
    """What the operator keeps, by ConfigMap. Raises ClusterError."""
    found = {name: await client.get(CONFIG_MAPS, system, name) for name in MEMORY}
    texts = {name: ((each or {}).get("data") or {}).get(MEMORY[name]) for name, each in found.items()}
    return {name: text for name, text in texts.items() if text}


def _stays(obj: Object) -> bool:
    return "deletionTimestamp" not in obj["metadata"]


def _saved(kind: str, obj: Object) -> Saved:
    kept = stripped(obj)
    try:
        return Saved(kept, KINDS[kind].model_validate(kept))
    except ValidationError as error:
        meta = obj["metadata"]
        name = "/".join(filter(None, (meta.get("namespace"), meta["name"])))
        raise CliError(
            f"{kind} {name} cannot be understood: {problems(error)}. Does this command have the version of the operator?"
        ) from None


def stripped(obj: Object) -> Object:
    """Without what belongs to its cluster."""
    metadata = {name: obj["metadata"][name] for name in _KEPT if name in obj["metadata"]}
    if _LAST_APPLIED in metadata.get("annotations", {}):
        metadata["annotations"] = {
            name: value for name, value in metadata["annotations"].items() if name != _LAST_APPLIED
        }
    kept = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata, "spec": obj.get("spec", {})}
    return kept | ({"status": obj["status"]} if obj.get("status") else {})
