"""Who may be asked to make way for whom, and what it costs.

The rules are chained: the victim's own (preemptible, long enough in its place, not too often preempted), then those of the
preemptor's queue (`withinQueue`, `reclaim`), then what it is entitled to. Neighbours: `preemption` searches among the
candidates, `potential` compares standings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trainyard.api.names import GPU
from trainyard.api.queue import QueuePreemption
from trainyard.scheduling.elastic import size
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.potential import Holder, Standing, standings
from trainyard.scheduling.quota import demand, granted
from trainyard.scheduling.quota_tree import Request
from trainyard.scheduling.running import Running
from trainyard.scheduling.snapshot import PodSet, Workload, WorkloadKey

_NO_RULES = QueuePreemption()


@dataclass(frozen=True, slots=True)
class Claim:
    """A waiting workload, at its least size, on one of its flavors."""

    workload: Workload
    flavor: str
    request: Request
    priority: int
    """What its queue lets it have."""
    standing: Standing
    """At least so good would it stand, were it in its place."""


@dataclass(frozen=True, slots=True)
class Side:
    """Where the paths of two queues part below their lowest common ancestor."""

    claimant: str
    """The queue on the claim's side."""
    holders: tuple[str, ...]
    """The queues on the victim's side, down to its own."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One that runs and may be asked."""

    key: WorkloadKey
    running: Running
    cost: float
    """GPU-seconds that are lost."""
    standing: Standing
    evict: bool
    """It may be sent back to its queue."""
    least: Workload | None
    """What it must go on with if it is not sent back: its least size, or all of it elsewhere. None if it cannot go on."""
    least_request: Request = ()
    side: Side | None = None
    """None for one of the claim's own queue."""

    @property
    def shrinks(self) -> bool:
        """It can go on with fewer pods."""
        return self.least is not None and pods_of(self.least) < size(self.running.assignment)

    @property
    def moves(self) -> bool:
        """It can only go on, with all its pods, elsewhere: nothing is taken from it."""
        return self.least is not None and not self.evict and not self.shrinks

    @property
    def order(self) -> tuple[int, int, float, float, WorkloadKey]:
        """Not covered by a guarantee first, then lower priority, cheaper, newer."""
        cover, priority, created, key = self.standing
        return (-cover, -priority, self.cost, -created, key)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Those that may be asked now, and when another may be, seconds since 1970."""

    found: tuple[Candidate, ...]
    next_at: float | None = None


def gpus(workload: Workload, running: Running | None = None) -> float:
    """GPUs that it holds, or asks for; of one without GPUs its pods, so that its work counts too."""
    held = granted(workload, running.assignment) if running else demand(workload)
    if held.get(GPU):
        return held[GPU] / 1000
    return float(sum(len(nodes) for nodes in running.assignment.nodes.values()) if running else len(workload.pods))


def lost_seconds(running: Running, now: float) -> float:
    """Seconds of work since its last durable checkpoint, or since it got its place."""
    saved = running.workload.checkpoint
    since = running.began if saved is None else max(running.began, saved.timestamp())
    return max(0.0, now - since)


def cost(running: Running, now: float, restart_seconds: float) -> float:
    """GPU-seconds that making way loses: the work since the last durable checkpoint, and until it trains again."""
    return gpus(running.workload, running) * (lost_seconds(running, now) + restart_seconds)


def smallest(workload: Workload) -> Workload:
    """An elastic workload at its least size."""
    if all(each.least is None for each in workload.pods):
        return workload
    return replace(workload, pods=tuple(replace(each, count=each.minimum, least=None) for each in workload.pods))


def at_size(workload: Workload, running: Running) -> Workload:
    """The workload with as many pods at most as it has now."""

    def held(each: PodSet) -> PodSet:
        return each if each.least is None else replace(each, count=len(running.assignment.nodes.get(each.role, ())))

    return replace(workload, pods=tuple(held(each) for each in workload.pods))


def holders(engine: Engine, root: str) -> list[Holder]:
    """Everybody below a root who holds a place that is not promised to somebody else, and those to whom it is promised."""
    found = []
    gone = promised_away(engine)
    for key, each in engine.running.items():
        workload = each.workload
        if engine.root(workload.queue) == root and key not in gone and not workload.leaving and _counts(workload):
            found.append(_holder(engine, workload, each.flavor))
    for kept in engine.reservations:
        waiting = engine.pending.get(kept.key)
        if kept.nominated and kept.root == root and waiting is not None:
            found.append(_holder(engine, waiting, kept.flavor))
    return found


def promised_away(engine: Engine) -> set[WorkloadKey]:
    """Those that make way for somebody already and do not go on."""
    return {key for kept in engine.reservations if kept.nominated for key in kept.released if key not in kept.plans}


def taken(engine: Engine) -> set[WorkloadKey]:
    """Those that were asked to make way already, in whatever form."""
    return {key for kept in engine.reservations if kept.nominated for key in kept.released}


def newcomer(engine: Engine, workload: Workload, flavor: str) -> Holder:
    """The claim as it would hold its place."""
    return _holder(engine, workload, flavor)


def claim(engine: Engine, workload: Workload, flavor: str, others: list[Holder]) -> Claim:
    """The workload's claim to a place on a flavor, among those that hold one."""
    small = smallest(workload)
    own = newcomer(engine, workload, flavor)
    standing = standings(engine.tree, [*others, own])[workload.key]
    return Claim(small, flavor, engine.request(small, flavor), own.priority, standing)


def candidates(
    engine: Engine, claim: Claim, ranks: Mapping[WorkloadKey, Standing], now: float, *, movable: bool = False
) -> Candidates:
    """Everybody who may make way for the claim as far as they are concerned; whether it may take so much is for the search.

    ranks: standings of those that hold a place. With `movable`, also those that may only be moved.
    """
    found, next_at, busy = [], None, taken(engine)
    for key, each in engine.running.items():
        if each.flavor != claim.flavor or key in busy or key not in ranks or not each.workload.preemptible:
            continue
        rules = _rules(engine, each.workload.queue)
        if each.workload.preemptions >= rules.max_preemptions or each.workload.leaving:
            continue
        candidate = _candidate(engine, claim, key, each, ranks[key], now, movable=movable)
        if candidate is None:
            continue
        if now - each.began < rules.min_run_seconds:
            at = each.began + rules.min_run_seconds
            next_at = at if next_at is None else min(next_at, at)
            continue
        found.append(candidate)
    return Candidates(tuple(sorted(found, key=lambda candidate: candidate.order)), next_at)


def _candidate(
    engine: Engine, claim: Claim, key: WorkloadKey, each: Running, standing: Standing, now: float, *, movable: bool
) -> Candidate | None:
    side = None
    if each.workload.queue != claim.workload.queue:
        side = _parting(engine, claim.workload.queue, each.workload.queue)
        if side is None:
            return None
    yields, shrinks = _by_policy(engine, claim, each, standing, side)
    least = smallest(each.workload) if shrinks else None
    if least is not None and pods_of(least) >= size(each.assignment):
        least = None
    if least is None and movable and not yields:
        pods = tuple(replace(one, least=None) for one in at_size(each.workload, each).pods)
        least = replace(each.workload, pods=pods)
    if not yields and least is None:
        return None
    request = engine.request(least, claim.flavor) if least else ()
    return Candidate(key, each, cost(each, now, engine.options.restart_seconds), standing, yields, least, request, side)


def pods_of(workload: Workload) -> int:
    """Pods of all roles."""
    return sum(each.count for each in workload.pods)


def _by_policy(engine: Engine, claim: Claim, each: Running, standing: Standing, side: Side | None) -> tuple[bool, bool]:
    """Whether it may be sent back to its queue, and whether it may be made smaller. What is above its least size ranks below all."""
    rules = _rules(engine, claim.workload.queue)
    priority = engine.rules.priority_of(each.workload)
    if side is None:
        newer = each.workload.created > claim.workload.created
        yields = {
            "Never": False,
            "LowerPriority": priority < claim.priority,
            "LowerOrNewerEqual": priority < claim.priority or (priority == claim.priority and newer),
        }[rules.within_queue]
        return yields and claim.standing < standing, rules.within_queue != "Never" and priority <= claim.priority
    yields = {"Never": False, "LowerPriority": priority < claim.priority, "Any": True}[rules.reclaim]
    # One that is covered on its own side of the tree is within its guarantee.
    depth = len(engine.tree.path(each.workload.queue)) - len(side.holders)
    return yields and -standing[0] < depth, yields


def _parting(engine: Engine, mine: str, other: str) -> Side | None:
    """None if they have no common ancestor, or one is above the other."""
    if mine not in engine.tree or other not in engine.tree:
        return None
    one, two = engine.tree.path(mine), engine.tree.path(other)
    if one[0] != two[0]:
        return None
    depth = next((place for place, (left, right) in enumerate(zip(one, two, strict=False)) if left != right), None)
    return None if depth is None else Side(one[depth], two[depth:])


def _rules(engine: Engine, queue: str) -> QueuePreemption:
    spec = engine.rules.queues.get(queue)
    return spec.preemption if spec else _NO_RULES


def _holder(engine: Engine, workload: Workload, flavor: str) -> Holder:
    return Holder(
        workload.key,
        workload.queue,
        engine.request(smallest(workload), flavor),
        engine.rules.priority_of(workload),
        workload.created.timestamp(),
    )


def _counts(workload: Workload) -> bool:
    """Pods that only end are nobody's job."""
    return workload.key.kind != "Pod"
