"""Greedy dynamic batching with no added delay.

One thread computes. While it does, requests wait in a bounded queue; when it is free it takes, oldest first, all that
wait and fit into one batch. Nobody ever waits for company, so a lone request pays nothing, and under load batches
grow by themselves. A request whose caller has left is dropped before it costs anything.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.errors import ModelFailed, QueueFull
from server.metrics import Metrics

Array = NDArray[Any]
Outputs = Mapping[str, Array]
Compute = Callable[[Array], Outputs]
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Waiting:
    rows: Array
    answer: asyncio.Future[Outputs]
    since: float = field(default_factory=time.perf_counter)


class Batcher:
    """Queue in front of one compute thread. Owned by one event loop; `run` must be running for answers to come."""

    def __init__(self, compute: Compute, max_batch: int, max_queue: int, metrics: Metrics) -> None:
        self._compute = compute
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._metrics = metrics
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")

    async def submit(self, rows: Array) -> Outputs:
        """Outputs for rows (N, ...). Raises QueueFull at once, ModelFailed later; a cancelled caller leaves the queue."""
        if len(self._queue) >= self._max_queue:
            raise QueueFull(f"{len(self._queue)} requests are waiting, which is the limit; try again later")
        waiting = _Waiting(rows, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._metrics.queue_depth.set(len(self._queue))
        self._arrived.set()
        try:
            return await waiting.answer
        except asyncio.CancelledError:
            if waiting in self._queue:
                self._queue.remove(waiting)
                self._metrics.queue_depth.set(len(self._queue))
            self._metrics.cancelled.inc()
            raise

    async def run(self) -> None:
        """Serve the queue until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._take()
            if not batch:
                self._arrived.clear()
                continue
            answers = await loop.run_in_executor(self._thread, self._answers, [one.rows for one in batch])
            for one, answer in zip(batch, answers, strict=True):
                _settle(one.answer, answer)

    def close(self) -> None:
        """Stop the compute thread after what it is doing."""
        self._thread.shutdown(wait=True)

    def _take(self) -> list[_Waiting]:
        """The oldest requests that fit into one batch: same row shape, at most max_batch rows."""
        batch: list[_Waiting] = []
        total = 0
        while self._queue:
            head = self._queue[0]
            different = bool(batch) and head.rows.shape[1:] != batch[0].rows.shape[1:]
            if different or (batch and total + len(head.rows) > self._max_batch):
                break
            batch.append(self._queue.popleft())
            total += len(head.rows)
        self._metrics.queue_depth.set(len(self._queue))
        now = time.perf_counter()
        for one in batch:
            self._metrics.queue_seconds.observe(now - one.since)
        return batch

    def _answers(self, requests: list[Array]) -> list[Outputs | Exception]:
        """Answers in order; runs in the compute thread. One bad request must not fail those batched with it."""
        rows = requests[0] if len(requests) == 1 else np.concatenate(requests)
        started = time.perf_counter()
        try:
            outputs = self._compute(rows)
        except ModelFailed as error:
            return [error] if len(requests) == 1 else [self._answers([one])[0] for one in requests]
        except Exception as error:  # noqa: BLE001 - the loop must outlive any fault; the caller gets a 500
            _log.exception("inference failed")
            return [ModelFailed(f"inference failed: {type(error).__name__}")] * len(requests)
        self._metrics.batch_rows.observe(len(rows))
        self._metrics.compute_seconds.observe(time.perf_counter() - started)
        return _split(outputs, [len(one) for one in requests])


def _split(outputs: Outputs, sizes: list[int]) -> list[Outputs | Exception]:
    ends = np.cumsum(sizes)
    return [
        {name: values[end - size : end] for name, values in outputs.items()}
        for size, end in zip(sizes, ends, strict=True)
    ]


def _settle(future: asyncio.Future[Outputs], answer: Outputs | Exception) -> None:
    if future.done():  # the caller left while its batch was computed
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
