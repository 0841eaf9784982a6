"""Greedy batching: who is computed with whom, what is refused, what is dropped."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from server.batcher import Batcher
from server.errors import ModelFailed, QueueFull
from server.limits import Limits
from server.metrics import Metrics


class Compute:
    """Doubles rows, holds the first batch until let go, remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.started = threading.Event()
        self.gate = threading.Event()

    def __call__(self, rows: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        self.batches.append(len(rows))
        self.started.set()
        assert self.gate.wait(10)
        if (rows == -1).any():
            raise ModelFailed("minus one")
        return {"y": rows * 2}


@asynccontextmanager
async def batching(compute: Compute, max_batch: int = 8, max_queue: int = 64) -> AsyncIterator[Batcher]:
    batcher = Batcher(compute, Limits(max_batch, max_queue), Metrics())
    task = asyncio.create_task(batcher.run())
    try:
        yield batcher
    finally:
        compute.gate.set()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        batcher.close()


def rows(count: int, value: float = 1.0, width: int = 2) -> NDArray[Any]:
    return np.full((count, width), value, dtype=np.float32)


async def submit(batcher: Batcher, *requests: NDArray[Any]) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(batcher.submit(one)) for one in requests]
    await asyncio.sleep(0)
    return tasks


async def busy(batcher: Batcher, compute: Compute) -> asyncio.Task[Any]:
    """Occupy the compute thread, so that what comes next has to wait."""
    (task,) = await submit(batcher, rows(1))
    await asyncio.to_thread(compute.started.wait, 10)
    return task


async def test_those_that_wait_are_computed_together_and_answered_apart() -> None:
    compute = Compute()
    async with batching(compute) as batcher:
        first = await busy(batcher, compute)
        tasks = await submit(batcher, rows(1, 1), rows(2, 2), rows(3, 3))
        compute.gate.set()
        await first
        answers = await asyncio.gather(*tasks)
    assert compute.batches == [1, 6]
    assert [answer["y"].tolist() for answer in answers] == [[[2, 2]], [[4, 4]] * 2, [[6, 6]] * 3]


async def test_a_batch_never_grows_beyond_its_limit_and_keeps_the_order() -> None:
    compute = Compute()
    async with batching(compute, max_batch=4) as batcher:
        first = await busy(batcher, compute)
        tasks = await submit(batcher, rows(3), rows(2), rows(2), rows(4))
        compute.gate.set()
        await asyncio.gather(first, *tasks)
    assert compute.batches == [1, 3, 4, 4]


async def test_rows_of_another_shape_are_not_mixed() -> None:
    compute = Compute()
    async with batching(compute) as batcher:
        first = await busy(batcher, compute)
        tasks = await submit(batcher, rows(1), rows(1, width=5), rows(1, width=5))
        compute.gate.set()
        await asyncio.gather(first, *tasks)
    assert compute.batches == [1, 1, 2]


async def test_a_full_queue_refuses_at_once() -> None:
    compute = Compute()
    async with batching(compute, max_queue=2) as batcher:
        first = await busy(batcher, compute)
        tasks = await submit(batcher, rows(1), rows(1))
        with pytest.raises(QueueFull, match="2 requests are waiting, which is the limit"):
            await batcher.submit(rows(1))
        compute.gate.set()
        await asyncio.gather(first, *tasks)


async def test_a_caller_that_leaves_frees_its_place_and_costs_nothing() -> None:
    compute = Compute()
    async with batching(compute, max_queue=1) as batcher:
        first = await busy(batcher, compute)
        (left,) = await submit(batcher, rows(5))
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        tasks = await submit(batcher, rows(2))
        compute.gate.set()
        await asyncio.gather(first, *tasks)
    assert compute.batches == [1, 2]


async def test_one_bad_request_does_not_fail_those_batched_with_it() -> None:
    compute = Compute()
    async with batching(compute) as batcher:
        first = await busy(batcher, compute)
        tasks = await submit(batcher, rows(1, 3), rows(1, -1), rows(1, 4))
        compute.gate.set()
        await first
        answers: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[0]["y"].tolist() == [[6, 6]]
    assert isinstance(answers[1], ModelFailed)
    assert answers[2]["y"].tolist() == [[8, 8]]


@pytest.mark.parametrize(("seconds", "thread"), [(0.0001, "MainThread"), (0.01, "compute-0_0")])
async def test_a_batch_that_takes_less_than_the_way_to_the_thread_is_computed_by_the_loop(
    seconds: float, thread: str
) -> None:
    names: list[str] = []

    def compute(batch: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        names.append(threading.current_thread().name)
        return {"y": batch}

    batcher = Batcher(compute, Limits(8, 8), Metrics(), measured={1: [seconds]})
    task = asyncio.create_task(batcher.run())
    await batcher.submit(rows(1))
    task.cancel()
    batcher.close()
    assert names == [thread]


async def test_where_rows_do_not_tell_the_time_the_thread_computes_them_all() -> None:
    names: list[str] = []

    def compute(batch: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        names.append(threading.current_thread().name)
        return {"y": batch}

    batcher = Batcher(compute, Limits(8, 8), Metrics(), measured=None)
    task = asyncio.create_task(batcher.run())
    for _ in range(3):
        await batcher.submit(rows(1))
    task.cancel()
    batcher.close()
    assert set(names) == {"compute-0_0"}


async def test_a_model_that_became_slow_goes_back_to_the_thread() -> None:
    names: list[str] = []
    clock = count(0, 0.05)

    def compute(batch: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        names.append(threading.current_thread().name)
        return {"y": batch}

    batcher = Batcher(compute, Limits(8, 8), Metrics(), measured={1: [0.0001]}, clock=clock.__next__)
    task = asyncio.create_task(batcher.run())
    for _ in range(3):
        await batcher.submit(rows(1))
    task.cancel()
    batcher.close()
    assert names == ["MainThread", "compute-0_0", "compute-0_0"]


async def test_what_the_loop_computes_itself_is_batched_too() -> None:
    batches: list[int] = []

    def compute(batch: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        batches.append(len(batch))
        return {"y": batch}

    batcher = Batcher(compute, Limits(8, 8), Metrics(), measured={8: [0.0001]})
    task = asyncio.create_task(batcher.run())
    await asyncio.gather(*(batcher.submit(rows(1)) for _ in range(5)))
    task.cancel()
    batcher.close()
    assert batches == [5]
