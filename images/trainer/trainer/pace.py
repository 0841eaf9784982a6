"""How long a worker's own part of a step takes, without its waiting for the others: so that a slow one can be named.

In a step that all make together the clock shows everybody the time of the slowest. So a worker measures up to where it
would wait. Where each holds all weights, that is until the last of its gradients is there, just before these are
averaged. Where weights are divided, workers wait for each other inside the model: then it is the forward pass of those
modules in which they do not, and of a pipeline's stage as a whole. Figures of one job can be compared, those of two
ways of sharing cannot; and stages of a pipeline may differ because their layers do.
"""

import math
import statistics
import time
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from trainer.group import WorkerGroup
from trainer.parallel.strategy import Strategy

WINDOW_SECONDS: Final = 10.0
_MOST_SAMPLES: Final = 32


@dataclass(frozen=True)
class Slowest:
    """Seconds that a step takes the median worker, and the slowest one. rank: of the latter."""

    p50: float
    slowest: float
    rank: int

    def as_report(self) -> dict[str, float]:
        return {"p50": self.p50, "slowest": self.slowest, "slowestRank": self.rank}


def slowest_of(seconds: list[float]) -> Slowest | None:
    """Of each worker's seconds; 0 stands for one that has none. None when nobody has."""
    measured = [each for each in seconds if each > 0]
    if not measured:
        return None
    most = max(measured)
    return Slowest(round(statistics.median(measured), 6), round(most, 6), seconds.index(most))


class _Stopwatch:
    """Time between two points of the program, on the CPU's clock or, where the device is a GPU, on its own."""

    def __init__(self, device: torch.device) -> None:
        self._events = device.type == "cuda"

    def now(self) -> Any:
        if not self._events:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        """In seconds; waits until the GPU has come to the end."""
        if not self._events:
            return float(end - start)
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000


class Pace:
    """This worker's own seconds of some steps in each window of time.

    compiled: whether the model is compiled, as then nothing can be measured inside it.
    """

    def __init__(
        self, strategy: Strategy, device: torch.device, *, compiled: bool, window: float | None = None
    ) -> None:
        self._watch, self._window = _Stopwatch(device), WINDOW_SECONDS if window is None else window
        self._measuring = False
        self._began = self._waited = 0.0
        self._start: Any = None
        self._marks: list[tuple[Any, Any]] = []
        self._samples: list[tuple[float, list[tuple[Any, Any]]]] = []
        # Not before the second step: the first has to allocate, or to compile.
        self._window_began = self._next = math.inf
        self._observe(strategy, compiled=compiled)

    def begin(self) -> None:
        """A step begins, with getting its samples."""
        self._began, self._marks = time.perf_counter(), []
        self._measuring = self._began >= self._next

    def compute(self) -> None:
        """The samples are there."""
        if self._measuring:
            self._waited, self._start = time.perf_counter() - self._began, self._watch.now()

    def end(self) -> None:
        """The step is made."""
        now = time.perf_counter()
        if self._measuring and self._marks:
            self._samples.append((self._waited, self._marks))
            self._next = now + self._window / _MOST_SAMPLES
        elif self._next == math.inf:
            self._window_began = self._next = now
        self._measuring = False

    @property
    def is_due(self) -> bool:
        """Whether it is time to compare with the others."""
        return time.perf_counter() - self._window_began >= self._window

    def compare(self, group: WorkerGroup) -> Slowest | None:
        """Compare with the others, and begin a new window. All workers call it together."""
        own = [waited + sum(self._watch.between(*mark) for mark in marks) for waited, marks in self._samples]
        self._samples, self._window_began = [], time.perf_counter()
        seconds = [0.0] * group.world_size
        seconds[group.rank] = statistics.median(own) if own else 0.0
        return slowest_of(group.sum(seconds))

    def _observe(self, strategy: Strategy, *, compiled: bool) -> None:
        module = strategy.module
        divided = any(isinstance(parameter, DTensor) for parameter in module.parameters())
        if not divided and strategy.layout.parallelism.pipeline == 1:
            for parameter in module.parameters():
                if parameter.requires_grad:
                    parameter.register_post_accumulate_grad_hook(self._gradient_is_there)
        elif not compiled:
            for quiet in _leaves(module) if divided else [module]:
                # Next to the module's own code, so that what shards and gathers is outside.
                quiet.register_forward_pre_hook(self._entered)
                quiet.register_forward_hook(self._left, prepend=True)

    def _gradient_is_there(self, _parameter: torch.Tensor) -> None:
        """Of each weight; the last one of a step counts."""
        if self._measuring:
            self._marks = [(self._start, self._watch.now())]

    def _entered(self, *_: object) -> None:
        if self._measuring:
            self._start = self._watch.now()

    def _left(self, *_: object) -> None:
        if self._measuring:
            self._marks.append((self._start, self._watch.now()))


def _leaves(module: nn.Module) -> list[nn.Module]:
    return [each for each in module.modules() if not any(each.children())]
