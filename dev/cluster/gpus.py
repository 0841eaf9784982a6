"""Real nodes that advertise GPUs they do not have, the way the documentation of extended resources describes.

A kubelet that starts anew sets extended resources it knows nothing of to zero, so the wish stands in an annotation
of the node and is applied again whenever the node's capacity differs. Neighbour: `caretaker` runs this.
"""

from typing import Any

from dev.cluster.api import JSON_PATCH, Api
from dev.cluster.kwok import GPU, LABEL_GPU_MODEL

WISH = "trainyard.dev/local-gpus"


def missing(node: dict[str, Any]) -> str | None:
    """The capacity a node should have and has not, or None."""
    wish = node["metadata"].get("annotations", {}).get(WISH)
    status = node.get("status", {})
    has = status.get("capacity", {}).get(GPU)
    return wish if wish is not None and has != wish else None


def ask(api: Api, node: str, count: int, model: str) -> None:
    """Have a node advertise `count` GPUs of that model from now on."""
    labels = {LABEL_GPU_MODEL: model} if count else {}
    api.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": labels, "annotations": {WISH: str(count)}}})


def apply(api: Api, node: str, count: str) -> None:
    """Write the capacity; kubelet copies it to what can be allocated."""
    pointer = "/status/capacity/" + GPU.replace("/", "~1")
    api.patch(f"/api/v1/nodes/{node}/status", [{"op": "add", "path": pointer, "value": count}], JSON_PATCH)


def pass_once(api: Api, nodes_path: str = "/api/v1/nodes") -> None:
    """Give every real node the GPUs it should have."""
    for node in api.items(nodes_path):
        count = missing(node)
        if count is not None:
            apply(api, node["metadata"]["name"], count)
