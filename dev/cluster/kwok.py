"""Simulated nodes: any number of them, with labels as a real GPU cluster has them, for tests of scale.

kwok plays their kubelets by the rules in `kwok-stages.yaml`: a pod runs at once, and ends only if it says so in the
annotation COMPLETE_AFTER. Pods of a `batch/v1` Job follow the same rule, so that comparisons are fair.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.cluster.api import Api

STAGES = Path(__file__).with_name("kwok-stages.yaml")
COMPLETE_AFTER = "trainyard.dev/kwok-complete-after"  # a duration such as "0s" or "1m30s"
EXIT_CODE = "trainyard.dev/kwok-exit-code"  # what the containers end with then; "0" when absent
MANAGED = "kwok.x-k8s.io/node"
MANAGED_VALUE = "fake"
OWNER = "trainyard.dev/added-by"  # the cluster of `dev.cluster` that added the node, and removes it

LABEL_GPU_MODEL = "trainyard.dev/gpu-model"
LABEL_BLOCK = "topology.trainyard.dev/block"
LABEL_RACK = "topology.trainyard.dev/rack"
LABEL_HOST = "kubernetes.io/hostname"
GPU = "nvidia.com/gpu"
_CONNECTIONS = 4


@dataclass(frozen=True)
class KwokNodes:
    """A batch of alike nodes, named PREFIX-0001 and so on, in racks and blocks of fixed size."""

    count: int
    gpus: int = 8
    gpu_model: str = "H200"
    prefix: str = "kwok"
    first: int = 1
    nodes_per_rack: int = 8
    racks_per_block: int = 4
    cpus: int = 128
    memory: str = "1Ti"
    pods: int = 250
    taint: bool = False

    def names(self) -> list[str]:
        return [f"{self.prefix}-{number:04d}" for number in range(self.first, self.first + self.count)]

    def manifests(self) -> Iterator[dict[str, Any]]:
        """The nodes as objects for the API server."""
        for place, name in enumerate(self.names(), start=self.first - 1):
            yield self._manifest(name, place // self.nodes_per_rack)

    def _manifest(self, name: str, rack: int) -> dict[str, Any]:
        resources = {"cpu": str(self.cpus), "memory": self.memory, "pods": str(self.pods), "ephemeral-storage": "1Ti"}
        if self.gpus:
            resources[GPU] = str(self.gpus)
        labels = {
            LABEL_HOST: name,
            LABEL_RACK: f"{self.prefix}-rack-{rack}",
            LABEL_BLOCK: f"{self.prefix}-block-{rack // self.racks_per_block}",
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/os": "linux",
            "type": "kwok",
        }
        if self.gpus:
            labels[LABEL_GPU_MODEL] = self.gpu_model
        taints = [{"key": MANAGED, "value": MANAGED_VALUE, "effect": "NoSchedule"}] if self.taint else []
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels, "annotations": {MANAGED: MANAGED_VALUE}},
            "spec": {"taints": taints},
            "status": {"capacity": resources, "allocatable": resources},
        }


def create(api: Api, nodes: KwokNodes, owner: str) -> None:
    """Create the node objects; one that is there already is left as it is."""
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        for _ in pool.map(lambda node: api.create("/api/v1/nodes", owned(node, owner)), nodes.manifests()):
            pass


def owned(node: dict[str, Any], owner: str) -> dict[str, Any]:
    """The node with a mark of who added it."""
    metadata = node["metadata"]
    return {**node, "metadata": {**metadata, "annotations": {**metadata["annotations"], OWNER: owner}}}


def ready_count(api: Api, names: set[str]) -> int:
    """How many of these nodes are Ready."""
    return sum(item["metadata"]["name"] in names and is_ready(item) for item in api.items("/api/v1/nodes"))


def is_ready(node: dict[str, Any]) -> bool:
    """Whether a node's condition Ready is True."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def command(program: Path, kubeconfig: Path, pod_range: str, not_ready_seconds: int) -> list[str]:
    """How kwok is started: for annotated nodes only, so that real ones stay real. It renews a node's Lease four times in its duration."""
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        f"--config={STAGES}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={MANAGED}={MANAGED_VALUE}",
        f"--cidr={pod_range}",
        f"--node-lease-duration-seconds={2 * not_ready_seconds}",
        "--v=WARN",
    ]
