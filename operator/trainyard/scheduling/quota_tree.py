"""The quota tree: who may hold how much, who lends to whom, and how much each queue borrows. Every question costs O(depth).

A queue's `guaranteed` adds up along the tree. What a queue and those below it do not use flows to the others below the same
root, except the part that is not `lendable`; `limit` caps what a queue and those below it hold in all. Amounts are thousandths.
The arithmetic follows Kueue's hierarchical cohorts (KEP-79): a node's local quota is used first and never leaves it, and what
is used beyond it counts at the parent. Neighbours: `engine` keeps one tree in step with what runs.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import WATTS
from trainyard.api.queue import QueueSpec
from trainyard.scheduling.power import powers
from trainyard.scheduling.resources import Amounts, parse

Cell = tuple[str, str]
"""(flavor, resource)."""
Request = tuple[tuple[Cell, int], ...]
"""What a workload asks of the tree when it is placed on one flavor."""
UNLIMITED = 2**62


@dataclass(eq=False, slots=True)
class _Node:
    """One queue with its place in the tree."""

    name: str
    weight: int
    parent: "_Node | None" = None
    children: "list[_Node]" = field(default_factory=list)
    guaranteed: dict[Cell, int] = field(default_factory=dict)
    limit: dict[Cell, int] = field(default_factory=dict)
    lendable: dict[Cell, int] = field(default_factory=dict)
    entitled: dict[Cell, int] = field(default_factory=dict)
    """Guaranteed to this queue and all below it."""
    by_resource: dict[str, int] = field(default_factory=dict)
    """The same, all flavors together."""
    subtree: dict[Cell, int] = field(default_factory=dict)
    """The part of it that is not kept back by a queue below."""
    local: dict[Cell, int] = field(default_factory=dict)
    """The part of `subtree` that this queue keeps back from its siblings."""
    usage: dict[Cell, int] = field(default_factory=dict)
    """Of an inner node only what its children hold beyond their local quota."""
    total: dict[Cell, int] = field(default_factory=dict)
    """All that is held by this queue and those below it."""


class QuotaTree:
    """Quota of all queues and what is held of it."""

    def __init__(self, specs: Mapping[str, QueueSpec], flavors: Mapping[str, FlavorSpec] | None = None) -> None:
        """flavors: whose power is counted where a queue has a quota of it. Queues in a cycle of parents, or below one, take nothing: see `cycles`."""
        self.powers = powers(flavors or {})
        """By flavor, of those that state it."""
        self.cycles: Mapping[str, tuple[str, ...]] = find_cycles(specs)
        """Queue to the path that leads back to where it began, for queues whose parents form a cycle or lead into one."""
        self._nodes = {name: _node(name, spec) for name, spec in sorted(specs.items()) if name not in self.cycles}
        for name, node in self._nodes.items():
            parent = self._nodes.get(specs[name].parent or "")
            if parent is not None:
                node.parent = parent
                parent.children.append(node)
        self._paths: dict[str, tuple[_Node, ...]] = {name: tuple(_path(node)) for name, node in self._nodes.items()}
        self._cells: dict[str, frozenset[Cell]] = {}
        self._potential: dict[tuple[str, Cell], int] = {}
        for node in self._nodes.values():
            if node.parent is None:
                cells = _settle(node)
                self._cells[node.name] = frozenset(cells)

    # Shape.

    def __contains__(self, queue: str) -> bool:
        return queue in self._nodes

    def root(self, queue: str) -> str:
        """The root that the queue is below; itself if it has no parent."""
        return self._paths[queue][0].name

    def path(self, queue: str) -> tuple[str, ...]:
        """Names from the root down to the queue."""
        return tuple(node.name for node in self._paths[queue])

    def is_leaf(self, queue: str) -> bool:
        return not self._nodes[queue].children

    def limited(self, queue: str, cell: Cell) -> bool:
        """Whether anybody below the same root has a quota of it: what nobody lists is not counted."""
        return cell in self._cells[self._paths[queue][0].name]

    def request(self, queue: str, flavor: str, demand: Amounts) -> Request:
        """The part of `demand` that quotas count, the power that follows from it among it."""
        cells = self._cells[self._paths[queue][0].name]
        if (flavor, WATTS) in cells and (power := self.powers.get(flavor)) is not None:
            demand = {**demand, WATTS: power.of(demand)}
        return tuple(
            ((flavor, name), amount) for name, amount in sorted(demand.items()) if amount and (flavor, name) in cells
        )

    # What may be held.

    def available(self, queue: str, cell: Cell) -> int:
        """What the queue could take now on top of what it holds. Negative after a quota was cut below what is held."""
        path = self._paths[queue]
        found, cap = path[0].subtree.get(cell, 0) - path[0].usage.get(cell, 0), UNLIMITED
        for node in path:
            if node.local and node.parent is not None and (local := node.local.get(cell, 0)):
                found += max(0, local - node.usage.get(cell, 0))
            if node.limit and (limit := node.limit.get(cell)) is not None:
                cap = min(cap, limit - node.total.get(cell, 0))
        return min(found, cap)

    def potential(self, queue: str, cell: Cell) -> int:
        """The most that the queue could ever hold, if nobody else held anything."""
        known = self._potential.get((queue, cell))
        if known is None:
            path = self._paths[queue]
            found = path[0].subtree.get(cell, 0) + sum(node.local.get(cell, 0) for node in path[1:])
            known = min([found, *(node.limit[cell] for node in path if cell in node.limit)])
            self._potential[queue, cell] = known
        return known

    def shortage(self, queue: str, request: Request) -> list[tuple[Cell, int]]:
        """Cells of which too little is available, and by how much."""
        short = ((cell, amount - self.available(queue, cell)) for cell, amount in request)
        return [(cell, missing) for cell, missing in short if missing > 0]

    def fits(self, queue: str, request: Request) -> bool:
        return all(self.available(queue, cell) >= amount for cell, amount in request)

    def tightest(self, queue: str, cell: Cell) -> tuple[str, int, int] | None:
        """Of the limits on the queue and those above it the one that leaves least: whose it is, the limit, and what is held of it."""
        limits = [
            (limit - node.total.get(cell, 0), node.name, limit, node.total.get(cell, 0))
            for node in self._paths[queue]
            if (limit := node.limit.get(cell)) is not None
        ]
        return min(limits)[1:] if limits else None

    def within_guarantee(self, queue: str, request: Request) -> bool:
        """Whether the queue would still borrow nothing with `request` on top."""
        node = self._nodes[queue]
        return all(node.total.get(cell, 0) + amount <= node.entitled.get(cell, 0) for cell, amount in request)

    def held(self, queue: str, cell: Cell) -> int:
        """Held by the queue and those below it."""
        return self._nodes[queue].total.get(cell, 0)

    def guaranteed(self, queue: str, cell: Cell) -> int:
        """Guaranteed to the queue and those below it."""
        return self._nodes[queue].entitled.get(cell, 0)

    def borrowed(self, queue: str, cell: Cell) -> int:
        """Held beyond the guarantee."""
        node = self._nodes[queue]
        return max(0, node.total.get(cell, 0) - node.entitled.get(cell, 0))

    def lent(self, queue: str, cell: Cell) -> int:
        """The part of the guarantee that it does not use and could not take now: others hold it."""
        node = self._nodes[queue]
        return max(0, node.entitled.get(cell, 0) - node.total.get(cell, 0) - max(0, self.available(queue, cell)))

    def share(self, queue: str, request: Request = ()) -> tuple[float, ...]:
        """Weighted dominant share of what is borrowed with `request` on top, from below the root down to the queue.

        Compared in that order: first the largest families are equal, then the queues in each. 0 borrows nothing; a weight of
        0 borrows as if infinitely much. Source: Kueue KEP-1714, on what a queue borrows instead of all it uses.
        """
        asked = dict(request)
        return tuple(_share(node, asked) for node in self._paths[queue][1:])

    # What is held.

    def add(self, queue: str, request: Request) -> None:
        self._change(queue, request, 1)

    def remove(self, queue: str, request: Request) -> None:
        self._change(queue, request, -1)

    def copy(self) -> "QuotaTree":
        """A tree of the same shape whose use changes by itself."""
        twin = object.__new__(QuotaTree)
        twin.powers = self.powers
        twin.cycles, twin._cells, twin._potential = self.cycles, self._cells, self._potential
        copies = {
            name: _Node(
                name,
                node.weight,
                guaranteed=node.guaranteed,
                limit=node.limit,
                lendable=node.lendable,
                entitled=node.entitled,
                by_resource=node.by_resource,
                subtree=node.subtree,
                local=node.local,
                usage=dict(node.usage),
                total=dict(node.total),
            )
            for name, node in self._nodes.items()
        }
        for name, node in self._nodes.items():
            copies[name].parent = copies[node.parent.name] if node.parent else None
            copies[name].children = [copies[child.name] for child in node.children]
        twin._nodes = copies
        twin._paths = {name: tuple(copies[node.name] for node in path) for name, path in self._paths.items()}
        return twin

    def _change(self, queue: str, request: Request, sign: int) -> None:
        path = self._paths.get(queue, ())  # of a queue that is gone nothing is counted, while its jobs run on
        for cell, amount in request:
            for node in path:
                node.total[cell] = node.total.get(cell, 0) + sign * amount
            carried = sign * amount
            for node in reversed(path):
                before = node.usage.get(cell, 0)
                node.usage[cell] = before + carried
                local = node.local.get(cell, 0) if node.parent is not None else 0
                if local:
                    carried = max(0, before + carried - local) - max(0, before - local)
                    if not carried:
                        break


def find_cycles(specs: Mapping[str, QueueSpec]) -> dict[str, tuple[str, ...]]:
    """Queues whose parents never end, each with the path walked: ("a", "b", "a")."""
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(specs):
        path = [name]
        while (parent := specs[path[-1]].parent) is not None and parent in specs:
            path.append(parent)
            if parent in path[:-1]:
                found[name] = tuple(path)
                break
    return found


def parents(specs: Mapping[str, QueueSpec]) -> frozenset[str]:
    """Queues that are somebody's parent: they take no jobs."""
    return frozenset(spec.parent for spec in specs.values() if spec.parent)


def _node(name: str, spec: QueueSpec) -> _Node:
    node = _Node(name, spec.weight)
    for flavor in spec.flavors:
        for each in flavor.resources:
            cell = (flavor.name, each.name)
            node.guaranteed[cell] = parse(each.guaranteed)
            if each.limit is not None:
                node.limit[cell] = parse(each.limit)
            if each.lendable is not None:
                node.lendable[cell] = parse(each.lendable)
    return node


def _path(node: _Node) -> Iterable[_Node]:
    """From the root down."""
    if node.parent is not None:
        yield from _path(node.parent)
    yield node


def _settle(node: _Node) -> set[Cell]:
    """Sum the guarantees from below; returns every cell that somebody here has a quota of."""
    cells = set(node.guaranteed)
    entitled, subtree = defaultdict(int, node.guaranteed), defaultdict(int, node.guaranteed)
    for child in node.children:
        cells |= _settle(child)
        for cell, amount in child.entitled.items():
            entitled[cell] += amount
        for cell, amount in child.subtree.items():
            subtree[cell] += amount - child.local.get(cell, 0)
    node.entitled, node.subtree = dict(entitled), dict(subtree)
    for (_, resource), amount in entitled.items():
        node.by_resource[resource] = node.by_resource.get(resource, 0) + amount
    node.local = {cell: max(0, subtree[cell] - lendable) for cell, lendable in node.lendable.items()}
    return cells


def _share(node: _Node, asked: Mapping[Cell, int]) -> float:
    assert node.parent is not None
    borrowed: dict[str, int] = defaultdict(int)
    for cell in {*node.total, *asked}:
        over = node.total.get(cell, 0) + asked.get(cell, 0) - node.entitled.get(cell, 0)
        if over > 0:
            borrowed[cell[1]] += over
    if not borrowed:
        return 0.0
    if not node.weight:
        return float("inf")
    there = node.parent.by_resource
    return max(over / max(1, there.get(name, 0)) for name, over in borrowed.items()) / node.weight
