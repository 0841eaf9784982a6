"""What is free on every node, as integer arrays that are kept from cycle to cycle and copied to try something out.

One row per node, one column per resource, and one cell per GPU, since a part of a GPU has to come from one device and a whole
one from an idle device. Neighbours: `policies` chooses rows, `gang` keeps gangs together, `eligibility` says who may run where.

A node that leaves keeps its row while somebody still holds something there, so that what was taken can be given back; the row
offers nothing. More may be taken than there is (other people's pods, a node that shrank): then what is free is negative.

Memory of a GPU needs nothing special: a device plugin that counts it as a resource of the node gives it a column here, and a pod
that asks for it is kept off nodes with too little. It is not tracked by device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU
from trainyard.api.quantity import LARGEST
from trainyard.scheduling.eligibility import eligible
from trainyard.scheduling.resources import Amounts
from trainyard.scheduling.snapshot import NodeView, PodSet

PODS = "pods"
"""A node takes a bounded number of pods, whatever they ask for."""
DEVICE = 1000
"""Milli-GPU of one device."""
_ONE_POD = 1000
_UNLIMITED = np.iinfo(np.int64).max
_REMEMBERED = 256
_MOST_DEVICES = 1024
"""A node that claims more GPUs than that is believed so many: one strange node must not cost everybody memory."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one pod holds of a node, exactly as it was taken."""

    requests: Amounts
    """What it asked for."""
    amounts: tuple[tuple[int, int], ...]
    """(column, thousandths)."""
    devices: tuple[tuple[int, int], ...] = ()
    """(device, milli-GPU)."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one pod asks, in the columns of a fleet."""

    amounts: tuple[tuple[int, int], ...]
    """(column, thousandths), the pod itself among them."""
    whole: int = 0
    """Devices that have to be idle. An uneven amount over one device is rounded up."""
    part: int = 0
    """Milli-GPU that come from one device."""
    unknown: bool = False
    """It asks for something that no node offers."""


@dataclass(frozen=True, slots=True)
class _Mask:
    """Nodes that may take a kind of pod, and what that was computed from."""

    rows: NDArray[np.bool_]
    flavor: FlavorSpec
    pods: PodSet


class Fleet:
    """Free resources of every node as arrays, kept from cycle to cycle and copied for what-ifs.

    Amounts are thousandths of a unit, exact integers. `nodes`, `row`, `columns` and `capacity` are replaced and never changed
    in place, so a copy stays as it was. A copy made before nodes were added has fewer rows.
    """

    def __init__(self, nodes: Sequence[NodeView]) -> None:
        self.nodes: list[NodeView] = list(nodes)
        self.row: dict[str, int] = {node.name: row for row, node in enumerate(self.nodes)}
        names = {PODS, GPU}.union(*(node.allocatable for node in self.nodes))
        self.columns: dict[str, int] = {name: column for column, name in enumerate(sorted(names))}
        width = max((_devices(node) for node in self.nodes), default=0)
        self.capacity: NDArray[np.int64] = np.zeros((len(self.nodes), len(self.columns)), dtype=np.int64)
        """(nodes, resources) what each node offers."""
        self.gpu_capacity: NDArray[np.int32] = np.zeros((len(self.nodes), width), dtype=np.int32)
        """(nodes, most GPUs of a node) 1000 where there is a device."""
        for row, node in enumerate(self.nodes):
            self.capacity[row] = self._vector(node)
            self.gpu_capacity[row, : _devices(node)] = DEVICE
        self.free: NDArray[np.int64] = self.capacity.copy()
        """(nodes, resources) what is left."""
        self.gpu_free: NDArray[np.int32] = self.gpu_capacity.copy()
        """(nodes, most GPUs of a node) milli-GPU left on each device."""
        self.order: NDArray[np.int64] = _name_order(self.nodes)
        """(nodes,) place of each node when they are sorted by name: how every tie is broken."""
        self._asks: dict[tuple[tuple[str, int], ...], Ask] = {}
        self._masks: dict[tuple[object, ...], _Mask] = {}
        self._domains: dict[tuple[str, ...], NDArray[np.int64]] = {}

    def copy(self) -> "Fleet":
        """Another fleet with the same state; it shares what does not change."""
        other = object.__new__(Fleet)
        other.__dict__.update(self.__dict__)
        other.free, other.gpu_free = self.free.copy(), self.gpu_free.copy()
        other._masks, other._domains = dict(self._masks), dict(self._domains)
        return other

    # Pods come and go.

    def ask(self, requests: Amounts) -> Ask:
        """What a pod asks, in the columns of this fleet."""
        key = tuple(requests.items())
        found = self._asks.get(key)
        if found is None:
            if len(self._asks) >= _REMEMBERED:
                self._asks.clear()
            found = self._asks[key] = self._ask(requests)
        return found

    def take(self, row: int, requests: Amounts) -> Grant:
        """Give a pod its resources on a node, whether or not they are free, and say what it got.

        A part of a GPU comes from the fullest device that has it; whole ones are idle devices, lowest number first. A resource
        that no node offers is not counted.
        """
        ask = self.ask(requests)
        grant = Grant(
            requests,
            tuple(
                (column, max(0, min(amount, int(self.free[row, column]) + LARGEST))) for column, amount in ask.amounts
            ),
            self._choose(row, ask),
        )
        self.take_grant(row, grant)
        return grant

    def take_grant(self, row: int, grant: Grant) -> None:
        """Take again exactly what was given back."""
        for column, amount in grant.amounts:
            self.free[row, column] -= amount
        for device, milli in grant.devices:
            self.gpu_free[row, device] -= milli

    def give(self, row: int, grant: Grant) -> None:
        """Undo a take."""
        for column, amount in grant.amounts:
            self.free[row, column] += amount
        for device, milli in grant.devices:
            self.gpu_free[row, device] += milli

    def room(self, requests: Amounts, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """How many such pods each node could take now, (nodes,), or (rows,) for some of them only."""
        ask = self.ask(requests)
        free = self.free if rows is None else self.free[rows]
        if ask.unknown:
            return np.zeros(len(free), dtype=np.int64)
        fits = np.full(len(free), _UNLIMITED, dtype=np.int64)
        for column, amount in ask.amounts:
            np.minimum(fits, free[:, column] // amount, out=fits)
        if ask.whole or ask.part:
            devices = self.gpu_free if rows is None else self.gpu_free[rows]
            if ask.whole:
                by_device = (devices >= DEVICE).sum(axis=1, dtype=np.int64) // ask.whole
            else:
                by_device = np.maximum(devices // ask.part, 0).sum(axis=1, dtype=np.int64)
            np.minimum(fits, by_device, out=fits)
        return np.maximum(fits, 0, out=fits)

    # Which nodes.

    def eligible(self, flavor: FlavorSpec, pods: PodSet, avoid: frozenset[str] = frozenset()) -> NDArray[np.bool_]:
        """Nodes that may take such a pod if they have room, (nodes,). Read-only unless `avoid` names a node."""
        key = (
            tuple(sorted(flavor.node_selector.items())),
            tuple(flavor.tolerations),
            pods.node_selector,
            pods.tolerations,
        )
        found = self._masks.get(key)
        if found is None:
            rows = np.fromiter((eligible(node, flavor, pods) for node in self.nodes), np.bool_, len(self.nodes))
            rows.flags.writeable = False
            if len(self._masks) >= _REMEMBERED:
                self._masks.clear()
            found = self._masks[key] = _Mask(rows, flavor, pods)
        avoided = [self.row[name] for name in avoid if name in self.row]
        if not avoided:
            return found.rows
        without = found.rows.copy()
        without[avoided] = False
        return without

    def domains(self, *labels: str) -> NDArray[np.int64]:
        """Number of each node's domain by the values of labels, (nodes,); -1 if one is missing. Numbered in the values' order."""
        found = self._domains.get(labels)
        if found is None:
            values = [tuple(node.labels.get(label) for label in labels) for node in self.nodes]
            there = sorted({each for each in values if None not in each})
            number = {value: place for place, value in enumerate(there)}
            found = np.fromiter((number.get(each, -1) for each in values), np.int64, len(values))
            found.flags.writeable = False
            self._domains[labels] = found
        return found

    # Nodes come, change and go.

    def set_node(self, node: NodeView) -> None:
        """A node changed: its labels, health, or what it offers. What is taken stays taken. KeyError for an unknown name."""
        row = self.row[node.name]
        old = self.nodes[row]
        self._widen(node)
        self.nodes = [*self.nodes[:row], node, *self.nodes[row + 1 :]]
        offered = self._vector(node)
        self.free[row] += offered - self.capacity[row]
        self.capacity = self.capacity.copy()
        self.capacity[row] = offered
        self._set_devices(row, _devices(node))
        if old.labels != node.labels:
            self._domains = {}
        for key, mask in self._masks.items():
            rows = mask.rows.copy()
            rows[row] = eligible(node, mask.flavor, mask.pods)
            rows.flags.writeable = False
            self._masks[key] = _Mask(rows, mask.flavor, mask.pods)

    def add_node(self, node: NodeView) -> None:
        """A node came, or came back; what is still held there from before stays held."""
        if node.name in self.row:
            self.set_node(node)
            return
        self._widen(node)
        self.row = {**self.row, node.name: len(self.nodes)}
        self.nodes = [*self.nodes, NodeView(node.name, {}, {}, ready=False)]
        empty = np.zeros((1, len(self.columns)), dtype=np.int64)
        idle = np.zeros((1, self.gpu_free.shape[1]), dtype=np.int32)
        self.capacity, self.free = np.vstack([self.capacity, empty]), np.vstack([self.free, empty])
        self.gpu_capacity, self.gpu_free = np.vstack([self.gpu_capacity, idle]), np.vstack([self.gpu_free, idle])
        self.order = _name_order(self.nodes)
        self._asks, self._masks, self._domains = {}, {}, {}
        self.set_node(node)

    def remove_node(self, name: str) -> None:
        """A node is gone: it offers nothing and takes no pods. Its row stays, for what is given back later."""
        if name in self.row:
            self.set_node(NodeView(name, {}, {}, ready=False))

    # How it is done.

    def _ask(self, requests: Amounts) -> Ask:
        wanted = {**{name: amount for name, amount in requests.items() if amount > 0}, PODS: _ONE_POD}
        gpu = wanted.get(GPU, 0)
        part = gpu if gpu < DEVICE else 0
        whole = 0 if part else -(-gpu // DEVICE)
        if whole:
            wanted[GPU] = whole * DEVICE
        known = tuple((self.columns[name], amount) for name, amount in wanted.items() if name in self.columns)
        return Ask(known, whole, part, unknown=len(known) < len(wanted))

    def _choose(self, row: int, ask: Ask) -> tuple[tuple[int, int], ...]:
        """Devices for a pod; beyond what is free, those with the most left."""
        if not ask.whole and not ask.part:
            return ()
        left = self.gpu_free[row].tolist()
        if ask.part:
            enough = [(free, device) for device, free in enumerate(left) if free >= ask.part]
            if enough:
                return ((min(enough)[1], ask.part),)
        idle = [device for device, free in enumerate(left) if free >= DEVICE]
        if ask.whole and len(idle) >= ask.whole:
            return tuple((device, DEVICE) for device in idle[: ask.whole])
        there = np.flatnonzero(self.gpu_capacity[row]).tolist()
        if not there:
            return ()
        fallback = sorted(there, key=lambda device: (-left[device], device))
        if ask.part:
            return ((fallback[0], ask.part),)
        return tuple((fallback[number % len(fallback)], DEVICE) for number in range(min(ask.whole, _MOST_DEVICES)))

    def _vector(self, node: NodeView) -> NDArray[np.int64]:
        vector = np.zeros(len(self.columns), dtype=np.int64)
        for name, amount in node.allocatable.items():
            vector[self.columns[name]] = amount
        return vector

    def _widen(self, node: NodeView) -> None:
        """Make columns and cells for what no node had before."""
        new = sorted(set(node.allocatable) - set(self.columns))
        if new:
            self.columns = {**self.columns, **{name: len(self.columns) + place for place, name in enumerate(new)}}
            self.capacity = np.pad(self.capacity, ((0, 0), (0, len(new))))
            self.free = np.pad(self.free, ((0, 0), (0, len(new))))
        more = _devices(node) - self.gpu_free.shape[1]
        if more > 0:
            self.gpu_capacity = np.pad(self.gpu_capacity, ((0, 0), (0, more)))
            self.gpu_free = np.pad(self.gpu_free, ((0, 0), (0, more)))
        if new or more > 0:
            self._asks = {}

    def _set_devices(self, row: int, count: int) -> None:
        """Nobody says which device left: an idle one, as the kubelet's count lets others use the rest."""
        there = np.flatnonzero(self.gpu_capacity[row]).tolist()
        if len(there) == count:
            return
        self.gpu_capacity = self.gpu_capacity.copy()
        if len(there) > count:
            leave = sorted(there, key=lambda device: (-self.gpu_free[row, device], -device))[: len(there) - count]
            self.gpu_capacity[row, leave] = 0
            self.gpu_free[row, leave] -= DEVICE
        else:
            absent = np.flatnonzero(self.gpu_capacity[row] == 0)
            come = sorted(absent.tolist(), key=lambda device: (self.gpu_free[row, device], device))
            self.gpu_capacity[row, come[: count - len(there)]] = DEVICE
            self.gpu_free[row, come[: count - len(there)]] += DEVICE


def _devices(node: NodeView) -> int:
    return min(_MOST_DEVICES, max(0, node.allocatable.get(GPU, 0)) // DEVICE)


def _name_order(nodes: Sequence[NodeView]) -> NDArray[np.int64]:
    place = np.empty(len(nodes), dtype=np.int64)
    place[sorted(range(len(nodes)), key=lambda row: nodes[row].name)] = np.arange(len(nodes))
    return place
