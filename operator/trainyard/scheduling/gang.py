"""Where a gang goes: all pods of all its roles or nothing, as near to each other as its topology says.

The role that asks for most is placed first. With `required` every role goes to one domain, the smallest that holds them; with
`preferred` to one if there is one, else to as few as possible; with `spread` each role over as many as possible. Slices stay
whole in a domain of their own level; a last slice that is short is kept room for as if it were whole. Nodes without the label
are in no domain: `required` never uses them, the others, which are wishes, only when it cannot be helped. Ties go to the first
in name order. Neighbours: `topology` shares pods out over domains, `policies` chooses nodes in a domain, `fleet` says what is free.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from trainyard.api.names import GPU
from trainyard.scheduling.fleet import Fleet, Grant
from trainyard.scheduling.policies import Placement
from trainyard.scheduling.resources import Amounts
from trainyard.scheduling.snapshot import PodSet, Topology
from trainyard.scheduling.topology import Ints, Shares, evenly, fewest, slots

Mask = NDArray[np.bool_]
Sets = Sequence[tuple[PodSet, Mask]]
"""Each role with the rows of the fleet that it may use, (nodes,)."""
Places = dict[str, tuple[int, ...]]
"""Role to the row of the fleet of each pod, in rank order."""
Rows = tuple[int, ...]
_ANYWHERE = Topology(level="")


def place_gang(fleet: Fleet, sets: Sets, topology: Topology | None, placement: Placement) -> Places | None:
    """A place for every pod of every role, or None. The fleet is left as it was."""
    gang = _Gang(fleet, topology or _ANYWHERE, placement)
    try:
        return gang.place(sets)
    finally:
        gang.undo()


def place_elastic(fleet: Fleet, sets: Sets, topology: Topology | None, placement: Placement) -> Places | None:
    """The same at the largest sizes that fit: elastic roles between their least and their count, in whole slices.

    Roles grow together from their least towards their count, then each as far as it still can, in the order given. None if the
    least does not fit.
    """
    ladders = [_sizes(pods, topology) for pods, _ in sets]

    def at(steps: Sequence[int]) -> Places | None:
        resized = [
            (pods if pods.count == ladder[step] else replace(pods, count=ladder[step]), mask)
            for (pods, mask), ladder, step in zip(sets, ladders, steps, strict=True)
        ]
        return place_gang(fleet, resized, topology, placement)

    tops = [len(ladder) - 1 for ladder in ladders]
    found = at(tops)
    if found is not None or not any(tops):
        return found
    found = at([0] * len(tops))
    if found is None:
        return None
    longest = max(tops)
    step, found = _highest(0, longest, lambda step: at([top * step // longest for top in tops]), found)
    steps = [top * step // longest for top in tops]
    for role, top in enumerate(tops):

        def alone(step: int, role: int = role) -> Places | None:
            return at([*steps[:role], step, *steps[role + 1 :]])

        steps[role], found = _highest(steps[role], top, alone, found)
    return found


def replace_failed(
    fleet: Fleet,
    sets: Sets,
    topology: Topology | None,
    placement: Placement,
    held: Mapping[str, Sequence[int]],
    failed: frozenset[int],
) -> Places | None:
    """Other nodes for the pods on failed rows; those that are left stay. None if there is no such place.

    held: role to the row of each pod, in rank order; negative for a node that is gone. The fleet counts the pods that are left as taken and the lost ones as given
    back, and is left as it was. A slice is mended in its own domain; where `required`, all stays in the domain that the rest is in.
    """
    gang = _Gang(fleet, topology or _ANYWHERE, placement)
    whole = [(replace(pods, count=len(held.get(pods.role, ()))), mask & ~_marked(mask, failed)) for pods, mask in sets]
    try:
        if all(row in failed for rows in held.values() for row in rows):
            return gang.place(whole)
        return gang.mend(whole, held, failed)
    finally:
        gang.undo()


class _Gang:
    """One attempt. It takes what it places, so that roles see each other, until that is undone."""

    def __init__(self, fleet: Fleet, topology: Topology, placement: Placement) -> None:
        self.fleet, self.mode, self.placement = fleet, topology.mode, placement
        self.size = max(1, topology.slice_size)
        self.bound = bool(topology.level) or self.size > 1
        self._taken: list[tuple[int, Grant]] = []
        domain = fleet.domains(*([topology.level] if topology.level else []))
        self.known = int(domain.max(initial=-1)) + 1
        """Domains of the level; the nodes without the label are one more."""
        self.domain: Ints = np.where(domain < 0, self.known, domain)
        labels = [label for label in (topology.level, topology.slice_level) if label]
        self.inner: Ints = fleet.domains(*labels) if self.size > 1 else domain
        """Domain in which a slice stays, itself within one of the level; -1 where no slice may be."""

    def undo(self) -> None:
        while self._taken:
            self.fleet.give(*self._taken.pop())

    def place(self, sets: Sets) -> Places | None:
        """All pods, or None."""
        ordered = sorted(sets, key=lambda each: self._appetite(each[0]), reverse=True)
        if not self.bound:
            return self._all(ordered, lambda pods, mask: self._within(pods.requests, pods.count, mask))
        if self.mode == "spread":
            return self._all(ordered, lambda pods, mask: self._shared(pods, mask, evenly))
        together = self._in_one(ordered)
        if together is not None or self.mode == "required":
            return together
        used: list[int] = []

        def near(pods: PodSet, mask: Mask) -> Rows | None:
            rows = self._shared(pods, mask, lambda room, units: fewest(room, units, used))
            used.extend(each for each in dict.fromkeys(self.domain[list(rows or ())].tolist()) if each not in used)
            return rows

        return self._all(ordered, near)

    def mend(self, sets: Sets, held: Mapping[str, Sequence[int]], failed: frozenset[int]) -> Places | None:
        """The pods on failed rows anew, the others where they are, or None."""
        ordered = sorted(sets, key=lambda each: self._appetite(each[0]), reverse=True)
        left = [row for rows in held.values() for row in rows if row not in failed]
        used = [domain for domain, _ in Counter(self.domain[left].tolist()).most_common()]
        near = [(pods, mask & np.isin(self.domain, used)) for pods, mask in ordered]
        attempts = {"required": (near,), "preferred": (near, ordered), "spread": (ordered,)}[self.mode]
        for attempt in attempts:
            found = self._all(attempt, lambda pods, mask: self._mended(pods, mask, held.get(pods.role, ()), failed))
            if found is not None:
                return found
            self.undo()
        return None

    def _all(self, sets: Sets, place: Callable[[PodSet, Mask], Rows | None]) -> Places | None:
        """Every role in turn, seeing what those before it took."""
        places: Places = {}
        for number, (pods, mask) in enumerate(sets, start=1):
            rows = place(pods, mask)
            if rows is None:
                return None
            places[pods.role] = rows
            if number < len(sets):
                self._take(pods, rows)
        return places

    def _in_one(self, sets: Sets) -> Places | None:
        """All roles in the smallest domain that holds them, by the room for the first."""
        holds = np.ones(self.known, dtype=np.bool_)
        size = np.zeros(self.known, dtype=np.int64)
        for number, (pods, mask) in enumerate(sets):
            room = self._room(pods.requests, mask)[: self.known]
            holds &= room >= self._units(pods.count)
            size = size if number else room
        candidates = np.flatnonzero(holds)
        for domain in candidates[np.argsort(size[candidates], kind="stable")].tolist():
            here = [(pods, mask & (self.domain == domain)) for pods, mask in sets]
            found = self._all(here, lambda pods, mask: self._within(pods.requests, pods.count, mask))
            if found is not None:
                return found
            self.undo()
        return None

    def _shared(self, pods: PodSet, mask: Mask, share: Callable[[Ints, int], Shares | None]) -> Rows | None:
        """A role over several domains, the nodes without the label last."""
        room = self._room(pods.requests, mask)
        labelled = np.append(room[:-1], 0)
        shares = share(labelled, self._units(pods.count)) or share(room, self._units(pods.count))
        if shares is None:
            return None
        rows: Rows = ()
        for domain, units in shares:
            count = min(pods.count - len(rows), units * self.size)
            more = self._within(pods.requests, count, mask & (self.domain == domain))
            if more is None:
                return None
            rows += more
        return rows

    def _within(self, requests: Amounts, count: int, mask: Mask) -> Rows | None:
        """Pods on nodes of one domain; whole slices first choose theirs."""
        if self.size == 1:
            return self.placement.place(self.fleet, requests, count, mask)
        mask = mask & (self.inner >= 0)
        inner = np.where(mask, self.inner, 0)
        shares = fewest(slots(inner, np.where(mask, self.fleet.room(requests), 0), self.size), self._units(count))
        rows: Rows = ()
        for domain, units in shares or ():
            share = min(count - len(rows), units * self.size)
            rows += self.placement.place(self.fleet, requests, share, mask & (inner == domain)) or ()
        return rows if len(rows) == count else None

    def _mended(self, pods: PodSet, mask: Mask, held: Sequence[int], failed: frozenset[int]) -> Rows | None:
        rows = list(held)
        lost = [rank for rank, row in enumerate(held) if row in failed]
        whole: list[int] = []
        for _, group in groupby(lost, key=lambda rank: rank // self.size):
            ranks = list(group)
            begin = ranks[0] // self.size * self.size
            rest = [row for row in held[begin : begin + self.size] if row not in failed]
            if not rest:
                whole += ranks
                continue
            found = self.placement.place(
                self.fleet, pods.requests, len(ranks), mask & (self.inner == self.inner[rest[0]])
            )
            if found is None:
                return None
            self._take(pods, found)
            for rank, row in zip(ranks, found, strict=True):
                rows[rank] = row
        there = (
            np.bincount(self.domain[[row for row in held if row not in failed]], minlength=self.known + 1) // self.size
        )
        begin_with = [int(domain) for domain in np.argsort(-there, kind="stable") if there[domain]]
        found = self._shared(
            replace(pods, count=len(whole)),
            mask,
            (lambda room, units: evenly(room, units, there))
            if self.mode == "spread"
            else (lambda room, units: fewest(room, units, begin_with)),
        )
        if found is None:
            return None
        for rank, row in zip(whole, found, strict=True):
            rows[rank] = row
        return tuple(rows)

    def _room(self, requests: Amounts, mask: Mask) -> Ints:
        """Slices that fit in each domain of the level, (known + 1,)."""
        room = (
            np.where(mask & (self.inner >= 0), self.fleet.room(requests), 0)
            if self.size > 1
            else np.where(mask, self.fleet.room(requests), 0)
        )
        if self.size == 1:
            return slots(self.domain, room, 1, self.known + 1)
        there = self.inner >= 0
        by_slice = slots(self.inner[there], room[there], self.size)
        level = np.zeros(len(by_slice), dtype=np.int64)
        level[self.inner[there]] = self.domain[there]
        return slots(level, by_slice, 1, self.known + 1)

    def _units(self, count: int) -> int:
        return -(-count // self.size)

    def _take(self, pods: PodSet, rows: Rows) -> None:
        self._taken += [(row, self.fleet.take(row, pods.requests)) for row in rows]

    def _appetite(self, pods: PodSet) -> tuple[int, int, str]:
        """Who asks for more is placed first: GPUs, then CPU."""
        return (pods.requests.get(GPU, 0), pods.requests.get("cpu", 0), pods.role)


def _sizes(pods: PodSet, topology: Topology | None) -> Sequence[int]:
    """Sizes that an elastic role may have, smallest first."""
    step = max(1, topology.slice_size) if topology else 1
    if pods.minimum >= pods.count:
        return (pods.count,)
    first = -(-pods.minimum // step) * step
    return (*range(first, pods.count, step), pods.count)


def _highest(low: int, high: int, at: Callable[[int], Places | None], found: Places) -> tuple[int, Places]:
    """The highest step that fits, by bisection, with its place. low fits, and `found` is its place."""
    while low < high:
        step = (low + high + 1) // 2
        places = at(step)
        if places is None:
            high = step - 1
        else:
            low, found = step, places
    return low, found


def _marked(mask: Mask, rows: frozenset[int]) -> Mask:
    marked = np.zeros(len(mask), dtype=np.bool_)
    marked[[row for row in rows if row >= 0]] = True
    return marked
