"""The status of Queues and Flavors: what they hold and offer now. Written seldom: readers of numbers can wait."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from trainyard.admission.account import Account, account
from trainyard.api.flavor import Flavor, FlavorStatus
from trainyard.api.names import GPU, WATTS
from trainyard.api.queue import BudgetUse, Queue, QueueStatus, QuotaUse, RecentShare
from trainyard.api.reasons import ConditionType, Reason
from trainyard.cluster.resources import FLAVORS, QUEUES
from trainyard.runtime.clock import Clock
from trainyard.runtime.work_queue import NEVER, Again
from trainyard.scheduling import quota
from trainyard.scheduling.accounts import borrowed_lately
from trainyard.scheduling.checks import powerless
from trainyard.scheduling.eligibility import of_flavor
from trainyard.scheduling.quota_tree import Cell, QuotaTree
from trainyard.scheduling.resources import add, show
from trainyard.scheduling.snapshot import NodeView, Snapshot, Workload
from trainyard.workloads import conditions
from trainyard.workloads.applier import Applier
from trainyard.workloads.keys import Key
from trainyard.workloads.plan import Plan, changed, sooner
from trainyard.workloads.times import REFRESH_SECONDS
from trainyard.workloads.world import World

_Kept = TypeVar("_Kept", BudgetUse, RecentShare)
_DIGITS = 6
"""Statuses are rounded, accounts are not: what one look adds may be less than a digit, and there are very many looks."""
FRESH_SECONDS = 1.0
"""Books are used for so long. Whoever looks because something changed has to wait longer, to see it."""
_SAME = 2e-6
"""Two shares that differ by their rounding only."""


@dataclass(frozen=True, slots=True)
class Books:
    """What all queues hold at one moment: added up once for all of them."""

    snapshot: Snapshot
    tree: QuotaTree
    workloads: Mapping[str, int]
    """By queue, what has or wants a place."""
    admitted: Mapping[str, int]
    """By queue, what has one."""


def books(snapshot: Snapshot) -> Books:
    """Add it up."""
    return Books(
        snapshot,
        quota.held(snapshot),
        Counter(each.queue for each in snapshot.workloads),
        Counter(each.queue for each in snapshot.workloads if each.admission is not None),
    )


def plan_queue(queue: Queue, held: Books, now: datetime, kept: Account | None = None) -> Plan:
    """Numbers and the Ready condition of one queue of those in the books. kept: what is known of its past, if anything is."""
    name, tree = queue.metadata.name, held.tree
    rows = [
        _use(tree, name, (flavor.name, each.name))
        for flavor in queue.spec.flavors
        if name in tree
        for each in flavor.resources
    ]
    ready, reason, message = _readiness(queue, tree, held.snapshot)
    stated = conditions.state(
        queue.status.conditions,
        ConditionType.READY,
        ready,
        reason,
        message,
        now=now,
        generation=queue.metadata.generation,
    )
    admitted = held.admitted.get(name, 0)
    status = QueueStatus(
        observed_generation=queue.metadata.generation,
        conditions=stated,
        pending=held.workloads.get(name, 0) - admitted,
        admitted=admitted,
        use=rows,
        summary=_summary(tree, queue),
        budget=_as_written(queue.status.budget, _rounded(kept.budget, "gpu_hours") if kept else None),
        recent_share=_recent_as_written(queue, _rounded(kept.recent_share, "share") if kept else None, now),
    )
    return _plan(queue.status, status)


def _rounded(kept: _Kept | None, field: str) -> _Kept | None:
    return kept.model_copy(update={field: round(getattr(kept, field), _DIGITS)}) if kept is not None else None


def _as_written(old: _Kept | None, new: _Kept | None) -> _Kept | None:
    """The old one if nothing but the time has changed: a queue that nobody uses is not written to."""
    if old is not None and new is not None and old.model_copy(update={"updated_at": new.updated_at}) == new:
        return old
    return new


def _recent_as_written(queue: Queue, new: RecentShare | None, now: datetime) -> RecentShare | None:
    """The old one if it says the same to a reader, who forgets from when it was written on."""
    old, half_life = queue.status.recent_share, queue.spec.usage_half_life_seconds
    if old is None or new is None or half_life is None:
        return new
    return old if abs(borrowed_lately(half_life, old, 0.0, now).share - new.share) <= _SAME else new


def _summary(tree: QuotaTree, queue: Queue) -> str:
    """As in "gpu 12/16, cpu 4/8": held of guaranteed, all flavors together."""
    name, held, there = queue.metadata.name, Counter[str](), Counter[str]()
    for flavor in queue.spec.flavors if name in tree else ():
        for each in flavor.resources:
            held[each.name] += tree.held(name, (flavor.name, each.name))
            there[each.name] += tree.guaranteed(name, (flavor.name, each.name))
    return ", ".join(f"{each.rpartition('/')[2]} {show(held[each])}/{show(there[each])}" for each in there)[:256]


def _use(tree: QuotaTree, name: str, cell: Cell) -> QuotaUse:
    return QuotaUse(
        flavor=cell[0],
        resource=cell[1],
        used=show(tree.held(name, cell)),
        guaranteed=show(tree.guaranteed(name, cell)),
        borrowed=show(tree.borrowed(name, cell)),
        lent=show(tree.lent(name, cell)),
    )


def _readiness(queue: Queue, tree: QuotaTree, snapshot: Snapshot) -> tuple[bool, Reason, str]:
    """Whether the queue can do its work, and if not, what to change."""
    name = queue.metadata.name
    if path := tree.cycles.get(name):
        return (
            False,
            Reason.MISCONFIGURED,
            f"spec.parent: {' -> '.join(path)} is a cycle; change spec.parent of one of them",
        )
    missing = [flavor.name for flavor in queue.spec.flavors if flavor.name not in snapshot.flavors]
    if missing:
        return False, Reason.UNKNOWN_FLAVOR, f"spec.flavors: there is no Flavor {', '.join(missing)}"
    if blind := powerless(tree, name, (flavor.name for flavor in queue.spec.flavors)):
        return (
            False,
            Reason.MISCONFIGURED,
            f"spec.flavors: quota of {WATTS} on Flavor {', '.join(blind)}, which states no spec.wattsPerUnit: no job starts on it; set it there",
        )
    if queue.spec.stop_policy != "None":
        return True, Reason.ACTIVE, f"holds new jobs: stopPolicy is {queue.spec.stop_policy}"
    if not tree.is_leaf(name):
        return True, Reason.ACTIVE, "shares quota among the queues below it"
    return True, Reason.ACTIVE, "takes jobs"


def plan_flavor(flavor: Flavor, nodes: Iterable[NodeView], now: datetime) -> Plan:
    """Nodes, capacity and the Ready condition of one flavor."""
    mine = [node for node in nodes if of_flavor(node, flavor.spec)]
    capacity = add({name: node.allocatable.get(name, 0) for name in (*flavor.spec.resources, GPU)} for node in mine)
    ready = sum(node.healthy for node in mine)
    reason, message = (
        (Reason.ACTIVE, f"{ready} of {len(mine)} nodes take pods") if mine else (Reason.NO_NODES, _lacking(flavor))
    )
    stated = conditions.state(
        flavor.status.conditions,
        ConditionType.READY,
        bool(mine),
        reason,
        message,
        now=now,
        generation=flavor.metadata.generation,
    )
    shown = {name: show(amount) for name, amount in sorted(capacity.items()) if amount}
    status = FlavorStatus(
        observed_generation=flavor.metadata.generation,
        conditions=stated,
        nodes=len(mine),
        ready_nodes=ready,
        capacity=shown,
    )
    return _plan(flavor.status, status)


def _lacking(flavor: Flavor) -> str:
    wanted = ", ".join(f"{name}={value}" for name, value in sorted(flavor.spec.node_selector.items()))
    return (
        f"no node has the labels {wanted}: label nodes so, or correct spec.nodeSelector"
        if wanted
        else "there is no node"
    )


def _plan(old: QueueStatus | FlavorStatus, new: QueueStatus | FlavorStatus) -> Plan:
    patch: dict[str, Any] = changed(_dump(old), _dump(new))
    # A merge patch would keep resources that are no longer offered.
    if "capacity" in patch and isinstance(old, FlavorStatus) and isinstance(new, FlavorStatus):
        patch["capacity"] = {**dict.fromkeys(old.capacity, None), **new.capacity}
    stated = {(each.status, each.reason) for each in old.conditions} != {
        (each.status, each.reason) for each in new.conditions
    }
    return Plan(status=patch or None, urgent=stated or old.observed_generation != new.observed_generation)


def _dump(status: QueueStatus | FlavorStatus) -> dict[str, Any]:
    return status.model_dump(by_alias=True, mode="json")


class OverviewController:
    """Reconciles Queues and Flavors."""

    def __init__(
        self, world: World, applier: Applier, clock: Clock, workloads: Callable[[], Iterable[Workload]]
    ) -> None:
        self._world, self._applier, self._clock, self._workloads = world, applier, clock, workloads
        self._accounts: dict[Key, Account] = {}
        self._books: tuple[float, Books] | None = None

    async def reconcile(self, key: Key) -> Again:
        thing = self._world.get(key)
        now = self._clock.now()
        if isinstance(thing, Queue) and thing.metadata.restoring:
            return NEVER  # its past is still to be written
        if isinstance(thing, Queue):
            held = self._held(thing)
            kept = account(thing, self._accounts.get(key), held.tree, now)
            if kept is not None:
                self._accounts[key] = kept
            left = await self._applier.apply(key, QUEUES, plan_queue(thing, held, now, kept))
            if kept is not None and kept.counts():
                left = sooner(left, REFRESH_SECONDS)
        elif isinstance(thing, Flavor):
            left = await self._applier.apply(key, FLAVORS, plan_flavor(thing, self._world.nodes.values(), now))
        else:
            self._applier.forget(key)
            self._accounts.pop(key, None)
            return NEVER
        return Again(left)

    def _held(self, queue: Queue) -> Books:
        """Books that show the queue as it is. What changes many queues lets them look at about the same time."""
        now = self._clock.monotonic()
        if self._books is not None:
            taken, found = self._books
            if now - taken < FRESH_SECONDS and found.snapshot.queues.get(queue.metadata.name) is queue.spec:
                return found
        found = books(self._world.snapshot(self._workloads()))
        self._books = (now, found)
        return found
