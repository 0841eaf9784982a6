"""A place kept for a workload that cannot start yet: when, on which nodes, and what others may use until then.

EASY backfill (Lifka 1995; Mu'alem and Feitelson 2001) with nodes instead of a count: whoever starts now must either be expected
to end before the kept place is needed, or fit beside it. A reservation only moves because a job over-ran its expectation, or
because pods that are nobody's workload stand where it should begin; when nodes or quotas change, all are made anew.
Neighbours: `engine` makes one for the first that is blocked and asks each that starts behind it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trainyard.scheduling.fleet import Fleet, Grant
from trainyard.scheduling.quota_tree import QuotaTree, Request
from trainyard.scheduling.resources import Amounts
from trainyard.scheduling.running import Running
from trainyard.scheduling.snapshot import Assignment, Workload, WorkloadKey

Places = Mapping[str, tuple[int, ...]]
"""Role to the row of the fleet of each pod, in rank order."""
Place = Callable[[Fleet], Places | None]
"""Where a gang would go on a fleet, or None."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What somebody with an earlier kept place will hold."""

    grants: tuple[tuple[int, Grant], ...]
    queue: str
    request: Request


@dataclass(eq=False, slots=True)
class Reservation:
    """A kept place."""

    key: WorkloadKey
    queue: str
    root: str
    """Root of the quota tree whose quota is kept too."""
    flavor: str
    time: float
    """When it is needed, seconds since 1970."""
    pods: tuple[tuple[int, Amounts], ...]
    """(row of the fleet, what the pod asks) of each pod."""
    request: Request
    fleet: Fleet
    """What is free at that time once the workload is in its place."""
    tree: QuotaTree
    """What is held of quotas at that time once the workload is counted."""
    released: set[WorkloadKey] = field(default_factory=set)
    """Those that hold something now and are expected to have ended by then."""
    plans: dict[WorkloadKey, Plan] = field(default_factory=dict)
    """What was taken out for others whose place was kept before: they are counted as if they were there already."""
    nominated: bool = False
    """Others, those in `released`, make way for it now: nobody starts there meanwhile, however short."""
    goes_on: dict[WorkloadKey, Assignment] = field(default_factory=dict)
    """Where those of them go on that are only made smaller, or moved."""

    def binds(self, ends: float) -> bool:
        """Whether somebody who is expected to end then has to fit beside it."""
        return self.nominated or ends > self.time

    def planned(self, fleet: Fleet, tree: QuotaTree) -> Plan:
        """Count the workload on another fleet and tree as if it had its place."""
        grants = tuple((row, fleet.take(row, requests)) for row, requests in self.pods)
        tree.add(self.queue, self.request)
        return Plan(grants, self.queue, self.request)

    def free_for(self, key: WorkloadKey) -> Fleet:
        """What a workload may use of the fleet at that time; what is planned for itself is no hindrance. Not to be changed."""
        plan = self.plans.get(key)
        if plan is None:
            return self.fleet
        fleet = self.fleet.copy()
        for row, grant in plan.grants:
            fleet.give(row, grant)
        return fleet

    def quota_for(self, key: WorkloadKey, queue: str, request: Request) -> bool:
        """Whether it may still hold that quota at that time."""
        plan = self.plans.get(key)
        if plan is None:
            return self.tree.fits(queue, request)
        self.tree.remove(plan.queue, plan.request)
        fits = self.tree.fits(queue, request)
        self.tree.add(plan.queue, plan.request)
        return fits

    def drop_plan(self, key: WorkloadKey) -> None:
        """It started, or wants its place no more: from now on it counts as what it is."""
        plan = self.plans.pop(key, None)
        if plan is None:
            return
        for row, grant in plan.grants:
            self.fleet.give(row, grant)
        self.tree.remove(plan.queue, plan.request)

    def admitted(self, key: WorkloadKey, running: Running) -> None:
        """Somebody started beside it."""
        self.drop_plan(key)
        if not self.binds(running.ends):
            self.released.add(key)
            return
        for row, grant in running.grants:
            self.fleet.take_grant(row, grant)
        self.tree.add(running.workload.queue, running.request)

    def finished(self, key: WorkloadKey, running: Running) -> None:
        """Somebody ended."""
        if key in self.released:
            self.released.discard(key)
            return
        for row, grant in running.grants:
            self.fleet.give(row, grant)
        self.tree.remove(running.workload.queue, running.request)


def beside(fleet: Fleet, reservations: Sequence[Reservation], key: WorkloadKey) -> Fleet:
    """What a workload may use that is still there when the kept places are needed: free now and free then."""
    limited = fleet.copy()
    for each in reservations:
        then = each.free_for(key)
        np.minimum(limited.free, then.free, out=limited.free)
        np.minimum(limited.gpu_free, then.gpu_free, out=limited.gpu_free)
    return limited


def reserve(
    workload: Workload,
    flavor: str,
    request: Request,
    place: Place,
    fleet: Fleet,
    tree: QuotaTree,
    running: Iterable[tuple[WorkloadKey, Running]],
    kept: Iterable[Reservation] = (),
) -> Reservation | None:
    """The earliest place if everybody ends when expected; None if there is none even when all have ended that ever do.

    fleet, tree: as they are now; they become the reservation's own. kept: places that others have been promised already.
    """
    plans = {each.key: each.planned(fleet, tree) for each in kept}
    needed = _needed(fleet, workload)
    requests_of = {each.role: each.requests for each in workload.pods}
    released: set[WorkloadKey] = set()
    ending = (pair for pair in running if math.isfinite(pair[1].ends))
    ahead = sorted(ending, key=lambda pair: (pair[1].ends, pair[0]))
    for number, (other, each) in enumerate(ahead):
        for row, grant in each.grants:
            fleet.give(row, grant)
        tree.remove(each.workload.queue, each.request)
        released.add(other)
        if number + 1 < len(ahead) and ahead[number + 1][1].ends == each.ends:
            continue
        if not tree.fits(workload.queue, request) or (np.maximum(fleet.free, 0).sum(axis=0) < needed).any():
            continue
        if (places := place(fleet)) is None:
            continue
        pods = tuple((row, requests_of[role]) for role, rows in places.items() for row in rows)
        for row, requests in pods:
            fleet.take(row, requests)
        tree.add(workload.queue, request)
        root = tree.root(workload.queue)
        return Reservation(
            workload.key, workload.queue, root, flavor, each.ends, pods, request, fleet, tree, released, plans
        )
    return None


def _needed(fleet: Fleet, workload: Workload) -> NDArray[np.int64]:
    """What its least size asks for in all, by column of the fleet: a quick look before a placement is tried."""
    total = np.zeros(len(fleet.columns), dtype=np.int64)
    for each in workload.pods:
        for name, amount in each.requests.items():
            if name in fleet.columns:
                total[fleet.columns[name]] += amount * each.minimum
    return total
