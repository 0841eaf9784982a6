"""Whether a node may take a pod at all: the flavor's and the pod's own selector, taints, health."""

from trainyard.api.flavor import FlavorSpec
from trainyard.api.meta import Toleration
from trainyard.scheduling.snapshot import NodeView, PodSet

_KEEPS_OUT = frozenset({"NoSchedule", "NoExecute"})


def of_flavor(node: NodeView, flavor: FlavorSpec) -> bool:
    """The node carries every label of the flavor's selector."""
    return all(node.labels.get(key) == value for key, value in flavor.node_selector.items())


def eligible(node: NodeView, flavor: FlavorSpec, pods: PodSet) -> bool:
    """The node may take such a pod now, if it has room."""
    if not node.healthy or not of_flavor(node, flavor):
        return False
    if any(node.labels.get(key) != value for key, value in pods.node_selector):
        return False
    return tolerated(node, (*flavor.tolerations, *pods.tolerations))


def tolerated(node: NodeView, tolerations: tuple[Toleration, ...]) -> bool:
    """Every taint that keeps pods out is tolerated."""
    return all(
        any(each.tolerates(taint) for each in tolerations) for taint in node.taints if taint.effect in _KEEPS_OUT
    )
