"""The threads that compute for one model, and how many of torch's own each batch may use.

A batch that is alone gets every CPU. Full ones are computed side by side, each with its part of the CPUs: torch's threads
wait for one another after every layer, for longer the less there is to do and the busier the machine, while batches on a
thread each wait for nothing.

torch keeps threads of its own for each thread that computes. Where there are more of them than CPUs they sleep instead of
waiting for one another, which cost a convolutional network a third of its speed: so only the first ever has all CPUs.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from heapq import heapify, heappop, heappush
from typing import TypeVar

import torch

Result = TypeVar("Result")
MOST = 4  # batches at a time; each more takes memory for what lies between layers


class Threads:
    """Owned by one event loop. The first loads the model, since torch's threads are its own."""

    def __init__(self, executors: Sequence[Executor], cpus: int = 1) -> None:
        """executors: of one thread each. cpus: for all of them together."""
        self._executors = tuple(executors)
        self._cpus = cpus
        self._free = list(range(len(self._executors)))
        heapify(self._free)

    @property
    def first(self) -> Executor:
        return self._executors[0]

    @property
    def free(self) -> bool:
        """Whether one has nothing to do."""
        return bool(self._free)

    @property
    def idle(self) -> bool:
        """Whether none has anything to do."""
        return len(self._free) == len(self._executors)

    def run(self, work: Callable[..., Result], *args: object, company: bool) -> "asyncio.Future[Result]":
        """The result of work in a thread that is free; there must be one. company: more waits to be computed meanwhile."""
        alone = self.idle and not company
        number = heappop(self._free)
        cpus = self._cpus if alone else max(1, self._cpus // len(self._executors))
        computing = asyncio.get_running_loop().run_in_executor(self._executors[number], _on, cpus, work, args)
        computing.add_done_callback(lambda _: heappush(self._free, number))
        return computing

    def close(self, *, wait: bool = True) -> None:
        """End them after what they are doing; blocks, if it is to wait for that."""
        for executor in self._executors:
            executor.shutdown(wait=wait)


def compute_threads(cpus: int, *, side_by_side: bool) -> Threads:
    """For one model. side_by_side: whether it may be called by several at a time."""
    number = min(cpus, MOST) if side_by_side else 1
    return Threads([ThreadPoolExecutor(1, thread_name_prefix=f"compute-{index}") for index in range(number)], cpus)


def _on(cpus: int, work: Callable[..., Result], args: Sequence[object]) -> Result:
    if torch.get_num_threads() != cpus:
        torch.set_num_threads(cpus)  # of this thread
    return work(*args)
