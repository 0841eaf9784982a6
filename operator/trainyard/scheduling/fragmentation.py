"""How much of the free GPU capacity a typical task could not use: the measure that placement by fragmentation gradient lowers.

A free GPU is worth nothing to a task whose CPU does not fit on that node, and two half-free GPUs are worth nothing to one that
needs a whole one. Weng et al., Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent,
USENIX ATC 2023. Everything is counted in integers, so that equal states score equal and rounding never decides.
Neighbours: `policies` asks for scores; `fleet` says what is free.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trainyard.api.names import GPU
from trainyard.scheduling.fleet import DEVICE, Fleet
from trainyard.scheduling.resources import Amounts
from trainyard.scheduling.snapshot import Workload

Ints = NDArray[np.int64]
POPULARITY = 0.95
"""Typical are the most frequent tasks that together make up this part of all."""


@dataclass(frozen=True, slots=True)
class TaskClass:
    """Tasks that ask for the same and may run on the same nodes."""

    requests: tuple[tuple[str, int], ...]
    """(resource, thousandths), sorted; only what decides whether a GPU is of use."""
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(label, values of which the node has one)."""


@dataclass(frozen=True, slots=True)
class TaskClasses:
    """Typical tasks and how often each comes."""

    classes: tuple[TaskClass, ...] = ()
    weights: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.classes)


def task_class(
    requests: Amounts, where: tuple[tuple[str, tuple[str, ...]], ...] = (), resources: tuple[str, ...] = ("cpu", GPU)
) -> TaskClass:
    """The class of a task, by those of its requests that matter."""
    return TaskClass(tuple(sorted((name, requests[name]) for name in resources if requests.get(name, 0) > 0)), where)


def learn_classes(seen: Iterable[TaskClass] | Mapping[TaskClass, int], popularity: float = POPULARITY) -> TaskClasses:
    """The most frequent of the tasks seen, until they are `popularity` of all; of equally frequent ones the smaller class first."""
    counts = Counter(seen)
    total, so_far = sum(counts.values()), 0
    chosen: list[tuple[TaskClass, int]] = []
    for task, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0].requests, pair[0].where)):
        if so_far >= popularity * total:
            break
        chosen.append((task, count))
        so_far += count
    return TaskClasses(tuple(task for task, _ in chosen), tuple(count for _, count in chosen))


@dataclass(eq=False, slots=True)
class Measure:
    """Typical tasks in the columns of a fleet."""

    columns: Ints
    """(constraints,) columns of the fleet that decide besides GPUs."""
    asked: Ints
    """(classes, constraints) thousandths."""
    level: Ints
    """(classes,) index of the milli-GPU that the class needs of a device."""
    levels: NDArray[np.int32]
    """(levels,) milli-GPU."""
    devices: Ints
    """(classes,) devices needed."""
    weights: Ints
    """(classes,)."""
    access: NDArray[np.bool_]
    """(nodes, classes) the class may run there at all."""
    weight: int
    """Of all typical tasks, those without GPUs among them."""

    def expected(self, rows: Ints, free: Ints, devices: NDArray[np.int32]) -> Ints:
        """GPU capacity of each node that typical tasks cannot use, in milli-GPU times `weight`.

        rows: (k,) of the fleet. free: (k, constraints). devices: (k, GPUs) milli-GPU free. Returns (k,).
        """
        left = np.maximum(devices, 0)
        total = left.sum(axis=1, dtype=np.int64)
        enough = left[:, :, None] >= self.levels
        count = enough.sum(axis=1, dtype=np.int64)
        useful = (left[:, :, None] * enough).sum(axis=1, dtype=np.int64)
        runs = self.access[rows] & (count[:, self.level] >= self.devices)
        for number in range(len(self.columns)):
            runs &= free[:, number, None] >= self.asked[:, number]
        result: Ints = total * self.weight - (useful[:, self.level] * runs) @ self.weights
        return result


def measure(fleet: Fleet, typical: TaskClasses) -> Measure:
    """Prepare to measure a fleet by typical tasks. Those without GPUs find every GPU useless, wherever it is."""
    pairs = list(zip(typical.classes, typical.weights, strict=True))
    with_gpu = [(dict(task.requests), task.where, weight) for task, weight in pairs if dict(task.requests).get(GPU)]
    names = sorted({name for asked, _, _ in with_gpu for name in asked if name != GPU and name in fleet.columns})
    milli = [min(DEVICE, asked[GPU]) for asked, _, _ in with_gpu]
    levels = sorted(set(milli))
    places = {where: _matching(fleet, where) for _, where, _ in with_gpu}
    nobody = np.zeros((len(fleet.nodes), 0), dtype=np.bool_)
    return Measure(
        columns=np.array([fleet.columns[name] for name in names], dtype=np.int64),
        asked=np.array([[asked.get(name, 0) for name in names] for asked, _, _ in with_gpu], dtype=np.int64).reshape(
            len(with_gpu), len(names)
        ),
        level=np.array([levels.index(each) for each in milli], dtype=np.int64),
        levels=np.array(levels, dtype=np.int32),
        devices=np.array([max(1, -(-asked[GPU] // DEVICE)) for asked, _, _ in with_gpu], dtype=np.int64),
        weights=np.array([weight for _, _, weight in with_gpu], dtype=np.int64),
        access=np.stack([places[where] for _, where, _ in with_gpu], axis=1) if with_gpu else nobody,
        weight=sum(typical.weights),
    )


def fragmented(fleet: Fleet, typical: TaskClasses) -> float:
    """GPU capacity of the whole fleet that a typical task cannot use on average, in GPUs."""
    return unusable(fleet, typical, np.arange(len(fleet.nodes), dtype=np.int64))


def unusable(fleet: Fleet, typical: TaskClasses, rows: Ints) -> float:
    """Of these rows alone, in GPUs."""
    if not typical or not rows.size:
        return 0.0
    ruler = measure(fleet, typical)
    lost = ruler.expected(rows, fleet.free[rows][:, ruler.columns], fleet.gpu_free[rows])
    return float(sum(lost.tolist()) / ruler.weight / DEVICE)


def tasks_of(workloads: Iterable[Workload]) -> Counter[TaskClass]:
    """Pods of everything that runs or waits for a GPU."""
    found: Counter[TaskClass] = Counter()
    for workload in workloads:
        for each in workload.pods:
            if each.requests.get(GPU):
                found[task_class(each.requests)] += each.count
    return found


def _matching(fleet: Fleet, where: tuple[tuple[str, tuple[str, ...]], ...]) -> NDArray[np.bool_]:
    return np.array(
        [all(node.labels.get(label) in values for label, values in where) for node in fleet.nodes], dtype=np.bool_
    )


@dataclass(slots=True)
class Arrivals:
    """Learns typical tasks from what has arrived; what came long ago is forgotten by half again and again."""

    limit: int = 20_000
    """When so many are counted, all counts are halved."""
    _counts: Counter[TaskClass] = field(default_factory=Counter)
    _since: int = 0
    _learned: TaskClasses = field(default_factory=TaskClasses)

    def saw(self, task: TaskClass, count: int = 1) -> None:
        """So many tasks of a class arrived."""
        self._counts[task] += count
        self._since += count
        if self._counts.total() >= self.limit:
            self._counts = Counter({each: left // 2 for each, left in self._counts.items() if left > 1})

    def typical(self) -> TaskClasses:
        """Typical tasks so far; learned anew whenever a twentieth has come on top."""
        if self._since and self._since * 20 >= self._counts.total():
            self._learned, self._since = learn_classes(self._counts), 0
        return self._learned
