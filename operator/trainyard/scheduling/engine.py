"""What the scheduler knows, kept from cycle to cycle and changed by what happens: who waits, who runs, what is free.

Pure: events and a clock in, decisions out. A fresh engine that was told the same state decides the same as one that lived
through the history, but for places that the latter keeps. Neighbours: `cycle` decides, `pending` groups what waits, `fleet` and
`quota_tree` do the arithmetic, `reservation` keeps places.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from trainyard.api.flavor import FlavorSpec
from trainyard.api.queue import QueueSpec
from trainyard.scheduling import checks
from trainyard.scheduling.eligibility import of_flavor
from trainyard.scheduling.fleet import Fleet, Grant
from trainyard.scheduling.health import Health, judge
from trainyard.scheduling.pending import JobClass, Pending
from trainyard.scheduling.policies import Placement
from trainyard.scheduling.power import powers
from trainyard.scheduling.quota import demand, granted
from trainyard.scheduling.quota_tree import Cell, QuotaTree, Request, parents
from trainyard.scheduling.reservation import Reservation
from trainyard.scheduling.rules import Rules
from trainyard.scheduling.running import Running
from trainyard.scheduling.snapshot import Assignment, NodeView, PodView, Verdict, Workload, WorkloadKey

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Options:
    """How an engine decides."""

    placement: Callable[[], Placement] = Placement
    unknown_seconds: float = DAY
    """How long a job is taken to run of which nobody knows better."""
    patience_seconds: float = 600.0
    """A place whose time is a guess, because nobody knows how long somebody ahead runs, is kept only for who waited so long."""
    overdue_seconds: float = 7 * DAY
    """Who waited so long goes before everybody else, whatever their priority: nobody waits for ever."""
    late_seconds: float = DAY / 2
    """Who waited so long goes before others of its priority, however little their queues borrow: fairness that starves nobody."""
    reservations: int = 1
    """Places that are kept at a time for each flavor and root of the quota tree."""
    preempting_heads: int = 0
    """Waiting workloads for which others may be asked to make way in one cycle; 0 preempts nobody."""
    preemption_seconds: float = 120.0
    """How long those asked may take to write a checkpoint and stop."""
    restart_seconds: float = 120.0
    """How long a job takes from its start until it trains again: part of what a preemption costs."""
    consolidate: bool = False
    """Whether a job may be moved, if its new place is certain, so that one can start for which the nodes are too fragmented."""
    growing: int = 0
    """Elastic jobs that may grow into idle capacity in one cycle; 0 lets none grow."""
    growth_seconds: float = 1800.0
    in_place_seconds: tuple[float, float] = (60.0, 15.0)
    """The least between two growths, and what one costs, of a workload whose pods stay."""
    """An elastic job does not grow before it was in its place so long."""


OPERATOR = Options(preempting_heads=8, growing=2)
"""How the operator decides, and so what is answered to those who ask."""


@dataclass(slots=True)
class Counters:
    """What happened to reservations, for metrics and benchmarks."""

    made: int = 0
    moved_later: int = 0
    """Because somebody over-ran."""
    broken: int = 0
    """Moved later though nobody over-ran: pods stand there that no expected end accounts for, those of others or some that go on ending."""
    preemptions: int = 0
    """Sets of victims that were decided on."""
    preemptions_refused: int = 0
    """Sets that were found, but the potential would not have fallen."""


class Engine:
    """The state that cycles work on."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.placement = self.options.placement()
        self.rules = Rules()
        self.tree = QuotaTree({})
        self.fleet = Fleet(())
        self.pending = Pending()
        self.running: dict[WorkloadKey, Running] = {}
        self.foreign: dict[str, tuple[PodView, int | None, Grant | None]] = {}
        """By uid, pods that no admission of ours accounts for, and what they take of the fleet."""
        self.reservations: list[Reservation] = []
        self.promised: dict[WorkloadKey, float] = {}
        """The latest start that was promised to each workload that got a reservation."""
        self.slipped: set[WorkloadKey] = set()
        """Those of them that could not start then, since somebody over-ran."""
        self.guesses = 0
        """How many run of which nobody knows how long."""
        self.patience_ends: float | None = None
        """When the next workload may get a place although its time is a guess."""
        self.counters = Counters()
        self.dirty_roots: set[str] = set()
        """Roots of the quota tree below which something changed since the last cycle."""
        self.dirty_flavors: set[str] = set()
        """Flavors on whose nodes something changed since the last cycle."""
        self.everything_changed = True
        self.unasked: dict[int, None] = {}
        """Classes for which there was no time to look for victims, in the order in which they get it."""
        self.left: set[int] = set()
        """Classes that a cycle had no time to ask at all."""
        self.wounded: set[WorkloadKey] = set()
        """Those that run in a place that has lost nodes."""
        self.nominees: dict[WorkloadKey, Workload] = {}
        """Those that wait until others have made way."""
        self.nominated: dict[WorkloadKey, Verdict] = {}
        """Those of them whose place is kept still, and what they are told."""
        self.holders: dict[str, tuple[int, dict[Cell, list[tuple[str, int]]]]] = {}
        """By root, who holds most of each cell at a version of the root; see `explain`."""
        self.failures: Mapping[str, int] = {}
        """By node, how many workloads failed there lately."""
        self.slow: Mapping[str, int] = {}
        """By node, how strongly jobs say that it held them up lately."""
        self._health: dict[str, Health] = {}
        self.recent: Mapping[str, float] = {}
        self.confined = False
        """Whether pods of other namespaces are there and not known."""
        """Weighted share that was borrowed lately, of queues that count that."""
        self.versions: dict[str, int] = {}
        """By root, counted up whenever shares below it change."""

    # Configuration.

    def set_nodes(self, nodes: Sequence[NodeView]) -> None:
        """Take these nodes for all there are; what is held on one that left is held there still, should it come back."""
        if not self.fleet.nodes:
            self.fleet = Fleet(nodes)
        known = {node.name: node for node in nodes}
        for name, node in known.items():
            row = self.fleet.row.get(name)
            if row is None:
                self.fleet.add_node(node)
            elif self.fleet.nodes[row] != node:
                self.fleet.set_node(node)
        for name in self.fleet.row.keys() - known.keys():
            self.fleet.remove_node(name)
        self._health = {}
        self.forget_plans()

    def set_failures(self, failures: Mapping[str, int]) -> None:
        """Take these for all that failed lately."""
        self.failures, self._health, self.everything_changed = failures, {}, True

    def set_slow(self, slow: Mapping[str, int]) -> None:
        """Take these for all that held jobs up lately. Nobody is asked again: it changes where one starts, and never whether."""
        self.slow, self._health = slow, {}

    def configure(
        self,
        *,
        queues: Mapping[str, QueueSpec] | None = None,
        flavors: Mapping[str, FlavorSpec] | None = None,
        namespaces: Mapping[str, Mapping[str, str]] | None = None,
        used_up: Mapping[str, str] | None = None,
    ) -> None:
        """Take a new configuration; what runs goes on under it, and counts for the flavor that it was admitted on."""
        rules = self.rules
        self.rules = Rules(
            rules.queues if queues is None else queues,
            rules.flavors if flavors is None else flavors,
            rules.namespaces if namespaces is None else namespaces,
            parents(rules.queues if queues is None else queues),
            rules.used_up if used_up is None else used_up,
        )
        if queues is not None or powers(self.rules.flavors) != self.tree.powers:
            self.tree, self.holders = QuotaTree(self.rules.queues, self.rules.flavors), {}
            for each in self.running.values():
                each.request = self._request_of(each.workload, each.assignment)
                if each.request:
                    self.tree.add(each.workload.queue, each.request)
        self._health = {}
        waiting = list(self.pending)
        self.pending = Pending()
        for workload in waiting:
            self.arrive(workload)
        self.forget_plans()

    # What happens.

    def arrive(self, workload: Workload) -> None:
        """It waits from now on, or is not what it was: an earlier state of it is forgotten."""
        before = self.pending.class_of(workload.key)
        added = self.pending.add(workload, self.rules.priority_of(workload))
        if len(added) == 1:
            added.standing = self.standing(workload)
            added.flavors = self.flavors_for(workload)
        if before is not None:
            self._unreserve(workload.key)
        if workload.nomination is not None:
            self.nominees[workload.key] = workload

    def withdraw(self, key: WorkloadKey) -> None:
        """It does not want a place any more."""
        found = self.pending.remove(key)
        if found is not None:
            self._unreserve(key)

    def hold(self, workload: Workload, assignment: Assignment, began: float) -> Running:
        """It has that place, by our decision or by one that was made before this engine was."""
        grants = []
        for each in workload.pods:
            for name in assignment.nodes.get(each.role, ()):
                row = self.fleet.row.get(name)
                if row is not None:
                    grants.append((row, self.fleet.take(row, each.requests)))
        request = self._request_of(workload, assignment)
        held = Running(workload, assignment, request, tuple(grants), began, self.ends(workload, began))
        if held.request:
            self.tree.add(workload.queue, held.request)
        self.pending.remove(workload.key)
        self.running[workload.key] = held
        self._look_for_wounds(held)
        self.guesses += _guessed(workload)
        self._unreserve(workload.key)
        for kept in self.reservations:
            kept.admitted(workload.key, held)
        root = self.root(workload.queue)
        self.versions[root] = self.versions.get(root, 0) + 1
        return held

    def confirm(self, workload: Workload, began: float) -> bool:
        """Its status shows the place that it was given. False if that is another place, or another workload."""
        held = self.running.get(workload.key)
        if held is None or held.assignment != workload.admission:
            return False
        if held.workload.uid != workload.uid or held.workload.shape != workload.shape:
            return False
        self.guesses += _guessed(workload) - _guessed(held.workload)
        held.workload, held.began, held.ends = workload, began, self.ends(workload, began)
        self._look_for_wounds(held)
        return True

    def foreign_came(self, pod: PodView) -> None:
        """Somebody else's pod uses what it uses."""
        row = self.fleet.row.get(pod.node)
        self.foreign[pod.uid] = (pod, row, self.fleet.take(row, pod.requests) if row is not None else None)

    def foreign_gone(self, pod: PodView) -> None:
        """It uses nothing any more."""
        _, row, grant = self.foreign.pop(pod.uid)
        if row is not None and grant is not None:
            self.fleet.give(row, grant)
        self.forget_plans()

    def finish(self, key: WorkloadKey) -> None:
        """It ended, and what it held is free."""
        held = self.running.pop(key, None)
        if held is None:
            return
        self.guesses -= _guessed(held.workload)
        self.wounded.discard(key)
        for row, grant in held.grants:
            self.fleet.give(row, grant)
        if held.request:
            self.tree.remove(held.workload.queue, held.request)
        for kept in self.reservations:
            kept.finished(key, held)
        self._changed(held.workload.queue, held.flavor)

    # What cycles ask.

    def seconds(self, workload: Workload) -> float:
        """How long it is expected to run."""
        return self.options.unknown_seconds if workload.duration is None else workload.duration

    def ends(self, workload: Workload, began: float) -> float:
        """When it is expected to end if it begins then, seconds since 1970."""
        return math.inf if workload.endless else began + self.seconds(workload)

    def candidates(self) -> list[JobClass]:
        """Classes whose answer may be another than last time, and the next for whom others may make way; from now on nothing has changed."""
        roots, flavors, everything = self.dirty_roots, self.dirty_flavors, self.everything_changed
        if self.unasked:
            there = {each.number for each in self.pending.classes.values()}
            self.unasked = {number: None for number in self.unasked if number in there}
        turn = set(islice(self.unasked, self.options.preempting_heads)) | self.left
        self.left = set()
        self.dirty_roots, self.dirty_flavors, self.everything_changed = set(), set(), False
        return [
            each
            for each in self.pending.classes.values()
            if each.standing is None
            and (
                everything
                or each.number in turn
                or (refusal := each.refusal) is None
                or (refusal.of_quota and self.root(each.queue) in roots)
                or (refusal.of_nodes and not flavors.isdisjoint(refusal.flavors))
            )
        ]

    def health(self, flavor: str) -> Health:
        """Of a flavor's nodes; judged once until something changes."""
        found = self._health.get(flavor)
        if found is None:
            nodes = (self.fleet.nodes[row] for row in self.fleet.row.values())
            found = self._health[flavor] = judge(nodes, self.rules.flavors[flavor], self.failures, self.slow)
        return found

    def usable(self, flavor: str) -> NDArray[np.int64]:
        """Rows of a flavor's nodes that take pods now, whatever is free on them."""
        spec, out = self.rules.flavors[flavor], self.health(flavor).out
        return np.array(
            [
                row
                for name, row in self.fleet.row.items()
                if (node := self.fleet.nodes[row]).healthy and name not in out and of_flavor(node, spec)
            ],
            dtype=np.int64,
        )

    def root(self, queue: str) -> str:
        return self.tree.root(queue) if queue in self.tree else ""

    def standing(self, workload: Workload) -> Verdict | None:
        """Why it cannot start whatever else runs."""
        return checks.standing(workload, self.rules, self.tree)

    def flavors_for(self, workload: Workload) -> tuple[tuple[str, Request], ...]:
        """Flavors to be tried, best first, each with what it would ask of the quota tree."""
        names = checks.usable(workload, self.rules, self.tree)
        return tuple((name, self.request(workload, name)) for name in names)

    def request(self, workload: Workload, flavor: str) -> Request:
        """What it asks of the quota tree at its full size."""
        return self.tree.request(workload.queue, flavor, demand(workload)) if workload.queue in self.tree else ()

    def _request_of(self, workload: Workload, assignment: Assignment) -> Request:
        """Of an elastic job only what it got."""
        if workload.queue not in self.tree:
            return ()
        return self.tree.request(workload.queue, assignment.flavor, granted(workload, assignment))

    def _look_for_wounds(self, held: Running) -> None:
        lost = held.workload.lost
        if lost and any(not lost.isdisjoint(names) for names in held.assignment.nodes.values()):
            self.wounded.add(held.workload.key)
        else:
            self.wounded.discard(held.workload.key)

    def _changed(self, queue: str, flavor: str) -> None:
        root = self.root(queue)
        self.dirty_roots.add(root)
        self.dirty_flavors.add(flavor)
        self.versions[root] = self.versions.get(root, 0) + 1

    def _unreserve(self, key: WorkloadKey) -> None:
        """Its kept place is free for the next in line."""
        self.promised.pop(key, None)
        self.slipped.discard(key)
        self.nominees.pop(key, None)
        self.nominated.pop(key, None)
        for each in [kept for kept in self.reservations if kept.key == key]:
            self.dirty_roots.add(each.root)
            self.dirty_flavors.add(each.flavor)
            self.drop(each)

    def drop(self, kept: Reservation) -> None:
        """A place is not kept any more."""
        self.reservations.remove(kept)
        for other in self.reservations:
            other.drop_plan(kept.key)

    def forget_plans(self) -> None:
        """Nothing is kept for anybody, nothing was promised; whoever waits is asked again. What was promised before is not held against anybody."""
        self.reservations, self.promised, self.slipped = [], {}, set()
        self.everything_changed = True


def _guessed(workload: Workload) -> bool:
    """Nobody knows when it ends. That a service goes on is known."""
    return workload.duration is None and not workload.endless
