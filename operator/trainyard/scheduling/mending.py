"""Workloads that lost nodes go on where they are: only the pods of lost nodes move, as near to the others as they were.

What they hold on the nodes that are left is given to nobody meanwhile. Neighbours: `gang` finds the other nodes; the controller
gives the whole place back if there are none soon.
"""

from collections.abc import Iterator

from trainyard.scheduling.elastic import named
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.gang import replace_failed
from trainyard.scheduling.reservation import Places, beside
from trainyard.scheduling.running import Running
from trainyard.scheduling.slow_nodes import sparing
from trainyard.scheduling.snapshot import Assignment, Resize, Workload

_GONE = -1
"""Row of a node that was gone before the fleet was made."""


def mended(engine: Engine, now: float) -> Iterator[Resize]:
    """New places for those that lost nodes, as far as there are any; the engine holds them at once."""
    for key in sorted(engine.wounded):
        running = engine.running[key]
        found = None if running.workload.leaving else _other_nodes(engine, running, now)
        if found is not None:
            engine.finish(key)
            engine.hold(running.workload, found, now)
            yield Resize(key, running.workload.uid, found, running.assignment)


def _other_nodes(engine: Engine, running: Running, now: float) -> Assignment | None:
    workload, flavor = running.workload, running.flavor
    spec = engine.rules.flavors.get(flavor)
    if spec is None:
        return None
    row, nodes = engine.fleet.row, running.assignment.nodes
    held = {role: tuple(row.get(name, _GONE) for name in names) for role, names in nodes.items()}
    failed = frozenset(row.get(name, _GONE) for name in workload.lost) | {_GONE}
    kept = [each for each in engine.reservations if each.binds(engine.ends(workload, now))]
    fleet = beside(engine.fleet, kept, workload.key) if kept else engine.fleet.copy()
    for there, grant in running.grants:
        if there in failed:
            fleet.give(there, grant)
    health = engine.health(flavor)

    def place_without(workload: Workload, slow: frozenset[str]) -> Places | None:
        avoid = workload.avoid | workload.lost | health.out | slow
        sets = [(each, engine.fleet.eligible(spec, each, avoid)) for each in workload.pods]
        return replace_failed(fleet, sets, workload.topology, engine.placement, held, failed)

    places = place_without(workload, frozenset())
    if places is None:
        return None
    return named(engine, flavor, sparing(fleet, health.spared, workload, places, place_without))
