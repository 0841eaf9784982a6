"""The breaker: when too many nodes are taken out of use in a short time, the fault is hardly in the nodes, and nothing more is done.

Nodes with GPUs and nodes without are counted apart: most signs are of GPUs, and many CPU nodes would hide that most GPU nodes are sick.
It closes by itself when time has passed or nodes are well again; only what is seen then counts, and not what came while it was open.
Neighbour: `scheduling/health` has another one for each flavor, which lets broken nodes take pods again when most of a flavor is sick.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from trainyard.api.names import GPU
from trainyard.nodes.signs import GPU_COUNT
from trainyard.scheduling.snapshot import NodeView, Standing

SHARE = 0.2
WINDOW = timedelta(minutes=30)
LEAST = 3
"""So many at least: two of five broken nodes are two broken nodes."""


def has_gpus(node: NodeView) -> bool:
    """Also one whose device plugin is gone."""
    return GPU in node.allocatable or GPU_COUNT in node.labels


def lately(standings: Iterable[Standing], now: datetime) -> int:
    """Nodes that were taken out of use within the window and still are."""
    return sum(each.taken_out and each.since is not None and now - each.since < WINDOW for each in standings)


def is_open(taken_out: int, nodes: int) -> bool:
    """taken_out: as `lately` counts. nodes: that there are of the kind."""
    return taken_out >= LEAST and taken_out > SHARE * nodes
