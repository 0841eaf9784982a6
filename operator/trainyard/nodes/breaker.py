"""The breaker: when too many nodes are taken out of use in a short time, the fault is hardly in the nodes, and nothing more is done.

It closes by itself when time has passed or nodes are well again; only what is seen then counts, and not what came while it was open.
Neighbour: `scheduling/health` has another one for each flavor, which lets broken nodes take pods again when most of a flavor is sick.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from trainyard.nodes.states import Record

SHARE = 0.2
WINDOW = timedelta(minutes=30)
LEAST = 3
"""So many at least: two of five broken nodes are two broken nodes."""


def lately(records: Iterable[Record], now: datetime) -> int:
    """Nodes that were taken out of use within the window and still are."""
    return sum(record.taken_out and record.since is not None and now - record.since < WINDOW for record in records)


def is_open(taken_out: int, nodes: int) -> bool:
    """taken_out: as `lately` counts. nodes: that there are."""
    return taken_out >= LEAST and taken_out > SHARE * nodes
