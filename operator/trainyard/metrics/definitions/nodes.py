"""Of nodes and the flavors that they belong to."""

from trainyard.metrics.definitions.metric import Group, gauge

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
