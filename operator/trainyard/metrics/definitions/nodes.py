"""Of nodes and the flavors that they belong to."""

from trainyard.api.node_health import NodeState
from trainyard.metrics.definitions.metric import Group, counter, gauge
from trainyard.nodes.xid import XidClass

NODE_GPUS = gauge(
    "node_gpus",
    Group.NODES,
    "GPUs of a node, each in one state: held by a pod, else out of use with its node, else free. "
    "The flavor is the one with the narrowest selector that fits, or none.",
    "node",
    "flavor",
    "state",
    state=("allocated", "free", "cordoned", "unhealthy"),
)
NODE_STATE = gauge(
    "node_state",
    Group.NODES,
    "1 for the state that a node is in, of several the first of these; no series for the others.",
    "node",
    "state",
    state=("not_ready", "broken", "leaving", "cordoned", "ready"),
)
NODE_SLOWNESS = gauge(
    "node_slowness",
    Group.NODES,
    "How strongly jobs say that workers on the node held them up lately: 1, and one more for twice as strongly; absent where "
    "none says so. Such nodes come last among equal ones.",
    "node",
)
FRAGMENTED = gauge(
    "flavor_fragmented_gpus",
    Group.NODES,
    "Free GPUs of the flavor's nodes that typical workloads of now cannot use.",
    "flavor",
)
SICK_NODES = gauge(
    "flavor_sick_nodes",
    Group.NODES,
    "Nodes of the flavor that a monitor calls broken, on which several workloads failed lately, or that are not ready.",
    "flavor",
    "state",
    state=("broken", "suspect", "not_ready"),
)
BREAKER = gauge(
    "flavor_breaker_open",
    Group.NODES,
    "1 while so many nodes of the flavor are sick that broken ones take pods as a last choice: look for a common cause.",
    "flavor",
)
NODE_HEALTH = gauge(
    "node_health_seconds",
    Group.NODES,
    "How long the health of a node has stood so. Absent for a healthy one; what the states mean is told in docs/nodes.md.",
    "node",
    "state",
    state=tuple(each.value for each in NodeState if each is not NodeState.HEALTHY),
)
NODE_CHANGES = counter(
    "node_health_changes",
    Group.NODES,
    "Nodes that came into a state.",
    "state",
    state=tuple(each.value for each in NodeState),
)
NODE_BREAKER = gauge(
    "node_breaker_open",
    Group.NODES,
    "1 while so many nodes are to be taken out of use that none is cordoned or drained without a person.",
)
NODE_LEMON = gauge(
    "node_lemon_ratio",
    Group.NODES,
    "How many times as often as elsewhere attempts of jobs fail on the node for no fault of their own, at least (the lower end of a "
    "95 % interval). Absent where that is less than one, or fewer than two failed. From 3 on the node is the last choice.",
    "node",
)
NODE_RISK = gauge(
    "node_risk",
    Group.NODES,
    "How much the errors of a node's GPUs foretell a failure: 1, and one more for twice as many; absent where they do not. Such nodes "
    "come last among equal ones.",
    "node",
)
XIDS = counter(
    "gpu_xids",
    Group.NODES,
    "Errors that NVIDIA's driver reported (XIDs), as conditions of nodes or the adapter of DCGM's exporter tell them, by code and class.",
    "xid",
    "class",
    **{"class": tuple(each.value for each in XidClass)},
)
