"""A month of a fleet, event by event: the scheduler's own engine places gangs, faults strike them, and they go on as the operator would have it.

A gang that loses a node is given another one by a spare of its own (`training.spares`), else by the scheduler (`scheduling.mending`), and
gives its place back where there is none within `MEND_SECONDS`. What the scheduler holds against nodes it is told as the operator tells
it. How often a gang saves is the trainer's own decision (`trainer/cadence.py`), by what the operator has learned until then of how often
gangs are interrupted (`nodes/interruptions.py`), which begins at the published rate. Everything follows from the seed: the same faults and jobs for every choice of remedies.
"""

import heapq
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random

from trainer.cadence import FIRST_SECONDS, Measured, cadence

from tests.bench.chaos_faults import DAY, Fault, Fleet, Strikes, faults
from tests.bench.chaos_work import HOUR, Gang, gangs
from tests.builders import EVERYBODY
from trainyard.api.admission import JobAdmission, compact
from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU, SPARE, WORKER
from trainyard.api.queue import QueueSpec
from trainyard.nodes.interruptions import Interruptions, expected
from trainyard.scheduling.cycle import Cycle
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.snapshot import Assignment, NodeView, PodSet, Workload, WorkloadKey
from trainyard.training.spares import stood_in
from trainyard.workloads.times import MEND_SECONDS

FLAVOR, QUEUE, NAMESPACE = "gpu", "research", "chaos"
_MILLI = 1000


@dataclass(frozen=True, slots=True)
class Remedies:
    """What is done against faults."""

    spares: bool = True
    """A large gang has a node that stands by."""
    in_place: bool = True
    """Programs start again in their pods, and a lost pod is replaced alone; else the whole gang is made anew."""
    avoid: bool = True
    """Nodes on which jobs failed in the last week are the last choice."""
    auto: bool = True
    """Checkpoints as `checkpointEverySteps: auto` makes them, by the trainer's own decision and what the operator learns; else once an hour."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds. Those of a restart are measured, docs/benchmarks.md: recovery and startup."""

    in_place: float = 3.36
    pod: float = 6.63
    node: float = 30.88
    """A node that falls silent; 25 s of it are noticing."""
    gang: float = 6.63 + 2.95
    """All pods are taken away and made again, then everything starts: the sum of two figures."""
    load: float = 120.0
    """What the job's own program needs to read its checkpoint and compile: an assumption."""
    save: float = 6.3
    """How long a checkpoint that is written meanwhile holds training up: of a model of 7 billion weights, pytorch.org/blog/reducing-checkpointing-times."""
    write: float = 148.8
    """Until it is durable: what the same took there before it was written meanwhile."""
    repair_gpu: float = 6 * HOUR
    """Until the node takes pods again: an assumption, as the next."""
    repair_host: float = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Month:
    """What is simulated."""

    seed: int
    remedies: Remedies = field(default_factory=Remedies)
    fleet: Fleet = field(default_factory=Fleet)
    days: float = 30.0
    load: float = 1.1
    times: float = 1.0
    """How many times as often as published something breaks."""
    spares_from: int = 16
    """Nodes from which on a gang has a spare."""
    remembered: float = 7 * DAY
    costs: Costs = field(default_factory=Costs)

    @property
    def seconds(self) -> float:
        return self.days * DAY


@dataclass(slots=True)
class Figures:
    """GPU-seconds."""

    available: float = 0.0
    useful: float = 0.0
    """Steps that lasted."""
    redone: float = 0.0
    """Steps that a restart had to make again."""
    recovering: float = 0.0
    """Held from a fault, or from a start, to the first step."""
    saving: float = 0.0
    spare: float = 0.0
    """Held by nodes that stood by."""
    interruptions: int = 0
    """Of jobs."""
    placed_anew: int = 0
    """Of these, those after which the place was given back."""

    @property
    def goodput(self) -> float:
        return self.useful / self.available

    @property
    def held(self) -> float:
        """By jobs, whatever for."""
        return self.useful + self.redone + self.recovering + self.saving + self.spare

    @property
    def efficiency(self) -> float:
        """What of the GPU time that jobs held was useful: free of how well the month's jobs happened to fit."""
        return self.useful / self.held


@dataclass(slots=True)
class _Run:
    """A gang and how far it is."""

    gang: Gang
    every: float = HOUR
    """Seconds of training between two checkpoints."""
    first: float = HOUR
    """And from the beginning, or a restart, to the first one."""
    trained: float = 0.0
    """Seconds, those included that a restart made again."""
    interrupted: int = 0
    kept: float = 0.0
    """Seconds of training that are in a checkpoint."""
    held_since: float | None = None
    trains_from: float = 0.0
    version: int = 0
    """Counted up whenever its end moves."""
    nodes: tuple[str, ...] = ()


class Simulation:
    """One month."""

    def __init__(self, month: Month) -> None:
        self.month, self.figures = month, Figures()
        fleet, random = month.fleet, Random(month.seed)
        self._faults = list(faults(random, fleet, month.seconds, month.times))
        jobs = gangs(random, fleet.nodes * fleet.gpus, month.seconds, month.load)
        self._runs = {_key(each): _Run(each) for each in jobs}
        self._names = [f"node-{number:03}" for number in range(fleet.nodes)]
        self._down: dict[str, float] = {}
        self._blame: list[tuple[float, str]] = []
        self._on: dict[str, dict[WorkloadKey, int]] = defaultdict(dict)
        """By node, GPUs that each gang holds there."""
        self._events: list[tuple[float, int, str, object]] = []
        self._number = 0
        self._learned = Interruptions()
        self._busy, self._learned_until = 0, 0.0
        """GPUs of gangs that hold a place, and until when the operator has learned of them."""
        self.engine = Engine()
        self.engine.configure(
            queues={QUEUE: _queue(fleet.nodes * fleet.gpus)},
            flavors={FLAVOR: FlavorSpec()},
            namespaces={NAMESPACE: {"kubernetes.io/metadata.name": NAMESPACE}},
        )
        self._tell_nodes()

    def run(self) -> Figures:
        month = self.month
        for run in self._runs.values():
            self._at(run.gang.submitted, "arrives", _key(run.gang))
        for fault in self._faults:
            self._at(fault.at, "strikes", fault)
        while self._events and self._events[0][0] < month.seconds:
            now = self._events[0][0]
            while self._events and self._events[0][0] <= now:
                _, _, what, of = heapq.heappop(self._events)
                getattr(self, f"_{what}")(now, of)
            self._schedule(now)
        for run in self._runs.values():
            if run.held_since is not None:
                self._settle(run, month.seconds, lasts=True)
        self.figures.available = month.fleet.nodes * month.fleet.gpus * month.seconds
        return self.figures

    # What happens.

    def _arrives(self, _now: float, key: WorkloadKey) -> None:
        self.engine.arrive(self._workload(key))

    def _ends(self, now: float, of: tuple[WorkloadKey, int]) -> None:
        key, version = of
        run = self._runs[key]
        if run.version != version or run.held_since is None:
            return
        self._settle(run, now, lasts=True)
        self._leave(now, key, run)

    def _strikes(self, now: float, fault: Fault) -> None:
        node = self._names[fault.node]
        if node in self._down:
            return
        hit = self._hit(node, fault)
        there = list(self._on[node])
        if fault.cause.strikes is Strikes.PROGRAM:
            for key in hit:
                self._restart(now, key, self._cost(fault), lost=True)
            return
        repair = self.month.costs.repair_gpu if fault.cause.strikes is Strikes.GPU else self.month.costs.repair_host
        self._down[node] = now + repair
        self._at(now + repair, "repaired", node)
        self._blame += [(now, node)] * len(hit)
        self._tell_nodes(now)
        for key in there:
            # A drain lets those write a checkpoint first that the fault left alone.
            self._restart(now, key, self._cost(fault), lost=key in hit)
            self._find_another(now, key, node)

    def _repaired(self, now: float, node: str) -> None:
        del self._down[node]
        self._tell_nodes(now)

    def _gives_back(self, now: float, of: tuple[WorkloadKey, int]) -> None:
        """No other node was found in time."""
        key, version = of
        run = self._runs[key]
        if run.version != version or run.held_since is None or not self._lost(run):
            return
        self._settle(run, now, lasts=True)
        self._leave(now, key, run)
        self.figures.placed_anew += 1
        self.engine.arrive(self._workload(key))

    # What follows.

    def _schedule(self, now: float) -> None:
        cycle = Cycle(self.engine, now)
        for each in cycle.run():
            run = self._runs[each.key]
            self._take(each.key, each.assignment)
            self._begin(now, each.key, run, self.month.costs.gang)
        for change in cycle.resized:
            self._take(change.key, change.assignment)
            workload = replace(self.engine.running[change.key].workload, admission=change.assignment, lost=frozenset())
            self.engine.confirm(workload, now)

    def _find_another(self, now: float, key: WorkloadKey, node: str) -> None:
        """By a spare at once; else the scheduler is told of the wound, and has so long to heal it."""
        held = self.engine.running[key]
        place = JobAdmission(
            epoch=1,
            queue=QUEUE,
            flavor=FLAVOR,
            time=datetime.fromtimestamp(now, UTC),
            roles=[compact(role, list(nodes)) for role, nodes in held.assignment.nodes.items()],
        )
        if (mended := stood_in(place, {node})) is not None:
            assignment = Assignment(FLAVOR, {role.name: tuple(role.nodes()) for role in mended.roles})
            workload = replace(held.workload, pods=_pods(held.workload.pods, assignment), admission=assignment)
            self.engine.finish(key)
            self.engine.hold(workload, assignment, now)
            self._take(key, assignment)
            return
        lost = held.workload.lost | {node}
        self.engine.confirm(replace(held.workload, admission=held.assignment, lost=lost), now)
        self._at(now + MEND_SECONDS, "gives_back", (key, self._runs[key].version))

    def _restart(self, now: float, key: WorkloadKey, cost: float, *, lost: bool) -> None:
        run = self._runs[key]
        self.figures.interruptions += lost
        run.interrupted += lost
        self._learn(now, interruptions=int(lost))
        self._settle(run, now, lasts=not lost)
        self._begin(now, key, run, cost)

    def _begin(self, now: float, key: WorkloadKey, run: _Run, cost: float) -> None:
        self._learn(now)
        self._busy += run.gang.gpus * (run.held_since is None)
        if self.month.remedies.auto:
            run.first, run.every = FIRST_SECONDS, self._interval(run, now)
        run.held_since, run.trains_from = now, now + cost + self.month.costs.load
        run.version += 1
        left = run.gang.work - run.kept
        checkpoints = max(0, -(-(left - run.first) // run.every))
        self._at(run.trains_from + left + checkpoints * self.month.costs.save, "ends", (key, run.version))

    def _settle(self, run: _Run, now: float, *, lasts: bool) -> None:
        """Count what it did since it holds its place. lasts: whether what is in no checkpoint is kept, too."""
        assert run.held_since is not None
        gpus, save, figures = run.gang.gpus, self.month.costs.save, self.figures
        spare = self.month.fleet.gpus * self._spares(run.gang)
        figures.spare += spare * (now - run.held_since)
        figures.recovering += gpus * (min(now, run.trains_from) - run.held_since)
        trained = max(0.0, now - run.trains_from)
        whole, saved, rest = 0.0, 0.0, min(trained, run.first)
        if trained >= run.first + save:
            more, rest = divmod(trained - run.first - save, run.every + save)
            whole, saved, rest = more + 1, run.first + more * run.every, min(rest, run.every)
        run.trained += saved + rest
        kept = min(saved + (rest if lasts else 0.0), run.gang.work - run.kept)
        figures.useful += gpus * kept
        figures.redone += 0.0 if lasts else gpus * rest
        figures.saving += gpus * whole * save
        run.kept += kept
        run.held_since = now

    def _cost(self, fault: Fault) -> float:
        """Seconds from the fault until the program starts to load."""
        costs = self.month.costs
        noticing = costs.node - costs.pod if fault.cause.strikes is Strikes.HOST else 0.0
        if not self.month.remedies.in_place:
            return noticing + costs.gang
        return noticing + (costs.in_place if fault.cause.strikes is Strikes.PROGRAM else costs.pod)

    # Who is where.

    def _hit(self, node: str, fault: Fault) -> list[WorkloadKey]:
        """All of a host; of a program or a GPU whoever holds the GPU that is struck."""
        there = sorted(self._on[node].items())
        if fault.cause.strikes is Strikes.HOST:
            return [key for key, _ in there]
        slot = int(fault.where * self.month.fleet.gpus)
        for key, gpus in there:
            if slot < gpus:
                return [key]
            slot -= gpus
        return []

    def _take(self, key: WorkloadKey, assignment: Assignment) -> None:
        self._forget_place(key)
        run = self._runs[key]
        nodes = assignment.nodes.get(WORKER, ())
        run.nodes = nodes
        for name in nodes:
            self._on[name][key] = min(run.gang.gpus, self.month.fleet.gpus)

    def _leave(self, now: float, key: WorkloadKey, run: _Run) -> None:
        self._learn(now)
        self._busy -= run.gang.gpus
        self._forget_place(key)
        self.engine.finish(key)
        run.held_since, run.version = None, run.version + 1

    def _forget_place(self, key: WorkloadKey) -> None:
        for name in self._runs[key].nodes:
            self._on[name].pop(key, None)
        self._runs[key].nodes = ()

    def _lost(self, run: _Run) -> bool:
        return any(name in self._down for name in run.nodes)

    def _tell_nodes(self, now: float = 0.0) -> None:
        fleet = self.month.fleet
        offers = {GPU: fleet.gpus * _MILLI, "pods": 110 * _MILLI}
        self.engine.set_nodes([NodeView(name, {}, offers, ready=name not in self._down) for name in self._names])
        if self.month.remedies.avoid:
            counts: dict[str, int] = defaultdict(int)
            for at, name in self._blame:
                counts[name] += now - at < self.month.remembered
            self.engine.set_failures({name: count for name, count in sorted(counts.items()) if count})

    def _workload(self, key: WorkloadKey) -> Workload:
        run, fleet = self._runs[key], self.month.fleet
        gang = run.gang
        each = PodSet(WORKER, -(-gang.gpus // fleet.gpus), {GPU: min(gang.gpus, fleet.gpus) * _MILLI})
        spares = self._spares(gang)
        pods = (each, replace(each, role=SPARE, count=spares)) if spares else (each,)
        created = datetime.fromtimestamp(gang.submitted, UTC)
        return Workload(key, gang.name, QUEUE, created, pods, duration=gang.work - run.kept, preemptible=False)

    def _spares(self, gang: Gang) -> int:
        return int(self.month.remedies.spares and gang.gpus >= self.month.spares_from * self.month.fleet.gpus)

    # How often it saves.

    def _interval(self, run: _Run, now: float) -> float:
        rate = run.gang.gpus * self._learned.rate(FLAVOR, datetime.fromtimestamp(now, UTC))
        mtbf = HOUR / expected(rate, run.trained / HOUR, run.interrupted)
        return cadence(Measured(self.month.costs.save, self.month.costs.write, step=1.0), mtbf).seconds

    def _learn(self, now: float, interruptions: int = 0) -> None:
        """What the operator is told of since the last time."""
        hours = self._busy * (now - self._learned_until) / HOUR
        self._learned.ran(FLAVOR, hours, interruptions, datetime.fromtimestamp(now, UTC))
        self._learned_until = now

    def _at(self, time: float, what: str, of: object) -> None:
        self._number += 1
        heapq.heappush(self._events, (time, self._number, what, of))


def _key(gang: Gang) -> WorkloadKey:
    return WorkloadKey("TrainingJob", NAMESPACE, gang.name)


def _pods(pods: tuple[PodSet, ...], place: Assignment) -> tuple[PodSet, ...]:
    """Without the spares that were used."""
    return tuple(replace(each, count=len(place.nodes[each.role])) for each in pods if place.nodes.get(each.role))


def _queue(gpus: int) -> QueueSpec:
    quota = {"name": FLAVOR, "resources": [{"name": GPU, "guaranteed": str(gpus)}]}
    return QueueSpec.model_validate({"namespaceSelector": EVERYBODY, "flavors": [quota]})
