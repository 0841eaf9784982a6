"""What a simulation found, in the units in which it is reported."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHORT_SECONDS = 10.0
"""Jobs shorter than this do not make a slowdown look worse than it is."""


@dataclass(frozen=True, slots=True)
class Curve:
    """How full a fleet got, by demand. All arrays are (points,)."""

    demand: NDArray[np.float64]
    """GPUs asked for so far, in per cent of those there are."""
    allocation: NDArray[np.float64]
    """GPUs given away, in per cent of those there are."""
    fragmentation: NDArray[np.float64]
    """Free GPUs that typical pods cannot use, in per cent of those there are."""


@dataclass(frozen=True, slots=True)
class QueueTimes:
    """Jobs of one queue that were run. All arrays are (jobs,), seconds."""

    name: str
    guaranteed: float
    """GPUs."""
    waited: NDArray[np.float64]
    ran: NDArray[np.float64]
    gpus: NDArray[np.float64]

    @property
    def slowdown(self) -> float:
        """Mean bounded slowdown: (waiting + running) / running, short jobs taken for ten seconds (Feitelson)."""
        return _slowdown(self.waited, self.ran)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "jobs": len(self.waited),
            "guaranteed_gpus": round(self.guaranteed, 3),
            "gpu_hours": round(float(self.ran @ self.gpus) / 3600, 1),
            "slowdown": round(self.slowdown, 3),
            "waiting_seconds": percentiles(self.waited),
            "completion_seconds": percentiles(self.waited + self.ran),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """One simulation: of pods by demand (a curve for each seed), or of jobs through time (one curve, times by queue)."""

    mode: str
    """placement or replay."""
    policy: str
    nodes: int
    gpus: float
    jobs: int
    left_out: int
    """Jobs that ask for more than there is or their queue can ever hold."""
    curves: tuple[Curve, ...]
    allocation: tuple[float, ...]
    """Per cent, one for each seed: at the end of a placement, over time of a replay."""
    fragmentation: tuple[float, ...]
    queues: tuple[QueueTimes, ...] = ()
    unfinished: int = 0
    """Jobs that never started."""

    @property
    def waited(self) -> NDArray[np.float64]:
        return _joined([each.waited for each in self.queues])

    @property
    def completed(self) -> NDArray[np.float64]:
        """From submission to end."""
        return _joined([each.waited + each.ran for each in self.queues])

    @property
    def fairness(self) -> float | None:
        """Jain's index of the queues' slowdowns: 1 if they are equal, 1/n if one queue has all of it."""
        slow = [each.slowdown for each in self.queues if len(each.waited)]
        return sum(slow) ** 2 / (len(slow) * sum(each * each for each in slow)) if slow else None

    def at(self, demand: float) -> tuple[float, float]:
        """Mean allocation and fragmentation over the seeds at a demand, both in per cent."""
        points = [
            (
                float(np.interp(demand, each.demand, each.allocation)),
                float(np.interp(demand, each.demand, each.fragmentation)),
            )
            for each in self.curves
        ]
        return fmean(point[0] for point in points), fmean(point[1] for point in points)

    def as_json(self) -> dict[str, Any]:
        fair = self.fairness
        found: dict[str, Any] = {
            "mode": self.mode,
            "policy": self.policy,
            "nodes": self.nodes,
            "gpus": round(self.gpus, 3),
            "jobs": self.jobs,
            "left_out": self.left_out,
            "unfinished": self.unfinished,
            "seeds": len(self.allocation),
            "allocation_percent": round(fmean(self.allocation), 3),
            "allocation_percent_std": round(spread(self.allocation), 3),
            "fragmentation_percent": round(fmean(self.fragmentation), 3),
            "fragmentation_percent_std": round(spread(self.fragmentation), 3),
            "waiting_seconds": percentiles(self.waited),
            "completion_seconds": percentiles(self.completed),
            "fairness": None if fair is None else round(fair, 4),
            "queues": [each.as_json() for each in self.queues],
        }
        if self.mode == "placement":
            found["by_demand"] = [
                {
                    "demand_percent": demand,
                    "allocation_percent": round(allocation, 3),
                    "fragmentation_percent": round(lost, 3),
                }
                for demand in range(10, int(self.curves[0].demand[-1]) + 1, 10)
                for allocation, lost in (self.at(demand),)
            ]
        return found


def spread(values: Sequence[float]) -> float:
    """Standard deviation of a sample; of a single value 0."""
    return stdev(values) if len(values) > 1 else 0.0


def percentiles(seconds: NDArray[np.float64]) -> dict[str, float] | None:
    """Mean and percentiles; None of nothing."""
    if not len(seconds):
        return None
    found = {"mean": float(seconds.mean())}
    found |= {f"p{share}": float(np.percentile(seconds, share)) for share in (10, 50, 90, 95, 99)}
    found["max"] = float(seconds.max())
    return {name: round(value, 1) for name, value in found.items()}


def _slowdown(waited: NDArray[np.float64], ran: NDArray[np.float64]) -> float:
    if not len(waited):
        return 1.0
    return float(np.maximum(1.0, (waited + ran) / np.maximum(ran, _SHORT_SECONDS)).mean())


def _joined(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.float64)
