"""Many short jobs in many queues under a simulated clock: the shape with which Kueue measures its scheduler, without an API server.

The engine's own CPU time is charged to the simulated clock: while it thinks, nothing starts and what runs goes on ending. The
same load under a scheduler that costs nothing says how much of the result is the load's and how much is ours.
Shape: Kueue test/performance/scheduler, configs baseline, large-scale and tas.
"""

import heapq
import itertools
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.builders import EVERYBODY
from trainyard.api.flavor import FlavorSpec
from trainyard.api.queue import QueueSpec
from trainyard.scheduling.cycle import Cycle
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.snapshot import NodeView, PodSet, Topology, Workload, WorkloadKey

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN = EPOCH.timestamp()
FLAVOR = "cpu"


@dataclass(frozen=True, slots=True)
class JobKind:
    """Equal jobs that arrive at a steady rate in each queue."""

    name: str
    count: int
    units: int
    seconds: float
    priority: int
    every_seconds: float
    pods: int = 1
    topology: Topology | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """Trees of queues with the same jobs in each queue."""

    trees: int
    queues: int
    kinds: tuple[JobKind, ...]
    guaranteed: int = 20
    borrow: int = 100
    nodes: tuple[NodeView, ...] = ()

    def arrivals(self) -> Iterator[tuple[float, JobKind, Workload]]:
        """(seconds since the start, kind, workload), in no order."""
        for tree, number, kind in itertools.product(range(self.trees), range(self.queues), self.kinds):
            queue = f"tree-{tree}-queue-{number}"
            for index in range(kind.count):
                at = index * kind.every_seconds
                key = WorkloadKey("TrainingJob", "bench", f"{queue}-{kind.name}-{index}")
                pods = (PodSet("worker", kind.pods, {"cpu": kind.units * 1000 // kind.pods}),)
                yield (
                    at,
                    kind,
                    Workload(
                        key,
                        key.name,
                        queue,
                        EPOCH + timedelta(seconds=at),
                        pods,
                        priority=kind.priority,
                        duration=kind.seconds,
                        topology=kind.topology,
                    ),
                )

    def specs(self) -> dict[str, QueueSpec]:
        """The queues."""
        found = {}
        for tree in range(self.trees):
            found[f"tree-{tree}"] = QueueSpec.model_validate({})
            for number in range(self.queues):
                quota = {"name": "cpu", "guaranteed": self.guaranteed, "limit": self.guaranteed + self.borrow}
                found[f"tree-{tree}-queue-{number}"] = QueueSpec.model_validate(
                    {
                        "parent": f"tree-{tree}",
                        "namespaceSelector": EVERYBODY,
                        "flavors": [{"name": FLAVOR, "resources": [quota]}],
                    }
                )
        return found

    def engine(self) -> Engine:
        """An engine that knows queues and nodes; without nodes of its own, one that is never short of anything."""
        engine = Engine()
        units = self.trees * self.queues * (self.guaranteed + self.borrow)
        everything = NodeView("all", {}, {"cpu": units * 1000, "pods": 10**9})
        engine.set_nodes(self.nodes or (everything,))
        engine.configure(
            queues=self.specs(),
            flavors={FLAVOR: FlavorSpec(resources=["cpu"])},
            namespaces={"bench": {"kubernetes.io/metadata.name": "bench"}},
        )
        return engine


@dataclass(slots=True)
class Outcome:
    """What a run came to."""

    cpu_seconds: float = 0.0
    makespan: float = 0.0
    use_percent: float = 0.0
    """Mean use of all quota while anything waited."""
    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds from arrival to admission, by kind."""
    cycles: int = 0

    def mean_wait(self, kind: str) -> float:
        return sum(self.waits[kind]) / len(self.waits[kind])


class Run:
    """One run of a load."""

    def __init__(self, load: Load, *, free: bool) -> None:
        """free: the engine's work takes no time on the simulated clock."""
        self.load, self.free, self.engine, self.outcome = load, free, load.engine(), Outcome()
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, JobKind, Workload | None, WorkloadKey]] = []
        for at, kind, workload in load.arrivals():
            heapq.heappush(self._events, (at, next(self._numbers), kind, workload, workload.key))
        self._kinds = {event[4]: event[2] for event in self._events}
        self._held = self._used_time = self._waiting_time = 0.0
        self._clock = 0.0

    def run(self) -> Outcome:
        capacity = self.load.trees * self.load.queues * self.load.guaranteed
        while self._events:
            self._advance(max(self._clock, self._events[0][0]))
            self._charge(self._take_events)
            self._charge(self._cycle)
        self.outcome.makespan = self._clock
        self.outcome.use_percent = 100 * self._used_time / (capacity * self._waiting_time)
        return self.outcome

    def _advance(self, to: float) -> None:
        """Let time pass up to `to`; what ends on the way gives its quota back only when the engine is told."""
        if len(self.engine.pending):
            self._used_time += self._held * (to - self._clock)
            self._waiting_time += to - self._clock
        self._clock = to

    def _charge(self, work: Callable[[], None]) -> None:
        began = time.process_time()
        work()
        spent = time.process_time() - began
        self.outcome.cpu_seconds += spent
        if not self.free:
            self._advance(self._clock + spent)

    def _take_events(self) -> None:
        while self._events and self._events[0][0] <= self._clock:
            _, _, kind, workload, key = heapq.heappop(self._events)
            if workload is not None:
                self.engine.arrive(workload)
            else:
                self.engine.finish(key)
                self._held -= kind.units

    def _cycle(self) -> None:
        self.outcome.cycles += 1
        for each in Cycle(self.engine, BEGIN + self._clock).run():
            kind = self._kinds[each.key]
            created = self.engine.running[each.key].workload.created.timestamp() - BEGIN
            self.outcome.waits[kind.name].append(self._clock - created)
            self._held += kind.units
            heapq.heappush(self._events, (self._clock + kind.seconds, next(self._numbers), kind, None, each.key))


def report(name: str, load: Load) -> Mapping[str, float]:
    """Run a load both ways and print a JSON line for each figure."""
    ours, ideal = Run(load, free=False).run(), Run(load, free=True).run()
    figures = {
        "cpu_seconds": (ours.cpu_seconds, "s"),
        "use_while_backlog": (ours.use_percent, "%"),
        "makespan": (ours.makespan, "s"),
        "makespan_ratio": (ours.makespan / ideal.makespan, "x a scheduler that costs nothing"),
        **{
            f"wait_ratio/{kind.name}": (
                ours.mean_wait(kind.name) / max(ideal.mean_wait(kind.name), 1e-9),
                "x a scheduler that costs nothing",
            )
            for kind in load.kinds
        },
        **{f"wait/{kind.name}": (ours.mean_wait(kind.name), "s") for kind in load.kinds},
        **{f"ideal_wait/{kind.name}": (ideal.mean_wait(kind.name), "s") for kind in load.kinds},
        "jobs_per_cpu_second": (sum(map(len, ours.waits.values())) / ours.cpu_seconds, "1/s"),
        "cycles": (ours.cycles, ""),
    }
    shape = {
        "jobs": sum(map(len, ours.waits.values())),
        "queues": load.trees * load.queues,
        "trees": load.trees,
        "nodes": len(load.nodes),
        "cores": os.cpu_count(),
    }
    for key, (value, unit) in figures.items():
        print(json.dumps({"name": f"{name}/{key}", "value": round(value, 3), "unit": unit, **shape}), flush=True)
    return {key: value for key, (value, _) in figures.items()}
