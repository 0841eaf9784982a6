"""The Philly trace replayed: our scheduler with learned and with true durations beside FIFO, strict priority and EASY backfill.

800 and 640 GPUs, 8 to a node; on the 2,490 that the trace is from there is nothing to wait for. A virtual cluster of the trace is a
queue, guaranteed its share of the GPU time; all may borrow everything. A job of n GPUs is n workers of one GPU anywhere, as
Philly itself gave up locality for a start (Jeon et al., USENIX ATC 2019), and as the references count. Nobody is preempted.
`eta` tells how starts that were forecast came true: share inside the band, pinball loss of the 10, 50 and 90 % points beside that
of the waits seen so far in the same queue at the same size, for jobs that found no place when they came. `make bench NAME=philly`.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tests.bench.philly_trace import guarantees, load
from tests.bench.reference_schedulers import Jobs, easy_backfill, fifo, strict_priority
from tests.builders import EVERYBODY
from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU
from trainyard.api.queue import QueueSpec
from trainyard.cli.simulation.replay import NAMESPACE, Job, Known, Replay, Site
from trainyard.scheduling.forecast import Forecast, Line, StartBand, crowd, line_for
from trainyard.scheduling.snapshot import NodeView, PodSet, WorkloadKey

SIZES = (800, 640)
NODE = 8
KNOWN: tuple[Known, ...] = ("learned", "true")
_FEW = 10
"""So many waits of a queue and size are a distribution; with fewer, those of the size count, or all."""


@dataclass
class Told:
    """Forecasts beside what came true. All in seconds."""

    waits: list[float] = field(default_factory=list)
    ours: list[tuple[float, float, float]] = field(default_factory=list)
    empirical: list[tuple[float, float, float]] = field(default_factory=list)


class Watched(Replay):
    """A replay in which everybody who has to wait is told when it will start."""

    def __init__(self, site: Site, jobs: Sequence[Job], known: Known) -> None:
        super().__init__(site, jobs, "fgd", known)
        self.forecast, self.told = Forecast(), Told()
        self._open: dict[WorkloadKey, tuple[float, Line, StartBand, tuple[float, float, float]]] = {}
        self._seen: dict[tuple[object, ...], list[float]] = defaultdict(list)

    def settled(self, now: float, arrived: Sequence[Job]) -> None:
        for key in [each for each in self._open if each in self.started]:
            came, line, band, empirical = self._open.pop(key)
            waited = now - came
            self.told.waits.append(waited)
            self.told.ours.append((band.earliest, band.likely, band.latest))
            self.told.empirical.append(empirical)
            self.forecast.observe(line, waited)
            for about in ((line.queue, line.gpus), (line.gpus,), ()):
                self._seen[about].append(waited)
        new = [found for job in arrived if (found := self.engine.pending.get(job.key)) is not None]
        if not new:
            return
        among = crowd(self.engine)
        for waiting in new:
            line = line_for(self.engine, waiting, among)
            self._open[waiting.key] = (now, line, self.forecast.band(line, 0.0), self._empirical(line))

    def _empirical(self, line: Line) -> tuple[float, float, float]:
        seen: list[float] = []
        for about in ((line.queue, line.gpus), (line.gpus,), ()):
            seen = self._seen[about]
            if len(seen) >= _FEW:
                break
        low, middle, high = np.percentile(seen or [3600.0], (10, 50, 90))
        return float(low), float(middle), float(high)


def site(jobs: Jobs, capacity: int) -> Site:
    """Nodes and queues."""
    nodes = tuple(
        NodeView(f"node-{number:03}", {}, {GPU: NODE * 1000, "pods": 110_000}) for number in range(capacity // NODE)
    )
    queues = {"philly": QueueSpec()}
    for name, amount in zip(jobs.queues, guarantees(jobs, capacity).tolist(), strict=True):
        quota = {"name": "gpu", "resources": [{"name": GPU, "guaranteed": amount}]}
        queues[name] = QueueSpec.model_validate(
            {"parent": "philly", "namespaceSelector": EVERYBODY, "flavors": [quota]}
        )
    return Site(nodes, queues, {"gpu": FlavorSpec()}, {NAMESPACE: {"kubernetes.io/metadata.name": NAMESPACE}})


def as_jobs(jobs: Jobs) -> list[Job]:
    """The trace as our scheduler takes it."""
    columns = (jobs.submitted.tolist(), jobs.duration.tolist(), jobs.gpus.tolist(), jobs.queue.tolist())
    return [
        Job(f"job-{index:06}", jobs.queues[queue], submitted, seconds, (PodSet("worker", gpus, {GPU: 1000}),))
        for index, (submitted, seconds, gpus, queue) in enumerate(zip(*columns, strict=True))
    ]


def ours(capacity: int, known: Known, count: int | None) -> tuple[NDArray[np.float64], dict[str, int], Told, float]:
    """Waits by job, counters of kept places, forecasts, CPU seconds."""
    jobs = _trace(capacity, count)
    listed = as_jobs(jobs)
    run = Watched(site(jobs, capacity), listed, known)
    began = time.process_time()
    for _ in run.go():
        pass
    waits = np.array([run.started[each.key] - each.submitted for each in listed])
    counters = run.engine.counters
    kept = {"made": counters.made, "moved_by_over_runs": counters.moved_later, "moved_otherwise": counters.broken}
    return waits, kept, run.told, time.process_time() - began


def _trace(capacity: int, count: int | None) -> Jobs:
    jobs = load().that_fit(capacity)
    return Jobs(jobs.submitted[:count], jobs.duration[:count], jobs.gpus[:count], jobs.queue[:count], jobs.queues)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=None, help="only so many of the trace, for a quick look")
    count = parser.parse_args().jobs
    with ProcessPoolExecutor(2) as pool:
        running = {(size, known): pool.submit(ours, size, known, count) for size in SIZES for known in KNOWN}
        for size in SIZES:
            jobs = _trace(size, count)
            shape: dict[str, object] = {
                "jobs": len(jobs),
                "gpus": size,
                "queues": len(jobs.queues),
                "cores": os.cpu_count(),
            }
            say = _printer(shape)
            starts_of = {
                "fifo": fifo(jobs, size),
                "strict_priority": strict_priority(jobs, size, guarantees(jobs, size)),
                "easy_true": easy_backfill(jobs, size),
            }
            references = {name: (starts - jobs.submitted).astype(np.float64) for name, starts in starts_of.items()}
            for name, waits in references.items():
                _waits(say, f"philly/{size}/{name}", waits)
            for known in KNOWN:
                waits, kept, told, seconds = running[size, known].result()
                name = f"philly/{size}/ours_{known}"
                _waits(say, name, waits)
                say(f"{name}/mean_ratio", float(waits.mean() / references["easy_true"].mean()), "x EASY with the truth")
                _by_queue(say, name, jobs, waits, references["fifo"])
                for what, number in kept.items():
                    say(f"{name}/kept_places/{what}", number, "")
                say(f"{name}/cpu_seconds", seconds, "s")
                if known == "learned":
                    _forecasts(say, f"eta/{size}", told)


Say = Callable[[str, float, str], None]


def _printer(shape: dict[str, object]) -> Say:
    def say(name: str, value: float, unit: str) -> None:
        print(json.dumps({"name": name, "value": round(float(value), 3), "unit": unit, **shape}), flush=True)

    return say


def _waits(say: Say, name: str, waits: NDArray[np.float64]) -> None:
    say(f"{name}/mean_wait", float(np.mean(waits)), "s")
    say(f"{name}/p99_wait", float(np.percentile(waits, 99)), "s")


def _by_queue(say: Say, name: str, jobs: Jobs, waits: NDArray[np.float64], fifo_waits: NDArray[np.float64]) -> None:
    """p99 of each queue beside FIFO's. Queues in which nobody waits under either are left out."""
    worse = 0
    for number, queue in enumerate(jobs.queues):
        mine = jobs.queue == number
        if not mine.any():
            continue
        ours_p99, fifo_p99 = (float(np.percentile(each[mine], 99)) for each in (waits, fifo_waits))
        if ours_p99 == fifo_p99 == 0:
            continue
        worse += ours_p99 >= fifo_p99
        say(f"{name}/queue/{queue}/p99_ratio", ours_p99 / max(fifo_p99, 1.0), "x FIFO")
    say(f"{name}/queues_worse_than_fifo", worse, "queues")


def _forecasts(say: Say, name: str, told: Told) -> None:
    waits, bands, seen = np.array(told.waits), np.array(told.ours), np.array(told.empirical)
    say(f"{name}/coverage", 100 * float(np.mean((bands[:, 0] <= waits) & (waits <= bands[:, 2]))), "% of starts")
    say(f"{name}/pinball_ratio", _pinball(waits, bands) / _pinball(waits, seen), "x waits of the same queue and size")
    say(f"{name}/pinball", _pinball(waits, bands), "s")
    say(f"{name}/median_error", float(np.median(np.abs(waits - bands[:, 1]))), "s")
    say(f"{name}/starts", len(waits), "")


def _pinball(waits: NDArray[np.float64], bands: NDArray[np.float64]) -> float:
    """Mean over the three points. Source: Koenker and Bassett, Regression Quantiles, 1978."""
    levels = np.array((0.1, 0.5, 0.9))
    over = waits[:, None] - bands
    return float(np.maximum(levels * over, (levels - 1) * over).mean())


if __name__ == "__main__":
    main()
