"""Elastic workloads: the largest size that quota allows, and growing into what nobody else wants.

Growing is a restart of the program from a checkpoint, so it waits until nobody waits, is not done more often than now and then, and only
where what it adds is worth what the restart loses. Neighbours: `preemption` shrinks, `gang` finds the largest size that fits.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from trainyard.scheduling.checks import powerless
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.fleet import Fleet
from trainyard.scheduling.gang import replace_failed
from trainyard.scheduling.quota_tree import QuotaTree
from trainyard.scheduling.reservation import Places, Reservation, beside
from trainyard.scheduling.running import Running
from trainyard.scheduling.snapshot import Assignment, Resize, Workload, WorkloadKey

_NOWHERE = -1
"""Row of a pod that has no node yet, or whose node is gone."""

PlaceOn = Callable[[Workload, str, Fleet], Places | None]
"""Where a workload would go on the nodes of a flavor."""


def affordable(engine: Engine, tree: QuotaTree, workload: Workload, flavor: str) -> Workload | None:
    """The workload at the largest size that quota allows, one elastic role after another; None if its least is too much."""
    sized = replace(workload, pods=tuple(replace(each, count=each.minimum) for each in workload.pods))
    if not tree.fits(workload.queue, engine.request(sized, flavor)):
        return None
    for number, each in enumerate(workload.pods):
        low, high = each.minimum, each.count
        while low < high:
            count = (low + high + 1) // 2
            if tree.fits(workload.queue, engine.request(_resized(sized, number, count), flavor)):
                low = count
            else:
                high = count - 1
        sized = _resized(sized, number, low)
    return sized


def _resized(workload: Workload, number: int, count: int) -> Workload:
    pods = workload.pods
    return replace(workload, pods=(*pods[:number], replace(pods[number], count=count), *pods[number + 1 :]))


def named(engine: Engine, flavor: str, places: Places) -> Assignment:
    """An assignment from rows of the fleet."""
    nodes = engine.fleet.nodes
    return Assignment(flavor, {role: tuple(nodes[row].name for row in rows) for role, rows in places.items()})


def size(assignment: Assignment) -> int:
    """Pods of all roles."""
    return sum(len(nodes) for nodes in assignment.nodes.values())


def grown(engine: Engine, now: float, place: PlaceOn) -> Iterator[Resize]:
    """Elastic workloads that take what is idle, the best first; the engine holds the new places at once.

    At most `options.growing` of them. Whoever waits below the same root or for the same flavor comes first: then nobody grows.
    """
    left = engine.options.growing
    for key in sorted(_may_grow(engine, now), key=lambda key: _turn(engine, engine.running[key])):
        if not left:
            return
        running = engine.running[key]
        found = _larger(engine, running, place, now)
        if found is None or not _worth_it(engine, running, found, now):
            continue
        engine.finish(key)
        engine.hold(running.workload, found, now)
        left -= 1
        yield Resize(key, running.workload.uid, found, running.assignment)


def _may_grow(engine: Engine, now: float) -> Iterator[WorkloadKey]:
    wanted_flavors, wanted_roots = _wanted(engine)
    for key, each in engine.running.items():
        if (
            each.workload.leaving
            or each.flavor in wanted_flavors
            or engine.root(each.workload.queue) in wanted_roots
            or now - each.began < _seconds(engine, each)[0]
        ):
            continue
        if any(
            pods.least is not None and len(each.assignment.nodes[pods.role]) < pods.count for pods in each.workload.pods
        ):
            yield key


def _wanted(engine: Engine) -> tuple[set[str], set[str]]:
    """Flavors that somebody waits for, and roots below which somebody waits, if anything but a change of theirs can help."""
    waiting = [each for each in engine.pending.classes.values() if each.standing is None]
    return {name for each in waiting for name, _ in each.flavors}, {engine.root(each.queue) for each in waiting}


def _turn(engine: Engine, running: Running) -> tuple[int, float, WorkloadKey]:
    workload = running.workload
    return (-engine.rules.priority_of(workload), workload.created.timestamp(), workload.key)


def _larger(engine: Engine, running: Running, place: PlaceOn, now: float) -> Assignment | None:
    """The largest place that it could have if it gave back its own."""
    workload, flavor = running.workload, running.flavor
    if powerless(engine.tree, workload.queue, [flavor]):
        return None
    kept = [each for each in engine.reservations if each.binds(engine.ends(workload, now))]
    fleet = (beside(engine.fleet, kept, workload.key) if kept else engine.fleet).copy()
    tree = engine.tree.copy()
    tree.remove(workload.queue, running.request)
    for row, grant in running.grants:
        fleet.give(row, grant)
    sized = affordable(engine, tree, workload, flavor)
    if sized is None or any(not _quota_kept(engine, each, running, sized) for each in kept):
        return None
    places = place(sized, flavor, fleet)
    found = named(engine, flavor, staying(engine, running, fleet, places)) if places else None
    return found if found is not None and size(found) > size(running.assignment) else None


def staying(engine: Engine, running: Running, fleet: Fleet, places: Places) -> Places:
    """As many pods, with those that there are where they are, so that they need not be made anew; `places` where that cannot be.

    fleet: without what the workload holds.
    """
    workload, flavor, trial = running.workload, running.flavor, fleet.copy()
    spec = engine.rules.flavors.get(flavor)
    held: dict[str, tuple[int, ...]] = {}
    for pods in workload.pods:
        wanted = len(places.get(pods.role, ()))
        stay = [trial.row.get(name, _NOWHERE) for name in running.assignment.nodes.get(pods.role, ())[:wanted]]
        for row in stay:
            if row == _NOWHERE or not trial.room(pods.requests, np.array([row]))[0]:
                return places
            trial.take(row, pods.requests)
        held[pods.role] = (*stay, *[_NOWHERE] * (wanted - len(stay)))
    if spec is None or not any(_NOWHERE in rows for rows in held.values()):
        return held if spec is not None else places
    avoid = workload.avoid | engine.health(flavor).out
    sets = [(each, engine.fleet.eligible(spec, each, avoid)) for each in workload.pods]
    more = replace_failed(trial, sets, workload.topology, engine.placement, held, frozenset({_NOWHERE}))
    return places if more is None else more


def _quota_kept(engine: Engine, kept: Reservation, running: Running, sized: Workload) -> bool:
    """Whether whoever waits for a kept place would still have its quota."""
    queue = sized.queue
    if kept.root != engine.root(queue):
        return True
    counted = running.workload.key not in kept.released
    if counted:
        kept.tree.remove(queue, running.request)
    fits = kept.quota_for(sized.key, queue, engine.request(sized, running.flavor))
    if counted:
        kept.tree.add(queue, running.request)
    return fits


def _worth_it(engine: Engine, running: Running, found: Assignment, now: float) -> bool:
    """Whether what is added does more, until the job ends, than the restart loses."""
    added = size(found) - size(running.assignment)
    left = max(0.0, running.ends - now)
    return added * left > size(running.assignment) * _seconds(engine, running)[1]


def _seconds(engine: Engine, running: Running) -> tuple[float, float]:
    """The least between two growths, and what one costs."""
    options = engine.options
    return options.in_place_seconds if running.workload.in_place else (options.growth_seconds, options.restart_seconds)
