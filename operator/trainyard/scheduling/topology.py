"""How the pods of a gang are shared out over domains (racks, blocks, nodes): counts in, counts out; it chooses no node.

`fewest` keeps a gang together, `evenly` sets it apart. Units are slices: pods that must not be parted. Neighbours: `gang` turns
room on nodes into room of domains and places the pods of each.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Shares = list[tuple[int, int]]
"""(domain, units), each domain once, in the order in which ranks go."""


def slots(domain: Ints, room: Ints, size: int = 1, domains: int = 0) -> Ints:
    """Whole slices of `size` pods that fit in each domain, at least (domains,).

    domain: (nodes,) domain of each node, none negative. room: (nodes,) pods that fit on it.
    """
    # Sums of at most 2^53 are exact in the floats that bincount adds.
    pods = np.bincount(domain, weights=np.minimum(room, 2**32), minlength=domains)
    return pods.astype(np.int64) // size


def fewest(room: Ints, units: int, begin: Sequence[int] = ()) -> Shares | None:
    """As few domains as possible: the tightest that holds all that is left, else the roomiest first. None if too little.

    room: (domains,) units that fit in each. begin: domains to be filled before any other, in that order. Ties go to the lower number.
    """
    if np.minimum(room, units).sum() < units:
        return None
    left = room.copy()
    shares: Shares = []
    for domain in begin:
        share = min(units, int(left[domain]))
        if share > 0:
            shares.append((domain, share))
            units -= share
        left[domain] = 0
    while units:
        enough = np.flatnonzero(left >= units)
        domain = int(enough[np.argmin(left[enough])]) if enough.size else int(np.argmax(left))
        share = min(units, int(left[domain]))
        shares.append((domain, share))
        left[domain] = 0
        units -= share
    return shares


def evenly(room: Ints, units: int, held: Ints | None = None) -> Shares | None:
    """Over as many domains as possible, as evenly as possible: water poured over an uneven floor. None if too little.

    room: (domains,) units that fit in each. held: (domains,) units that are there already. What is left over after the last
    full level goes to the roomiest, then to the lower number.
    """
    if np.minimum(room, units).sum() < units:
        return None
    floor = np.zeros(len(room), dtype=np.int64) if held is None else held
    low, high = 0, units + (int(floor.max()) if len(floor) else 0)
    while low < high:  # the highest level that does not take more than there is
        level = (low + high + 1) // 2
        if np.clip(level - floor, 0, room).sum() <= units:
            low = level
        else:
            high = level - 1
    share = np.clip(low - floor, 0, room)
    above = np.flatnonzero((share < room) & (floor + share <= low))
    ranked = above[np.lexsort((above, -(room - share)[above]))]
    share[ranked[: units - int(share.sum())]] += 1
    return [(int(domain), int(share[domain])) for domain in np.flatnonzero(share)]
