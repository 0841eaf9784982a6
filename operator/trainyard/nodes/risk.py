"""How much the errors of a node's GPUs foretell a failure: errors that harmed nobody, weighed by kind and by how lately they came.

The weights say how many of a kind in a day count as much as one row of memory that was replaced. They are judgement, after NVIDIA's
"GPU Memory Error Management" (a remapped row is a defect, corrected errors are its shadow) and the order in which XIDs precede each other
in its Xid catalog; `tests/bench/node_health.py` says what they foretell on a simulated fleet. Used for the order of nodes alone: a false
alarm costs a choice, and never a node.
"""

import math
from collections.abc import Iterable
from datetime import datetime

from trainyard.nodes.errors import ErrorKind, GpuError
from trainyard.nodes.xid import XidClass, xid

WEIGHTS: dict[ErrorKind, float] = {
    ErrorKind.CORRECTED: 0.02,
    ErrorKind.REMAPPED: 1.0,
    ErrorKind.THERMAL: 0.02,
}
NOTED_XID = 1.0
APPLICATION_XID = 0.1
"""Mostly the program's; on the same GPU again and again it is not."""
CONTAINED = 94
"""An XID of one program, and a defect of the memory all the same."""
ALARM = 1.0
"""The score from which a node is taken to be at risk."""


def score(errors: Iterable[GpuError], now: datetime) -> float:
    """Of a node's GPUs the worst: errors of one device belong together."""
    of_gpu: dict[str, float] = {}
    for each in errors:
        of_gpu[each.gpu] = of_gpu.get(each.gpu, 0.0) + _weight(each) * each.lately(now)
    return max(of_gpu.values(), default=0.0)


def level(errors: Iterable[GpuError], now: datetime) -> int:
    """0 for no risk to speak of, else 1, and one more for twice the score: whole steps, so that it seldom changes."""
    found = score(errors, now)
    return 0 if found < ALARM else 1 + math.floor(math.log2(found / ALARM))


def _weight(error: GpuError) -> float:
    if error.kind is not ErrorKind.XID or error.code is None:
        return WEIGHTS.get(error.kind, 0.0)
    match xid(error.code).kind:
        case XidClass.NOTED | XidClass.UNKNOWN:
            return NOTED_XID
        case XidClass.APPLICATION:
            return NOTED_XID if error.code == CONTAINED else APPLICATION_XID
    return 0.0  # fatal ones are acted on, and foretell nothing
