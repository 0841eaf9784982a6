"""Who holds what now: quota by queue, with what is borrowed and from whom, and what is left on nodes by flavor."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from trainyard.api.answers import FlavorUse, Lender, NodeHealth, QueueUse, Top
from trainyard.api.energy import NOTHING, Draw, PowerUse, carbon
from trainyard.api.node_health import WORDS, NodeState
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.fleet import DEVICE
from trainyard.scheduling.fragmentation import TaskClasses, learn_classes, tasks_of, unusable
from trainyard.scheduling.power import draw
from trainyard.scheduling.quota import granted
from trainyard.scheduling.quota_tree import Cell
from trainyard.scheduling.resources import show
from trainyard.scheduling.snapshot import NodeView, Snapshot, Workload
from trainyard.scheduling.whatif import Settled

_HOUR = 3600.0


def top(settled: Settled, namespace: str = "", grams_per_kwh: float | None = None) -> Top:
    """The answer. namespace: the asker's, of which it tells what it draws. grams_per_kwh: of CO2, if anybody knows."""
    snapshot, engine = settled.snapshot, settled.engine
    running = Counter(each.queue for each in snapshot.workloads if each.admission)
    waiting = Counter(each.queue for each in snapshot.workloads if not each.admission)
    typical = learn_classes(tasks_of(snapshot.workloads))
    return Top(
        queues=list(_queues(engine, running, waiting)),
        flavors=[_flavor(engine, name, typical) for name in sorted(snapshot.flavors)],
        nodes=[_node(each) for each in sorted(snapshot.nodes, key=lambda each: each.name) if _remarkable(each)],
        running=running.total(),
        waiting=waiting.total(),
        power=_power(snapshot, grams_per_kwh),
        own=_own_power(snapshot, namespace, grams_per_kwh) if namespace else None,
    )


def _power(snapshot: Snapshot, grams_per_kwh: float | None) -> list[PowerUse]:
    """By queue and flavor, of those on flavors that state power or price."""
    held: dict[tuple[str, str], list[Draw]] = defaultdict(list)
    for each, drawn in _draws(snapshot):
        assert each.admission is not None
        held[each.queue, each.admission.flavor].append(drawn)
    return [_use(queue, flavor, draws, grams_per_kwh) for (queue, flavor), draws in sorted(held.items())]


def _own_power(snapshot: Snapshot, namespace: str, grams_per_kwh: float | None) -> PowerUse:
    draws = [drawn for each, drawn in _draws(snapshot) if each.key.namespace == namespace]
    return _use("", "", draws, grams_per_kwh)


def _draws(snapshot: Snapshot) -> Iterator[tuple[Workload, Draw]]:
    for each in snapshot.workloads:
        spec = snapshot.flavors.get(each.admission.flavor) if each.admission else None
        if each.admission is not None and spec is not None:
            drawn = draw(spec, granted(each, each.admission))
            if drawn != NOTHING:
                yield each, drawn


def _use(queue: str, flavor: str, draws: Sequence[Draw], grams_per_kwh: float | None) -> PowerUse:
    watts = sum(each.busy_watts for each in draws)
    return PowerUse(
        queue=queue,
        flavor=flavor,
        watts=watts,
        cost_per_hour=sum(each.price_per_hour for each in draws),
        carbon_grams_per_hour=carbon(watts * _HOUR, grams_per_kwh),
    )


def _remarkable(node: NodeView) -> bool:
    stands = node.standing
    return stands.state is not NodeState.HEALTHY or bool(stands.doubt or stands.risk or stands.lemon)


def _node(node: NodeView) -> NodeHealth:
    stands = node.standing
    return NodeHealth(
        node=node.name,
        state=stands.state,
        since=stands.since,
        why=stands.words or stands.doubt,
        remedy=WORDS[stands.remedy] if stands.state is not NodeState.HEALTHY else "",
        lemon=stands.lemon,
        risk=stands.risk,
    )


def _queues(engine: Engine, running: Counter[str], waiting: Counter[str]) -> Iterator[QueueUse]:
    tree, rules = engine.tree, engine.rules
    for name in sorted(rules.queues, key=lambda each: tuple(reversed(list(rules.upward(each))))):
        if name not in tree:
            continue
        for cell in sorted(_cells(engine, name)):
            yield QueueUse(
                queue=name,
                parent=rules.queues[name].parent or "",
                flavor=cell[0],
                resource=cell[1],
                used=show(tree.held(name, cell)),
                guaranteed=show(tree.guaranteed(name, cell)),
                borrowed=show(tree.borrowed(name, cell)),
                lent=show(tree.lent(name, cell)),
                lenders=_lenders(engine, name, cell) if tree.borrowed(name, cell) else [],
                running=running[name],
                waiting=waiting[name],
            )


def _cells(engine: Engine, name: str) -> set[Cell]:
    """What the queue, or for want of flavors of its own a queue above it, has quota of; and what those below have."""
    below = [each for each in engine.rules.queues if name in engine.rules.upward(each)]
    own = next((each for each in engine.rules.upward(name) if engine.rules.queues[each].flavors), None)
    named = {*below, *([own] if own else [])}
    return {
        (flavor.name, each.name)
        for queue in named
        for flavor in engine.rules.queues[queue].flavors
        for each in flavor.resources
    }


def _lenders(engine: Engine, name: str, cell: Cell) -> list[Lender]:
    """Leaves below the same root of whose guarantee others hold a part, and what the queues above guarantee themselves."""
    tree, root = engine.tree, engine.root(name)
    lent = [
        (tree.lent(other, cell), other)
        for other in engine.rules.queues
        if other != name and other in tree and tree.root(other) == root and tree.is_leaf(other)
    ]
    return [Lender(queue=other, amount=show(amount)) for amount, other in sorted(lent, reverse=True) if amount]


def _flavor(engine: Engine, name: str, typical: TaskClasses) -> FlavorUse:
    fleet, health, rows = engine.fleet, engine.health(name), engine.usable(name)
    free, total = np.maximum(fleet.gpu_free[rows], 0).sum(axis=1), int(fleet.gpu_capacity[rows].sum())
    lost = unusable(fleet, typical, rows)
    return FlavorUse(
        flavor=name,
        nodes=health.nodes,
        ready=len(rows),
        gpus=total / DEVICE,
        free=int(free.sum()) / DEVICE,
        largest=int(free.max(initial=0)) / DEVICE,
        fragmentation_percent=round(100 * lost * DEVICE / total, 2) if total else 0.0,
        health="; ".join(each for each in (health.words(), health.words_of_slow(), health.words_of_risky()) if each),
    )
