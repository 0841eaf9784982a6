"""15,000 jobs on 640 nodes in 10 racks: what it costs to keep gangs together.

Each node holds one unit. Small jobs go anywhere, medium ones need one rack for their 5 pods, large ones prefer one for their 20.
"""

from tests.bench.queue_load import JobKind, Load, report
from trainyard.scheduling.snapshot import NodeView, Topology

RACK = "topology.trainyard.dev/rack"
KINDS = (
    JobKind("small", 350, 1, 0.2, 50, 0.1),
    JobKind("medium", 100, 5, 0.5, 100, 0.5, pods=5, topology=Topology(RACK, "required")),
    JobKind("large", 50, 20, 1.0, 200, 1.2, pods=20, topology=Topology(RACK, "preferred")),
)
NODES = tuple(
    NodeView(f"node-{number:03}", {RACK: f"rack-{number // 64}"}, {"cpu": 1000, "pods": 110_000})
    for number in range(640)
)

if __name__ == "__main__":
    report("core-topology", Load(trees=5, queues=6, kinds=KINDS, nodes=NODES))
