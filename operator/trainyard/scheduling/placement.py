"""Where the pods of a gang go: tightest node first, as few nodes as possible, all pods or none.

Works on one integer matrix of free resources, (nodes, resources) in thousandths of a unit, so that a cycle over thousands of
workloads costs microseconds each.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainyard.api.quantity import LARGEST
from trainyard.scheduling.resources import Amounts
from trainyard.scheduling.snapshot import NodeView, PodView, Snapshot, Workload

_UNLIMITED = np.iinfo(np.int64).max
_ONE_POD = {"pods": 1000}  # a node takes a bounded number of pods, whatever they ask for


class FreeTable:
    """Free resources of every node, kept while a cycle admits."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.nodes: Sequence[NodeView] = snapshot.nodes
        self._row = {node.name: row for row, node in enumerate(snapshot.nodes)}
        names = sorted({name for node in snapshot.nodes for name in node.allocatable})
        self._column = {name: column for column, name in enumerate(names)}
        self.free: NDArray[np.int64] = np.zeros((len(self.nodes), len(names)), dtype=np.int64)
        for row, node in enumerate(self.nodes):
            for name, amount in node.allocatable.items():
                self.free[row, self._column[name]] = amount
        for pod in snapshot.pods:
            if not pod.finished:
                self.take(pod.node, pod.requests)
        by_owner: dict[str, list[PodView]] = defaultdict(list)
        for pod in snapshot.pods:
            if not pod.finished:  # one that ended, of an earlier attempt perhaps, keeps nobody's promise
                by_owner[pod.owner_uid].append(pod)
        for workload in snapshot.workloads:
            for promised, requests in _not_yet_there(workload, by_owner[workload.uid]):
                self.take(promised, requests)

    def take(self, node: str, requests: Amounts) -> None:
        """Subtract one pod. A node that is gone, or a resource it does not offer, holds nothing."""
        row = self._row.get(node)
        if row is None:
            return
        for name, amount in {**requests, **_ONE_POD}.items():
            column = self._column.get(name)
            if column is not None:
                self.free[row, column] = max(int(self.free[row, column]) - amount, -LARGEST)

    def room(self, requests: Amounts) -> NDArray[np.int64]:
        """How many such pods each node could take now, (nodes,)."""
        fits = np.full(len(self.nodes), _UNLIMITED, dtype=np.int64)
        for name, amount in {**requests, **_ONE_POD}.items():
            if amount <= 0:
                continue
            column = self._column.get(name)
            if column is None:
                return np.zeros(len(self.nodes), dtype=np.int64)
            np.minimum(fits, np.maximum(self.free[:, column], 0) // amount, out=fits)
        return fits

    def largest(self, resource: str, mask: NDArray[np.bool_]) -> int:
        """The most that a single node of `mask` offers when empty."""
        return max(
            (node.allocatable.get(resource, 0) for node, chosen in zip(self.nodes, mask, strict=True) if chosen),
            default=0,
        )

    def total_free(self, resource: str, mask: NDArray[np.bool_]) -> int:
        """Sum of what is free on the nodes of `mask`."""
        column = self._column.get(resource)
        return 0 if column is None else sum(np.maximum(self.free[mask, column], 0).tolist())

    def place(self, requests: Amounts, count: int, mask: NDArray[np.bool_]) -> tuple[str, ...] | None:
        """One node name per pod for `count` identical pods on nodes of `mask` (nodes,), or None. Takes nothing yet.

        A node that holds all that is left is preferred, the tightest of them; otherwise the roomiest is filled first, so that a
        gang touches few nodes. Ties go to the earlier node: equal states give equal answers.
        """
        room = np.where(mask, self.room(requests), 0)
        chosen: list[str] = []
        left = count
        while left > 0:
            enough = np.flatnonzero(room >= left)
            row = int(enough[np.argmin(room[enough])]) if enough.size else int(np.argmax(room)) if room.size else -1
            if row < 0 or room[row] <= 0:
                return None
            taken = min(left, int(room[row]))
            chosen += [self.nodes[row].name] * taken
            room[row] = 0
            left -= taken
        return tuple(chosen)


def _not_yet_there(workload: Workload, existing: Sequence[PodView]) -> list[tuple[str, Amounts]]:
    """Pods that an admission promises and that do not exist yet: their resources are as good as used."""
    if workload.admission is None:
        return []
    there = Counter((pod.role, pod.node) for pod in existing)
    missing: list[tuple[str, Amounts]] = []
    for each in workload.pods:
        for node in workload.admission.nodes.get(each.role, ()):
            if there[each.role, node] > 0:
                there[each.role, node] -= 1
            else:
                missing.append((node, each.requests))
    return missing
