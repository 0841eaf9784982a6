"""The jobs of the month: a queue that is always a little longer than the fleet, drawn from a seed. Pure.

Most jobs are small and most GPU time is in large ones, as on clusters for research; sizes and times are ours, not a trace's.
"""

import math
from dataclasses import dataclass
from random import Random

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Gang:
    """A job. work: seconds of steps that it needs, all together."""

    name: str
    submitted: float
    gpus: int
    work: float


SIZES: tuple[tuple[int, float, float], ...] = (
    (1, 0.36, 3),
    (2, 0.10, 4),
    (4, 0.10, 5),
    (8, 0.22, 8),
    (16, 0.08, 12),
    (32, 0.06, 18),
    (64, 0.04, 24),
    (128, 0.025, 36),
    (256, 0.01, 48),
    (512, 0.005, 72),
)
"""GPUs, share of the jobs, median hours."""
_SPREAD = 0.8
"""Of the logarithm of the hours."""
FLAGSHIP = 1024
"""GPUs of a job that trains all month."""


def gangs(random: Random, gpus: int, seconds: float, load: float) -> list[Gang]:
    """In order of submission. load: GPU time that they ask for, as a part of what there is."""
    found = [Gang("flagship", 0.0, FLAGSHIP, seconds)] if gpus >= 2 * FLAGSHIP else []
    wanted = load * gpus * seconds - sum(each.gpus * each.work for each in found)
    drawn: list[tuple[int, float]] = []
    while wanted > 0:
        ((size, _, median),) = random.choices(SIZES, [share for _, share, _ in SIZES])
        if size > gpus // 2:
            continue
        work = median * HOUR * math.exp(random.gauss(0.0, _SPREAD))
        drawn.append((size, min(work, seconds)))
        wanted -= size * drawn[-1][1]
    # A tenth waits from the beginning, so that the fleet is full at once.
    times = sorted(max(0.0, random.uniform(-0.1, 1.0)) * seconds for _ in drawn)
    found += [Gang(f"job-{number:05}", at, *each) for number, (at, each) in enumerate(zip(times, drawn, strict=True))]
    return found
