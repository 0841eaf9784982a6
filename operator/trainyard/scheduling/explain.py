"""Why something waits, in words: the typed reason of a refusal and the arithmetic behind it. Asked seldom, so it may look at everything."""

from collections import defaultdict
from datetime import UTC, datetime

import numpy as np

from trainyard.api.names import GPU
from trainyard.api.reasons import Waiting
from trainyard.scheduling.checks import left_out
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.pending import JobClass, Refusal
from trainyard.scheduling.quota import demand
from trainyard.scheduling.quota_tree import Cell
from trainyard.scheduling.resources import describe, show
from trainyard.scheduling.snapshot import UNSEEN, PodSet, Verdict, Workload

_NAMED = 3
"""Holders that a message names; who wants all asks `trainyard why`."""


def verdict(engine: Engine, waiting: JobClass) -> Verdict:
    """Why the oldest of a class waits, as of the last cycle."""
    if waiting.standing is not None:
        return waiting.standing
    if waiting.refusal is None:
        return Verdict(Waiting.PENDING_EVALUATION, "the scheduler has not looked at it yet")
    _, workload = waiting.head()
    return _words(engine, workload, waiting.refusal)


def _words(engine: Engine, workload: Workload, refusal: Refusal) -> Verdict:
    if refusal.kept_for is not None:
        kept = refusal.kept_for
        at = datetime.fromtimestamp(refusal.until, UTC).strftime("%Y-%m-%d %H:%MZ")
        remedy = (
            "it goes on after that one, for it ends only when somebody ends it"
            if workload.endless
            else "a job that ends before then may start now: say so with spec.expectedSeconds"
        )
        return Verdict(
            Waiting.WAITING_FOR_QUOTA if not refusal.flavors else Waiting.TOPOLOGY_PLACEMENT_FAILED,
            f"what it needs is kept for {kept.namespace}/{kept.name}, which came first and starts by {at}; {remedy}",
        )
    beside = left_out(workload, engine.rules, engine.tree)
    if refusal.flavors:
        words = no_place(engine, workload, refusal.flavors[0])
        return Verdict(Waiting.TOPOLOGY_PLACEMENT_FAILED, f"{words}; {beside}" if beside else words)
    parts = [_short(engine, workload, cell, missing) for cell, missing in refusal.shortages]
    parts += [beside] if beside else []
    return Verdict(Waiting.WAITING_FOR_QUOTA, "; ".join(parts))


def _short(engine: Engine, workload: Workload, cell: Cell, missing: int) -> str:
    """Who holds the quota that is missing."""
    tree, queue = engine.tree, workload.queue
    asked = dict(tree.request(queue, cell[0], demand(workload, least=True))).get(cell, 0)
    root = tree.root(queue)
    holders = _holders(engine, root, cell)
    named = ", ".join(f"{who} {show(amount)}" for who, amount in holders[:_NAMED]) or "nobody"
    begin = f"{cell[1]} on {cell[0]}: asks {show(asked)}, "
    end = f"{show(missing)} must be given back"
    limit = tree.tightest(queue, cell)
    if limit is not None and limit[1] - limit[2] <= tree.available(queue, cell):
        name, most, held = limit
        return f"{begin}{name} may hold at most {show(most)}, of which {show(held)} are used ({named}), {end}"
    if root == queue:
        return (
            f"{begin}{show(tree.held(queue, cell))} of {show(tree.guaranteed(queue, cell))} are used ({named}), {end}"
        )
    own = f"{queue} holds {show(tree.held(queue, cell))} and is guaranteed {show(tree.guaranteed(queue, cell))}"
    return f"{begin}{own}; {show(tree.held(root, cell))} of {show(tree.guaranteed(root, cell))} below {root} are used ({named}), {end}"


def _holders(engine: Engine, root: str, cell: Cell) -> list[tuple[str, int]]:
    """Who holds most of a cell below a root, largest first. Found once for all that ask between two changes below the root."""
    version = engine.versions.get(root, 0)
    known, found = engine.holders.get(root, (-1, {}))
    if known != version:
        held: dict[Cell, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for key, each in engine.running.items():
            if each.request and engine.root(each.workload.queue) == root:
                for asked, amount in each.request:
                    held[asked][f"{key.namespace}/{key.name}"] += amount
        found = {asked: sorted(who.items(), key=lambda pair: (-pair[1], pair[0])) for asked, who in held.items()}
        engine.holders[root] = (version, found)
    return found.get(cell, [])


def no_place(engine: Engine, workload: Workload, flavor: str) -> str:
    """Quota is there, nodes are not: what is free, and what other people's pods hold."""
    fleet, spec = engine.fleet, engine.rules.flavors[flavor]
    scarce = next((each for each in workload.pods if GPU in each.requests), workload.pods[0])
    health = engine.health(flavor)
    mask = fleet.eligible(spec, scarce, workload.avoid | health.out)
    rows = np.flatnonzero(mask)
    where = f" in one {workload.topology.level}" if workload.topology and workload.topology.mode == "required" else ""
    parts = [f"{asks_for(workload)} fit on no set of the {len(rows)} nodes of flavor {flavor} that take pods{where}"]
    for resource, amount in sorted(scarce.requests.items()):
        column = fleet.columns.get(resource)
        largest = 0 if column is None or not rows.size else int(fleet.capacity[rows, column].max())
        if amount > largest:
            parts.append(f"the largest of them offers {show(largest)} {resource}, and one pod asks {show(amount)}")
    resource = GPU if GPU in scarce.requests else next(iter(sorted(scarce.requests)), GPU)
    column = fleet.columns.get(resource)
    free = 0 if column is None else int(np.maximum(fleet.free[rows, column], 0).sum())
    parts.append(f"{show(free)} {resource} are free there")
    if engine.foreign and (foreign := _foreign(engine, {fleet.nodes[row].name for row in rows.tolist()}, resource)):
        parts.append(f"pods outside Trainyard hold {foreign}")
    if health.sick and (words := health.words()):
        parts.append(words)
    if workload.avoid:
        parts.append(f"avoided for now after a failed start: {', '.join(sorted(workload.avoid))}")
        if engine.confined:
            parts.append(UNSEEN)
    return "; ".join(parts)


def _foreign(engine: Engine, nodes: set[str], resource: str) -> str:
    pods = [each for each, _, _ in engine.foreign.values() if each.node in nodes and each.requests.get(resource)]
    shown = [
        f"{each.namespace}/{each.name} ({describe({resource: each.requests[resource]})} on {each.node})"
        for each in pods[:_NAMED]
    ]
    return ", ".join(shown) + (f" and {len(pods) - _NAMED} more" if len(pods) > _NAMED else "")


def asks_for(workload: Workload) -> str:
    """As in "2 pods of nvidia.com/gpu=1"."""
    return " and ".join(_pods(each) for each in workload.pods)


def _pods(each: PodSet) -> str:
    count = str(each.count) if each.least is None else f"{each.minimum} to {each.count}"
    return f"{count} pod{'s' if each.count > 1 else ''} of {describe(each.requests)}"
