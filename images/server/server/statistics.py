"""What the statistics extension tells of a model: counts and cumulative nanoseconds, since it was loaded.

`queue` and `compute_infer` of requests are measured apart: the batcher tells how long each one waited, and what is
left of its time between checked input and result is the forward pass that it shared.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from numpy.typing import NDArray

Outputs = Mapping[str, NDArray[Any]]


@dataclass(slots=True)
class Duration:
    """How often, and for how long altogether."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.ns += max(0, ns)

    def as_json(self) -> dict[str, int]:
        return {"count": self.count, "ns": self.ns}


@dataclass(slots=True)
class Statistics:
    """Of one loaded model. `execution` runs in compute threads, all else in the event loop."""

    last_inference: int = 0  # milliseconds since the epoch
    inference_count: int = 0  # rows of answered requests
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    batches: dict[int, Duration] = field(default_factory=dict)  # forward passes by rows
    _counting: Lock = field(default_factory=Lock, repr=False)
    _waited: int = 0  # ns of waits that no answer has been told of yet

    def timed(self, compute: Callable[[NDArray[Any]], Outputs]) -> Callable[[NDArray[Any]], Outputs]:
        """The same forward pass, counted."""

        def execution(rows: NDArray[Any]) -> Outputs:
            started = time.perf_counter_ns()
            outputs = compute(rows)
            with self._counting:
                self.batches.setdefault(len(rows), Duration()).add(time.perf_counter_ns() - started)
            return outputs

        return execution

    def waited(self, seconds: float) -> None:
        """A request left the queue to be computed."""
        ns = int(seconds * 1e9)
        self.queue.add(ns)
        self._waited += ns

    def answered(self, rows: int, decoding: int, computing: int, encoding: int) -> None:
        """A request was answered; nanoseconds of its parts, of which `computing` holds the wait as well."""
        waited, self._waited = min(self._waited, computing), max(0, self._waited - computing)
        self.success.add(decoding + computing + encoding)
        self.compute_input.add(decoding)
        self.compute_infer.add(computing - waited)
        self.compute_output.add(encoding)
        self.inference_count += rows
        self.last_inference = time.time_ns() // 1_000_000

    def as_json(self, name: str, version: str) -> dict[str, Any]:
        parts = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
        batches = sorted(self.batches.copy().items())
        none = Duration().as_json()  # inputs and outputs are converted for each request, not for each batch
        return {
            "name": name,
            "version": version,
            "last_inference": self.last_inference,
            "inference_count": self.inference_count,
            "execution_count": sum(duration.count for _, duration in batches),
            "inference_stats": {part: getattr(self, part).as_json() for part in parts},
            "batch_stats": [
                {"batch_size": rows, "compute_input": none, "compute_infer": one.as_json(), "compute_output": none}
                for rows, one in batches
            ],
        }
