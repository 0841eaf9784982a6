"""Nodes that held jobs up lately, or whose errors foretell a failure, come last among places that are equal otherwise.

An order and no filter: a place was found already, and is given up only for another that is as large and whose pods are as near to
each other. So whether and how large a workload starts does not depend on what is said of nodes, and neither does what a search that
ends in vain costs. Neighbours: `health` says which nodes are slow, `cycle` finds the places.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from trainyard.scheduling.fleet import Fleet
from trainyard.scheduling.reservation import Places
from trainyard.scheduling.snapshot import Topology, Workload

PlaceWithout = Callable[[Workload, frozenset[str]], Places | None]
"""A place for the workload that uses none of these nodes."""


def sparing(
    fleet: Fleet, slow: Mapping[str, int], workload: Workload, places: Places, place_without: PlaceWithout
) -> Places:
    """An equal place with fewer slow nodes, or with less slow ones; this one if there is none.

    slow: by node, how strongly that is said. The slowest are spared first if not all can be.
    """
    worst = max((slow.get(fleet.nodes[row].name, 0) for rows in places.values() for row in set(rows)), default=0)
    if not worst:
        return places
    pods = tuple(replace(each, count=len(places[each.role]), least=None) for each in workload.pods)
    as_large = replace(workload, pods=pods)
    for level in sorted({each for each in slow.values() if each <= worst}):
        found = place_without(as_large, frozenset(name for name, each in slow.items() if each >= level))
        if found is not None and _as_near(fleet, workload.topology, found, places):
            return found
    return places


def _as_near(fleet: Fleet, topology: Topology | None, found: Places, places: Places) -> bool:
    """Whether a place is no farther apart than another, or no nearer together where pods are spread on purpose."""
    now, before = ({row for rows in each.values() for row in rows} for each in (found, places))
    if topology is None or not topology.level:
        return len(now) <= len(before)
    domain = fleet.domains(topology.level)
    domains, domains_before = (len({int(domain[row]) for row in each}) for each in (now, before))
    if topology.mode == "spread":
        return domains >= domains_before
    return domains <= domains_before and len(now) <= len(before)
