"""Threads of one model: a batch that is alone has every CPU, others compute side by side."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from server.batcher import Batcher
from server.errors import ModelFailed
from server.limits import Limits
from server.metrics import Metrics
from server.statistics import Statistics
from server.threads import MOST, Threads, compute_threads

Outputs = Mapping[str, NDArray[Any]]
ROW = np.ones((1, 2), dtype=np.float32)


@asynccontextmanager
async def threads_of(cpus: int, *, side_by_side: bool = True) -> AsyncIterator[Threads]:
    threads = compute_threads(cpus, side_by_side=side_by_side)
    try:
        yield threads
    finally:
        await asyncio.to_thread(threads.close)


@asynccontextmanager
async def batching(compute: Any, threads: Threads) -> AsyncIterator[Batcher]:
    batcher = Batcher(compute, Limits(max_batch=1), Metrics(), threads)
    task = asyncio.create_task(batcher.run())
    try:
        yield batcher
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_batch_that_is_alone_has_every_cpu_and_one_in_company_its_part() -> None:
    async with threads_of(4) as threads:
        assert await threads.run(torch.get_num_threads, company=False) == 4
        assert await threads.run(torch.get_num_threads, company=True) == 1


async def test_while_one_computes_the_next_has_a_part_of_the_cpus() -> None:
    gate = threading.Event()
    async with threads_of(2) as threads:
        first = threads.run(gate.wait, 10, company=False)
        assert threads.free
        assert await threads.run(torch.get_num_threads, company=False) == 1
        gate.set()
        assert await first


async def test_only_the_first_thread_ever_has_every_cpu() -> None:
    async with threads_of(2) as threads:
        names = [await threads.run(lambda: threading.current_thread().name, company=False) for _ in range(3)]
    assert names == ["compute-0_0"] * 3


@pytest.mark.parametrize(
    ("cpus", "side_by_side", "number"), [(1, True, 1), (3, True, 3), (64, True, MOST), (64, False, 1)]
)
async def test_as_many_batches_at_a_time_as_cpus_but_few(cpus: int, side_by_side: bool, number: int) -> None:
    gate = threading.Event()
    async with threads_of(cpus, side_by_side=side_by_side) as threads:
        busy = []
        while threads.free:
            busy.append(threads.run(gate.wait, 10, company=True))
        gate.set()
        await asyncio.gather(*busy)
        assert len(busy) == number
        assert threads.free


async def test_two_batches_of_a_model_are_computed_side_by_side() -> None:
    both = threading.Barrier(2, timeout=10)

    def compute(rows: NDArray[Any]) -> Outputs:
        both.wait()  # passes only where another batch is being computed
        return {"y": rows * 2}

    async with threads_of(2) as threads, batching(compute, threads) as batcher:
        answers = await asyncio.gather(batcher.submit(ROW), batcher.submit(ROW * 2))
    assert [answer["y"].tolist() for answer in answers] == [[[2.0, 2.0]], [[4.0, 4.0]]]


async def test_beside_another_a_batch_that_is_not_full_waits_for_company() -> None:
    gate, started, batches = threading.Event(), threading.Event(), list[int]()

    def compute(rows: NDArray[Any]) -> Outputs:
        batches.append(len(rows))
        started.set()
        assert gate.wait(10)
        return {"y": rows}

    async with threads_of(2) as threads:
        batcher = Batcher(compute, Limits(max_batch=4), Metrics(), threads)
        serving = asyncio.create_task(batcher.run())
        asked = [asyncio.create_task(batcher.submit(ROW))]
        await asyncio.to_thread(started.wait, 10)
        for waiting in (1, 2, 3):
            asked.append(asyncio.create_task(batcher.submit(ROW)))
            await asyncio.sleep(0.01)
            assert (batcher.waiting, batches) == (waiting, [1])
        asked.append(asyncio.create_task(batcher.submit(ROW)))
        await asyncio.sleep(0.01)
        assert batcher.waiting == 0
        gate.set()
        await asyncio.gather(*asked)
        assert batches == [1, 4]
        serving.cancel()


async def test_a_batch_that_fails_harms_no_other_beside_it() -> None:
    both = threading.Barrier(2, timeout=10)

    def compute(rows: NDArray[Any]) -> Outputs:
        both.wait()
        if rows[0, 0] == 1:
            raise ModelFailed("one")
        return {"y": rows}

    async with threads_of(2) as threads, batching(compute, threads) as batcher:
        failed, good = await asyncio.gather(batcher.submit(ROW), batcher.submit(ROW * 2), return_exceptions=True)
    assert isinstance(failed, ModelFailed)
    assert not isinstance(good, BaseException)


async def test_a_batcher_whose_thread_breaks_ends_loudly() -> None:
    class Broken(BaseException):
        """Nothing that a model raises."""

    def compute(_rows: NDArray[Any]) -> Outputs:
        raise Broken

    async with threads_of(1) as threads:
        batcher = Batcher(compute, Limits(), Metrics(), threads)
        serving = asyncio.create_task(batcher.run())
        asked = asyncio.create_task(batcher.submit(ROW))
        with pytest.raises(Broken):
            await serving
        asked.cancel()


def test_batches_are_counted_by_several_threads_at_a_time() -> None:
    statistics = Statistics()
    execution = statistics.timed(lambda rows: {"y": rows})

    def many() -> None:
        for _ in range(2000):
            execution(ROW)

    several = [threading.Thread(target=many) for _ in range(4)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert statistics.batches[1].count == 8000
