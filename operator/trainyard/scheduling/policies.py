"""Which nodes the pods of one role go to, when any node of a mask may be taken.

A single pod goes to the node that its policy scores highest. Several pods of a gang go to as few nodes as possible, and the
policy chooses among those: a gang that is spread pays on every step. Only `spread` sets them apart on purpose.

| policy | prefers |
|---|---|
| fgd | the node whose free GPUs lose least of their use to typical tasks (`fragmentation`); until tasks are known, bestfit |
| bestfit | the node with the least left, measured against the largest node |
| binpack | the node that is used most, in parts of its own size |
| spread | a node without pods of the same gang, then the one that is used least |

**Ties go to the node with the fewest GPUs, then to the earliest in name order**, always: large nodes stay whole for those that need
one, and a coarse score with a stable order keeps nodes empty at the far end. Choosing among equals at random, or by rounding noise,
costs up to five points of allocation on the openb trace; looking at the size first gains 0.07 (mean of six seeds).
Neighbours: `gang` picks the mask (domains); `fleet` does the arithmetic.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainyard.scheduling.fleet import DEVICE, Ask, Fleet
from trainyard.scheduling.fragmentation import Ints, Measure, TaskClasses, measure
from trainyard.scheduling.resources import Amounts

Policy = Literal["fgd", "bestfit", "binpack", "spread"]
_SCALE = 1_000_000
STEPS = 50
"""Of a gradient's score. Fewer put more nodes on a par, of which the first is filled; measured in `docs/benchmarks.md`."""
_SHAPES = 128


class Placement:
    """Chooses nodes by a policy. Keeps scores between calls; they never change an answer."""

    def __init__(self, policy: Policy = "fgd", typical: TaskClasses | None = None, steps: int = STEPS) -> None:
        """steps: of the score of `fgd`."""
        self.policy: Policy = policy
        self.steps = steps
        self.typical = typical or TaskClasses()
        self._gradient: _Gradient | None = None

    def learn(self, typical: TaskClasses) -> None:
        """Other tasks are typical from now on."""
        if typical != self.typical:
            self.typical, self._gradient = typical, None

    def place(
        self,
        fleet: Fleet,
        requests: Amounts,
        count: int,
        mask: NDArray[np.bool_],
        room: NDArray[np.int64] | None = None,
    ) -> tuple[int, ...] | None:
        """A row of the fleet for each of `count` equal pods, in rank order, or None if they do not all fit. Takes nothing.

        mask: (nodes,) rows that may be used. room: (nodes,) at most so many on each, by default what is free.
        """
        rows = np.flatnonzero(mask)
        left = fleet.room(requests, rows) if room is None else room[rows]
        some = left > 0
        rows, left = rows[some], left[some]
        if np.minimum(left, count).sum() < count:
            return None
        if self.policy == "spread":
            return self._apart(fleet, fleet.ask(requests), count, rows, left)
        return self._together(fleet, fleet.ask(requests), count, rows, left)

    def _together(self, fleet: Fleet, ask: Ask, count: int, rows: Ints, room: Ints) -> tuple[int, ...]:
        """As few nodes as possible: one that holds all that is left, else the roomiest are filled first."""
        chosen: list[int] = []
        while count:
            enough = np.flatnonzero(room >= count)
            if enough.size:
                best = int(self.ranked(fleet, ask, count, rows[enough], 1)[0])
                return (*chosen, *[best] * count)
            most = int(room.max())
            full = np.flatnonzero(room == most)
            ranked = self.ranked(fleet, ask, most, rows[full], count // most)
            for row in ranked.tolist():
                chosen += [row] * most
                count -= most
            room = np.where(np.isin(rows, ranked), 0, room)
        return tuple(chosen)

    def ranked(self, fleet: Fleet, ask: Ask, block: int, rows: Ints, wanted: int) -> Ints:
        """The best rows for `block` pods on each, best first."""
        smaller = fleet.gpu_capacity.shape[1] - (fleet.gpu_capacity[rows] > 0).sum(axis=1, dtype=np.int64)
        scores = self._scores(fleet, ask, block, rows) * (fleet.gpu_capacity.shape[1] + 1) + smaller
        key = scores * len(fleet.nodes) - fleet.order[rows]
        if wanted == 1:
            return rows[[int(np.argmax(key))]]
        return rows[np.argsort(-key)[:wanted]]

    def _scores(self, fleet: Fleet, ask: Ask, block: int, rows: Ints) -> Ints:
        """How good each row is for so many pods, (rows,); higher is better."""
        if self.policy == "binpack":
            return -_left(fleet, ask, block, rows, fleet.capacity[rows])
        if self.policy == "spread":
            return _left(fleet, ask, block, rows, fleet.capacity[rows])
        if self.policy == "bestfit" or not self.typical:
            return -_left(fleet, ask, block, rows, fleet.capacity.max(axis=0, keepdims=True))
        if self._gradient is None or not self._gradient.is_of(fleet):
            self._gradient = _Gradient(fleet, self.typical, self.steps)
        return self._gradient.scores(fleet, ask, block, rows)

    def _apart(self, fleet: Fleet, ask: Ask, count: int, rows: Ints, room: Ints) -> tuple[int, ...]:
        """One pod to each node, the least used first, and round again."""
        ranked = self.ranked(fleet, ask, 1, rows, len(rows))
        space = dict(zip(rows.tolist(), room.tolist(), strict=True))
        line = ranked.tolist()
        held = dict.fromkeys(line, 0)
        left = count
        while left:
            line = [row for row in line if held[row] < space[row]]
            for row in line[:left]:
                held[row] += 1
            left -= min(left, len(line))
        return tuple(row for row in ranked.tolist() for _ in range(held[row]))


def _left(fleet: Fleet, ask: Ask, block: int, rows: Ints, whole: Ints) -> Ints:
    """What would be left of the resources asked for, in millionths of `whole`, summed over resources."""
    total = np.zeros(len(rows), dtype=np.int64)
    for column, amount in ask.amounts:
        share = (fleet.free[rows, column] - block * amount).astype(np.float64) / np.maximum(whole[:, column], 1)
        total += (share * _SCALE).astype(np.int64)
    return total


class _Gradient:
    """Scores by how placing a pod changes what typical tasks could use. Only rows that changed are computed again."""

    def __init__(self, fleet: Fleet, typical: TaskClasses, steps: int) -> None:
        self._steps = steps
        self._nodes, self._columns = fleet.nodes, fleet.columns
        self._measure: Measure = measure(fleet, typical)
        nodes = len(fleet.nodes)
        self._free = np.full((nodes, len(self._measure.columns)), -1, dtype=np.int64)
        self._devices = np.full((nodes, fleet.gpu_free.shape[1]), -1, dtype=np.int32)
        self._now = np.zeros(nodes, dtype=np.int64)
        self._version = np.zeros(nodes, dtype=np.int64)
        self._ticks = 0
        self._known: dict[tuple[Ask, int], tuple[Ints, Ints]] = {}

    def is_of(self, fleet: Fleet) -> bool:
        """The fleet has the nodes that this was made for."""
        return (
            fleet.nodes is self._nodes
            and fleet.columns is self._columns
            and fleet.gpu_free.shape[1] == self._devices.shape[1]
        )

    def scores(self, fleet: Fleet, ask: Ask, block: int, rows: Ints) -> Ints:
        """Score of `block` pods on each row, 0 to `steps`, (rows,)."""
        self._look(fleet, rows)
        found = self._known.get((ask, block))
        if found is None:
            if len(self._known) >= _SHAPES:
                self._known.clear()
            nodes = len(self._nodes)
            found = self._known[ask, block] = (np.zeros(nodes, dtype=np.int64), np.zeros(nodes, dtype=np.int64))
        score, seen = found
        old = rows[seen[rows] != self._version[rows]]
        if old.size:
            lost = self._after(ask, block, old) - self._now[old]
            gain = -lost / (self._measure.weight * DEVICE)
            score[old] = np.floor(self._steps / (1 + np.exp(-gain))).astype(np.int64)
            seen[old] = self._version[old]
        return score[rows]

    def _look(self, fleet: Fleet, rows: Ints) -> None:
        """Notice which rows are not as they were, whoever changed them."""
        free, devices = fleet.free[rows[:, None], self._measure.columns], fleet.gpu_free[rows]
        changed = (devices != self._devices[rows]).any(axis=1) | (free != self._free[rows]).any(axis=1)
        if not changed.any():
            return
        stale = rows[changed]
        self._free[stale], self._devices[stale] = free[changed], devices[changed]
        self._now[stale] = self._measure.expected(stale, self._free[stale], self._devices[stale])
        self._ticks += 1
        self._version[stale] = self._ticks

    def _after(self, ask: Ask, block: int, rows: Ints) -> Ints:
        """What would be unusable with `block` such pods there, taken as `Fleet.take` takes them."""
        free, devices = self._free[rows], self._devices[rows]
        amounts = dict(ask.amounts)
        free -= np.array([block * amounts.get(column, 0) for column in self._measure.columns.tolist()], dtype=np.int64)
        if ask.whole:
            idle = devices >= DEVICE
            devices[idle & (np.cumsum(idle, axis=1) <= block * ask.whole)] = 0
        elif ask.part:
            every = np.arange(len(rows))
            for _ in range(block):
                fullest = np.argmin(np.where(devices >= ask.part, devices, DEVICE + 1), axis=1)
                devices[every, fullest] -= ask.part
        return self._measure.expected(rows, free, devices)
