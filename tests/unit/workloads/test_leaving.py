"""By what it is known that a node will be gone soon."""

from typing import Any

import pytest

from trainyard.workloads.node_health import leaving


@pytest.mark.parametrize(
    ("key", "goes"),
    [
        ("cloud.google.com/impending-node-termination", True),
        ("karpenter.sh/disrupted", True),
        ("karpenter.sh/disruption", True),
        ("ToBeDeletedByClusterAutoscaler", True),
        ("aws-node-termination-handler/spot-itn", True),
        ("node.kubernetes.io/out-of-service", True),
        ("node.cloudprovider.kubernetes.io/shutdown", True),
        # A candidate may stay, a cordon says nothing of an end, and silence is judged by how long it lasts.
        ("DeletionCandidateOfClusterAutoscaler", False),
        ("node.kubernetes.io/unschedulable", False),
        ("node.kubernetes.io/unreachable", False),
        ("nvidia.com/gpu", False),
    ],
)
def test_taints_of_those_who_take_nodes_away(key: str, goes: bool) -> None:
    node = {"spec": {"taints": [{"key": "other", "effect": "NoSchedule"}, {"key": key, "effect": "NoExecute"}]}}
    assert leaving(node) == (f"taint {key}" if goes else "")


@pytest.mark.parametrize(
    ("condition", "goes"),
    [
        ({"type": "Ready", "status": "False", "message": "node is shutting down"}, True),
        ({"type": "Ready", "status": "False", "message": "[container runtime down, node is shutting down]"}, True),
        ({"type": "Ready", "status": "False", "message": "container runtime is down"}, False),
        ({"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}, False),
        ({"type": "Ready", "status": "True", "message": "kubelet is posting ready status"}, False),
    ],
)
def test_a_kubelet_says_that_its_node_shuts_down(condition: dict[str, Any], goes: bool) -> None:
    assert bool(leaving({"spec": {}, "status": {"conditions": [condition]}})) is goes
