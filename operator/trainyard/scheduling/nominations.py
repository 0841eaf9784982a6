"""Places that are kept for workloads until their victims have made way, and who is asked to.

A nomination stands in the status of the workload that waits; from it alone follow, in every cycle, the kept place and the requests
to those victims that have not acted yet. So an operator that starts anew goes on with the same victims, and nobody makes way for
one that is gone. Neighbours: `preemption` chooses the victims, `reservation` keeps the place.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from trainyard.api.reasons import Waiting
from trainyard.scheduling.elastic import PlaceOn, affordable, named, staying
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.fleet import Fleet
from trainyard.scheduling.potential import standings
from trainyard.scheduling.quota import granted
from trainyard.scheduling.reservation import Plan, Reservation
from trainyard.scheduling.running import Running
from trainyard.scheduling.snapshot import Assignment, Evict, Nominated, Verdict, Workload, WorkloadKey
from trainyard.scheduling.trial import limited, take
from trainyard.scheduling.victims import at_size, candidates, claim, cost, holders

ENDING = "Pod"
"""Kind of the stand-in for a pod that still runs after its owner gave up its place."""
GIVE_UP_SECONDS = 60.0
"""A place that is not free so long after the deadline is not waited for any longer."""
_NAMED = 3


def stand(engine: Engine, place: PlaceOn, now: float) -> Iterator[Evict]:
    """Keep every place that is still worth waiting for, and ask the victims. Call once at the begin of a cycle."""
    engine.nominated.clear()
    for each in [kept for kept in engine.reservations if kept.nominated]:
        engine.drop(each)
    standing = []
    for workload in sorted(
        engine.nominees.values(), key=lambda each: (each.nomination and each.nomination.time, each.key)
    ):
        found = workload.nomination
        assert found is not None
        waiting = engine.pending.class_of(workload.key)
        over = now > found.deadline.timestamp() + GIVE_UP_SECONDS
        if over or waiting is None or waiting.standing is not None:
            continue
        if (kept := keep(engine, workload, found, now)) is not None:
            standing.append((workload, found, kept))
    for workload, found, kept in standing:
        if not go_on(engine, workload, kept, place, now):
            engine.drop(kept)
            continue
        engine.nominated[workload.key] = words(found)
        if found.durable:
            yield from _requests(engine, workload, found, kept, now)


def give_up(engine: Engine, kept: Reservation) -> None:
    """It waits like everybody else."""
    engine.nominated.pop(kept.key, None)
    engine.drop(kept)


def hopeless(engine: Engine, kept: Reservation) -> bool:
    """Everybody has made way, and yet it does not fit."""
    return not kept.released and not any(key.kind == ENDING for key in engine.running)


def keep(engine: Engine, workload: Workload, nomination: Nominated, now: float) -> Reservation | None:
    """Keep the nominated place; None if it is no place any more."""
    flavor, queue = nomination.assignment.flavor, workload.queue
    if queue not in engine.tree or not _exists(engine, workload, nomination.assignment):
        return None
    fleet, tree, victims = engine.fleet.copy(), engine.tree.copy(), _victims(engine, nomination)
    for _, running in victims:
        for row, grant in running.grants:
            fleet.give(row, grant)
        tree.remove(running.workload.queue, running.request)
    others = list(engine.reservations)
    plans = {each.key: each.planned(fleet, tree) for each in others if each.nominated}
    nodes = nomination.assignment.nodes.items()
    places = {role: tuple(engine.fleet.row[name] for name in names) for role, names in nodes}
    requests = {each.role: each.requests for each in workload.pods}
    take(fleet, workload, places)
    request = tree.request(queue, flavor, granted(workload, nomination.assignment))
    tree.add(queue, request)
    kept = Reservation(
        workload.key,
        queue,
        tree.root(queue),
        flavor,
        nomination.deadline.timestamp(),
        tuple((row, requests[role]) for role, rows in places.items() for row in rows),
        request,
        fleet,
        tree,
        {key for key, _ in victims},
        plans,
        nominated=True,
    )
    ends = engine.ends(workload, now)
    for each in others:
        if each.binds(ends):
            each.plans[workload.key] = kept.planned(each.fleet, each.tree)
    engine.reservations.append(kept)
    return kept


def go_on(engine: Engine, workload: Workload, kept: Reservation, place: PlaceOn, now: float) -> bool:
    """Find places for victims that need not go back to their queue. False if one must not, and has none."""
    others = [each for each in engine.reservations if each is not kept]
    victims = [(key, engine.running[key]) for key in sorted(kept.released)]
    bound: set[WorkloadKey] = set()
    for key, running in victims:
        elastic = any(each.least is not None for each in running.workload.pods)
        if running.workload.leaving or not (elastic or engine.options.consolidate):
            continue
        room = limited(kept.fleet.copy(), (each for each in others if each.binds(running.ends)), victims, key)
        if not _goes_on(engine, kept, key, running, room, place):
            bound.add(key)
    return not bound or _may_all_leave(engine, workload, kept, bound, now)


def drained(engine: Engine, now: float) -> Iterator[Evict]:
    """Whoever runs in a queue that is drained stops after a checkpoint."""
    policies = {name: spec.stop_policy for name, spec in engine.rules.queues.items()}
    if "HoldAndDrain" not in policies.values():
        return
    deadline = datetime.fromtimestamp(now + engine.options.preemption_seconds, UTC)
    for key, each in sorted(engine.running.items()):
        by = next((name for name in engine.rules.upward(each.workload.queue) if policies[name] == "HoldAndDrain"), None)
        if by is None or key.kind == ENDING or each.workload.leaving:
            continue
        lost = cost(each, now, engine.options.restart_seconds)
        yield Evict(key, each.workload.uid, deadline, lost, drained=by)


def _victims(engine: Engine, nomination: Nominated) -> list[tuple[WorkloadKey, Running]]:
    """Those that still hold the place that they are to give back."""
    found = []
    for key, uid in nomination.victims:
        running = engine.running.get(key)
        if running is None or running.workload.uid != uid:
            continue
        since = running.workload.placed or running.workload.started
        if since is None or since <= nomination.time:
            found.append((key, running))
    return found


def _requests(
    engine: Engine, workload: Workload, nomination: Nominated, kept: Reservation, now: float
) -> Iterator[Evict]:
    for key, running in _victims(engine, nomination):
        if key in kept.released and not running.workload.leaving:
            yield Evict(
                key,
                running.workload.uid,
                nomination.deadline,
                cost(running, now, engine.options.restart_seconds),
                workload.key,
                workload.uid,
                kept.goes_on.get(key),
            )


def _exists(engine: Engine, workload: Workload, assignment: Assignment) -> bool:
    """Whether its nodes are still there and take such pods."""
    spec, row = engine.rules.flavors.get(assignment.flavor), engine.fleet.row
    if spec is None:
        return False
    for each in workload.pods:
        mask = engine.fleet.eligible(spec, each, workload.avoid | engine.health(assignment.flavor).out)
        if not all(name in row and mask[row[name]] for name in assignment.nodes.get(each.role, ())):
            return False
    return True


def _goes_on(
    engine: Engine, kept: Reservation, key: WorkloadKey, running: Running, room: Fleet, place: PlaceOn
) -> bool:
    queue, flavor = running.workload.queue, running.flavor
    sized = affordable(engine, kept.tree, at_size(running.workload, running), flavor) if queue in kept.tree else None
    places = place(sized, flavor, room) if sized else None
    if sized is None or not places:
        return False
    places = staying(engine, running, room, places)
    there = named(engine, flavor, places)
    request = kept.tree.request(queue, flavor, granted(sized, there))
    grants = take(kept.fleet, sized, places)
    kept.tree.add(queue, request)
    kept.plans[key] = Plan(tuple(grants), queue, request)
    kept.goes_on[key] = there
    return True


def _may_all_leave(engine: Engine, workload: Workload, kept: Reservation, keys: set[WorkloadKey], now: float) -> bool:
    """Whether these may be sent back to their queue, and were not only to be moved or made smaller."""
    engine.reservations.remove(kept)
    others = holders(engine, kept.root)
    own = claim(engine, workload, kept.flavor, others)
    asked = candidates(engine, own, standings(engine.tree, others), now)
    engine.reservations.append(kept)
    return keys <= {each.key for each in asked.found if each.evict}


def words(nomination: Nominated) -> Verdict:
    names = [f"{key.namespace}/{key.name}" for key, _ in nomination.victims]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    at = nomination.deadline.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return Verdict(
        Waiting.WAITING_FOR_PREEMPTED_WORKLOADS,
        f"{', '.join(names[:_NAMED])}{more} write a checkpoint and make way, by {at} at the latest",
    )
