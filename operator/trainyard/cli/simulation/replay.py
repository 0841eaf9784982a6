"""Jobs replayed through time on the scheduler itself: when each starts, what that does to waiting, use and fairness.

The clock jumps from event to event; at each, jobs end, jobs arrive, and one cycle decides. Nobody preempts: a trace does not say
what a job would lose.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Literal

import numpy as np

from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU
from trainyard.api.queue import QueueSpec
from trainyard.cli.simulation.figures import Curve, QueueTimes, Result
from trainyard.scheduling.cycle import Cycle
from trainyard.scheduling.durations import Durations, Features
from trainyard.scheduling.engine import Engine, Options
from trainyard.scheduling.fleet import DEVICE
from trainyard.scheduling.fragmentation import TaskClass, fragmented, learn_classes, task_class
from trainyard.scheduling.policies import Placement, Policy
from trainyard.scheduling.snapshot import NodeView, PodSet, Workload, WorkloadKey

Known = Literal["true", "learned", "none"]
"""What the scheduler knows of durations: the trace's own, what earlier jobs teach, nothing."""
NAMESPACE = "simulated"
_SAMPLES = 400


@dataclass(frozen=True, slots=True)
class Job:
    """Something that arrives, wants its pods placed together, runs and ends. Times are seconds."""

    name: str
    queue: str
    submitted: float
    seconds: float
    pods: tuple[PodSet, ...]
    flavors: tuple[str, ...] = ()

    @property
    def gpus(self) -> float:
        return sum(each.count * each.requests.get(GPU, 0) for each in self.pods) / DEVICE

    @property
    def key(self) -> WorkloadKey:
        return WorkloadKey("TrainingJob", NAMESPACE, self.name)


@dataclass(frozen=True, slots=True)
class Site:
    """Where jobs run."""

    nodes: tuple[NodeView, ...]
    queues: Mapping[str, QueueSpec]
    flavors: Mapping[str, FlavorSpec]
    namespaces: Mapping[str, Mapping[str, str]]


def gang(gpus: int, per_node: int) -> tuple[PodSet, ...]:
    """Pods of a job that asks for so many GPUs: whole nodes, and one pod with the rest."""
    whole, rest = divmod(gpus, per_node)
    sets = [PodSet("worker", whole, {GPU: per_node * DEVICE})] if whole else []
    return (*sets, *([PodSet("rest" if whole else "worker", 1, {GPU: rest * DEVICE})] if rest else ()))


def replay(
    site: Site, jobs: Sequence[Job], policy: Policy, known: Known, step: Callable[[], None] = lambda: None
) -> Result:
    """Run all jobs to their ends. step: called for each that arrives or ends."""
    run = Replay(site, jobs, policy, known)
    for _ in run.go():
        step()
    return run.result()


class Replay:
    """One replay, event by event: for those who want to look at it on the way."""

    def __init__(self, site: Site, jobs: Sequence[Job], policy: Policy, known: Known) -> None:
        self.site, self.policy, self.known = site, policy, known
        self.typical = learn_classes(_tasks(jobs))
        self.engine = Engine(Options(placement=lambda: Placement(policy, self.typical)))
        self.engine.configure(queues=site.queues, flavors=site.flavors, namespaces=site.namespaces)
        self.engine.set_nodes(site.nodes)
        self.gpus = int(self.engine.fleet.gpu_capacity.sum()) / DEVICE
        self.durations = Durations()
        self.jobs = {each.key: each for each in jobs}
        self.left_out = 0
        self.started: dict[WorkloadKey, float] = {}
        self.series: list[tuple[float, float]] = []
        """(second, GPUs that are used from then on)."""
        self.lost: list[float] = []
        self._used = 0.0

    def go(self) -> Iterator[None]:
        ordered = sorted(self.jobs.values(), key=lambda job: job.submitted)
        span = ordered[-1].submitted - ordered[0].submitted if ordered else 0.0
        arrivals = [(at, list(same)) for at, same in groupby(ordered, key=lambda job: job.submitted)][::-1]
        ends: list[tuple[float, WorkloadKey]] = []
        sample = ordered[0].submitted if ordered else 0.0
        while arrivals or ends:
            now = min([*(arrivals[-1][:1] if arrivals else ()), *(ends[0][:1] if ends else ())])
            while ends and ends[0][0] <= now:
                self._end(heapq.heappop(ends)[1])
                yield
            arrived = arrivals.pop()[1] if arrivals and arrivals[-1][0] <= now else []
            for job in arrived:
                self._arrive(job)
                yield
            for each in Cycle(self.engine, now).run():
                job = self.jobs[each.key]
                self.started[each.key] = now
                self._used += job.gpus
                heapq.heappush(ends, (now + job.seconds, each.key))
            self.series.append((now, self._used))
            self.settled(now, arrived)
            if arrivals and now >= sample:
                self.lost.append(self._fragmentation())
                sample = now + span / _SAMPLES

    def settled(self, now: float, arrived: Sequence[Job]) -> None:
        """After each cycle, with the jobs that came just before it; for those who want to look on."""

    def _arrive(self, job: Job) -> None:
        workload = Workload(
            job.key,
            job.name,
            job.queue,
            datetime.fromtimestamp(job.submitted, UTC),
            job.pods,
            flavors=job.flavors,
            duration=self._duration(job),
            preemptible=False,
        )
        self.engine.arrive(workload)
        waiting = self.engine.pending.class_of(job.key)
        if waiting is not None and waiting.standing is not None:
            self.engine.withdraw(job.key)
            self.left_out += 1

    def _duration(self, job: Job) -> float | None:
        if self.known == "true":
            return job.seconds
        return self.durations.predict(self._features(job)).expected if self.known == "learned" else None

    def _features(self, job: Job) -> Features:
        return Features(job.queue, job.gpus)

    def _end(self, key: WorkloadKey) -> None:
        job = self.jobs[key]
        self.engine.finish(key)
        self._used -= job.gpus
        if self.known == "learned":
            self.durations.observe(self._features(job), job.seconds)

    def _fragmentation(self) -> float:
        return 100 * fragmented(self.engine.fleet, self.typical) / self.gpus

    def result(self) -> Result:
        allocation = _mean_over_time(self.series, max((job.submitted for job in self.jobs.values()), default=0.0))
        lost = float(np.mean(self.lost)) if self.lost else 0.0
        return Result(
            mode="replay",
            policy=self.policy,
            nodes=len(self.site.nodes),
            gpus=self.gpus,
            jobs=len(self.jobs),
            left_out=self.left_out,
            unfinished=len(self.engine.pending),
            curves=(self._curve(),),
            allocation=(100 * allocation / self.gpus,),
            fragmentation=(lost,),
            queues=tuple(self._queues()),
        )

    def _curve(self) -> Curve:
        """Use over the time of the trace, in per cent of it."""
        if not self.series:
            return Curve(*(np.zeros(1) for _ in range(3)))
        times, used = (np.array(column, dtype=np.float64) for column in zip(*self.series, strict=True))
        at = np.linspace(times[0], times[-1], _SAMPLES)
        values = used[np.searchsorted(times, at, side="right") - 1]
        lost = np.array(self.lost or [0.0])
        return Curve(
            np.linspace(0.0, 100.0, _SAMPLES),
            100 * values / self.gpus,
            np.interp(np.linspace(0, 1, _SAMPLES), np.linspace(0, 1, len(lost)), lost),
        )

    def _queues(self) -> Iterator[QueueTimes]:
        of_queue: dict[str, list[Job]] = defaultdict(list)
        for key, job in self.jobs.items():
            if key in self.started:
                of_queue[job.queue].append(job)
        for name, jobs in sorted(of_queue.items()):
            yield QueueTimes(
                name,
                self._guaranteed(name),
                np.array([self.started[job.key] - job.submitted for job in jobs]),
                np.array([job.seconds for job in jobs]),
                np.array([job.gpus for job in jobs]),
            )

    def _guaranteed(self, queue: str) -> float:
        flavors = self.engine.rules.flavors_of_queue(queue)
        return sum(self.engine.tree.guaranteed(queue, (flavor, GPU)) for flavor in flavors) / DEVICE


def _tasks(jobs: Sequence[Job]) -> Mapping[TaskClass, int]:
    found: dict[TaskClass, int] = defaultdict(int)
    for job in jobs:
        for each in job.pods:
            found[task_class(each.requests)] += each.count
    return found


def _mean_over_time(series: Sequence[tuple[float, float]], until: float) -> float:
    """Of a step function, from its first step until the last submission."""
    if not series or until <= series[0][0]:
        return max((used for _, used in series), default=0.0)
    times = np.array([time for time, _ in series])
    used = np.array([value for _, value in series])
    lengths = np.diff(np.minimum([*times, until], until))
    return float(used @ np.maximum(lengths, 0.0) / (until - times[0]))
