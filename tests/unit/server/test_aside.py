"""Work that has time: behind inferences, but not for ever."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager, suppress
from typing import Any

import looptime
import numpy as np
import pytest
from numpy.typing import NDArray
from server.batcher import Batcher
from server.explain.path import SLICE_SECONDS, Pace, points
from server.limits import Limits
from server.lineup import AGEING_SECONDS
from server.metrics import Metrics
from server.threads import Threads

SERVICE_SECONDS = 0.01


class Thread(Executor):
    """Takes SERVICE_SECONDS of the loop's time for whatever it gets."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        loop = asyncio.get_running_loop()
        loop.call_later(SERVICE_SECONDS, lambda: future.set_result(work(*args, **kwargs)))
        return future


@asynccontextmanager
async def computing(done: list[str]) -> AsyncIterator[Batcher]:
    def compute(rows: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        done.append("inference")
        return {"y": rows}

    batcher = Batcher(compute, Limits(max_batch=1), Metrics(), Threads([Thread()]))
    task = asyncio.create_task(batcher.run())
    try:
        yield batcher
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def in_virtual_time(test: Callable[[], Any]) -> None:
    loop = looptime.new_event_loop()
    try:
        loop.run_until_complete(test())
    finally:
        loop.close()


ROW = np.zeros((1, 2), dtype=np.float32)


def test_inferences_that_wait_go_first() -> None:
    done: list[str] = []

    async def run() -> None:
        async with computing(done) as batcher:
            first = asyncio.create_task(batcher.submit(ROW))
            await asyncio.sleep(0)
            pieces = [asyncio.create_task(batcher.aside(lambda: done.append("piece"))) for _ in range(2)]
            others = [asyncio.create_task(batcher.submit(ROW)) for _ in range(2)]
            await asyncio.gather(first, *pieces, *others)

    in_virtual_time(run)
    assert done == ["inference"] * 3 + ["piece"] * 2


def test_under_a_load_without_a_gap_a_piece_waits_for_a_second() -> None:
    waited: list[float] = []

    async def run() -> None:
        async with computing([]) as batcher:
            loop = asyncio.get_running_loop()

            async def asks() -> None:
                while True:
                    await batcher.submit(ROW)

            load = [asyncio.create_task(asks()) for _ in range(3)]
            await asyncio.sleep(0.005)
            began = loop.time()
            await batcher.aside(lambda: None)
            waited.append(loop.time() - began)
            for one in load:
                one.cancel()

    in_virtual_time(run)
    assert waited == [pytest.approx(AGEING_SECONDS, abs=3 * SERVICE_SECONDS)]


def test_a_piece_whose_caller_has_left_is_not_done() -> None:
    done: list[str] = []

    async def run() -> None:
        async with computing(done) as batcher:
            first = asyncio.create_task(batcher.submit(ROW))
            await asyncio.sleep(0)
            left = asyncio.create_task(batcher.aside(lambda: done.append("left")))
            await asyncio.sleep(0)
            left.cancel()
            await batcher.aside(lambda: done.append("stayed"))
            await first

    in_virtual_time(run)
    assert done == ["inference", "stayed"]


def test_what_a_piece_raises_is_its_callers() -> None:
    async def run() -> None:
        async with computing([]) as batcher:
            with pytest.raises(ZeroDivisionError):
                await batcher.aside(lambda: 1 // 0)
            assert (await batcher.submit(ROW))["y"].shape == ROW.shape

    in_virtual_time(run)


def test_slices_grow_while_they_are_quick_and_shrink_when_they_are_not() -> None:
    pace, seen = Pace(), []
    for _ in range(40):
        seen.append(pace.points)
        pace.measured(pace.points, pace.points * SLICE_SECONDS / 10)
    assert seen[:5] == [1, 2, 4, 8, 8]
    pace.measured(8, 4 * SLICE_SECONDS)
    assert pace.points == 4
    pace.measured(1, 4 * SLICE_SECONDS)
    assert pace.points == 1


@pytest.mark.parametrize("cut", [1, 4, 5, 12])
def test_points_are_the_midpoints_of_each_rows_line_however_they_are_cut(cut: int) -> None:
    rows, baseline = np.array([[0.0, 10.0], [2.0, 2.0], [4.0, 0.0]]), np.array([[0.0, 2.0]])
    found = [points(rows, baseline, 4, begin, min(12, begin + cut)) for begin in range(0, 12, cut)]
    places = np.concatenate([place for place, _ in found])
    assert np.concatenate([row for _, row in found]).tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert places[:4].tolist() == [[0, 3], [0, 5], [0, 7], [0, 9]]
    assert places[8:, 0].tolist() == [0.5, 1.5, 2.5, 3.5]
