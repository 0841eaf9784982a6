"""What would be free if some made way, and whether a claim fits then: by quota, by what everybody is entitled to, and by nodes.

Places that are kept for others count as they do for everybody. Neighbours: `preemption` tries sets of candidates.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trainyard.scheduling.elastic import PlaceOn, affordable, named, staying
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.fleet import Fleet, Grant
from trainyard.scheduling.quota import granted
from trainyard.scheduling.quota_tree import QuotaTree, Request
from trainyard.scheduling.reservation import Places, Reservation
from trainyard.scheduling.running import Running
from trainyard.scheduling.snapshot import Assignment, Workload, WorkloadKey
from trainyard.scheduling.victims import Candidate, Claim, at_size

Set = Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class Fit:
    """How it would go: the claim's place, and that of each who goes on smaller or elsewhere."""

    places: Places
    goes_on: dict[WorkloadKey, Assignment]


class Trial:
    """Tries sets of candidates for one claim. The engine is left as it was."""

    def __init__(self, engine: Engine, claim: Claim, kept: Sequence[Reservation], place: PlaceOn) -> None:
        self.engine, self.claim, self.kept, self.place = engine, claim, kept, place
        self.tree = engine.tree.copy()

    def legal(self, going_on: Set, leaving: Set) -> tuple[list[Candidate], list[Candidate]]:
        """Without those whose side of the tree is down to what it is entitled to before their turn comes."""
        undo, legal = [], set[WorkloadKey]()
        for each in _in_turn(going_on, leaving):
            if self._above(each):
                legal.add(each.key)
                undo.append(_make_way(self.tree, each, leaves=each in leaving))
        _undo(undo)
        return [each for each in going_on if each.key in legal], [each for each in leaving if each.key in legal]

    def fit(self, going_on: Set, leaving: Set) -> Fit | None:
        """Where the claim goes, and those that go on, when all of these have made way; None if it does not fit."""
        turn, sent_back = _in_turn(going_on, leaving), {each.key for each in leaving}
        undo: list[Callable[[], None]] = []
        try:
            for each in turn:
                if not self._above(each):
                    return None
                undo.append(_make_way(self.tree, each, leaves=each.key in sent_back))
            if not self._quota(turn, sent_back):
                return None
            return self._nodes(turn, [each for each in turn if each.key not in sent_back], undo)
        finally:
            _undo(undo)

    def _above(self, each: Candidate) -> bool:
        """Whether everything on its side of the tree, down to its queue, holds more than it is entitled to of what is asked for."""
        if each.side is None or each.moves:
            return True
        cells = [cell for cell, amount in self.claim.request if amount]
        return all(any(self.tree.borrowed(node, cell) for cell in cells) for node in each.side.holders)

    def _quota(self, turn: Set, sent_back: set[WorkloadKey]) -> bool:
        tree, queue, request = self.tree, self.claim.workload.queue, self.claim.request
        sides = {each.side.claimant for each in turn if each.side is not None and not each.moves}
        return (
            tree.fits(queue, request)
            and all(tree.within_guarantee(side, request) for side in sides)
            and all(
                self._quota_kept(kept, turn, sent_back, request) for kept in self.kept if kept.root == tree.root(queue)
            )
        )

    def _quota_kept(self, kept: Reservation, turn: Set, sent_back: set[WorkloadKey], request: Request) -> bool:
        """Whether a kept place has its quota still, when the claim holds its own."""
        undo = [
            _make_way(kept.tree, each, leaves=each.key in sent_back) for each in turn if each.key not in kept.released
        ]
        fits = kept.quota_for(self.claim.workload.key, self.claim.workload.queue, request)
        _undo(undo)
        return fits

    def _nodes(self, turn: Set, going_on: Set, undo: list[Callable[[], None]]) -> Fit | None:
        """The tree is as if they had made way already."""
        claim, tree = self.claim, self.tree
        fleet = freed(self.engine, self.kept, [(each.key, each.running) for each in turn], claim.workload.key)
        places = self.place(claim.workload, claim.flavor, fleet)
        if places is None:
            return None
        take(fleet, claim.workload, places)
        tree.add(claim.workload.queue, claim.request)
        undo.append(lambda: tree.remove(claim.workload.queue, claim.request))
        goes_on: dict[WorkloadKey, Assignment] = {}
        for each in sorted(going_on, key=lambda candidate: candidate.standing):
            found = self._smaller(each, fleet, undo)
            if found is None:
                return None
            goes_on[each.key] = named(self.engine, claim.flavor, found)
        return Fit(places, goes_on)

    def _smaller(self, each: Candidate, fleet: Fleet, undo: list[Callable[[], None]]) -> Places | None:
        """Between its least size and what it has now, as much as quota and nodes allow; it takes that."""
        assert each.least is not None
        queue, tree, flavor = each.running.workload.queue, self.tree, self.claim.flavor
        tree.remove(queue, each.least_request)
        undo.append(lambda: tree.add(queue, each.least_request))
        wanted = each.least if each.moves else at_size(each.running.workload, each.running)
        sized = affordable(self.engine, tree, wanted, flavor)
        places = self.place(sized, flavor, fleet) if sized else None
        if sized is None or places is None:
            return None
        places = staying(self.engine, each.running, fleet, places)
        take(fleet, sized, places)
        request = tree.request(queue, flavor, granted(sized, named(self.engine, flavor, places)))
        tree.add(queue, request)
        undo.append(lambda: tree.remove(queue, request))
        return places


Gone = Sequence[tuple[WorkloadKey, Running]]


def freed(engine: Engine, kept: Iterable[Reservation], gone: Gone, key: WorkloadKey) -> Fleet:
    """What `key` may use of the nodes when those are gone: free now, and still free when kept places are needed."""
    fleet = engine.fleet.copy()
    for _, running in gone:
        _give(fleet, running)
    return limited(fleet, kept, gone, key)


def limited(fleet: Fleet, kept: Iterable[Reservation], gone: Gone, key: WorkloadKey) -> Fleet:
    """The fleet without what is needed for kept places when those are gone. It is changed."""
    for each in kept:
        then = each.free_for(key).copy()
        for other, running in gone:
            if other not in each.released:
                _give(then, running)
        np.minimum(fleet.free, then.free, out=fleet.free)
        np.minimum(fleet.gpu_free, then.gpu_free, out=fleet.gpu_free)
    return fleet


def take(fleet: Fleet, workload: Workload, places: Places) -> list[tuple[int, Grant]]:
    """Put the workload's pods in their places."""
    requests = {each.role: each.requests for each in workload.pods}
    return [(row, fleet.take(row, requests[role])) for role, rows in places.items() for row in rows]


def _give(fleet: Fleet, running: Running) -> None:
    for row, grant in running.grants:
        fleet.give(row, grant)


def _in_turn(going_on: Set, leaving: Set) -> list[Candidate]:
    gone = {each.key for each in leaving}
    return [*(each for each in going_on if each.key not in gone), *leaving]


def _make_way(tree: QuotaTree, each: Candidate, *, leaves: bool) -> Callable[[], None]:
    """Give its quota back, but for what it goes on with. Returns what undoes it."""
    queue = each.running.workload.queue
    tree.remove(queue, each.running.request)
    if not leaves:
        tree.add(queue, each.least_request)

    def back() -> None:
        if not leaves:
            tree.remove(queue, each.least_request)
        tree.add(queue, each.running.request)

    return back


def _undo(steps: list[Callable[[], None]]) -> None:
    for back in reversed(steps):
        back()
