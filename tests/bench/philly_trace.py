"""The Philly trace as arrays. Where it comes from: data/philly/README.md."""

import lzma
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.bench.reference_schedulers import Jobs

_FILE = Path(__file__).parent / "data" / "philly" / "jobs.csv.xz"


def load() -> Jobs:
    """All 82,247 jobs; queues are the trace's virtual clusters, in order of name."""
    lines = lzma.decompress(_FILE.read_bytes()).decode().split()[1:]
    submitted, duration, gpus, cluster = zip(*(line.split(",") for line in lines), strict=True)
    queues = tuple(sorted(set(cluster)))
    index = {name: number for number, name in enumerate(queues)}
    return Jobs(
        np.array(submitted, dtype=np.int64),
        np.array(duration, dtype=np.int64),
        np.array(gpus, dtype=np.int64),
        np.array([index[each] for each in cluster], dtype=np.int64),
        queues,
    )


def guarantees(jobs: Jobs, capacity: int) -> NDArray[np.int64]:
    """GPUs guaranteed to each queue: all there are, in proportion to the GPU time that its jobs use in the trace, by largest remainder."""
    used = np.bincount(jobs.queue, weights=jobs.duration * jobs.gpus, minlength=len(jobs.queues))
    exact = capacity * used / used.sum()
    whole: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    largest = np.argsort(whole - exact, kind="stable")[: capacity - int(whole.sum())]
    whole[largest] += 1
    return whole
