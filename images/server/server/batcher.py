"""Dynamic batching: greedy with no added delay, unless a latency budget allows a wait for company.

Threads compute (threads.py), or the event loop itself where a batch takes less than the way to a thread and back. While
none is free requests wait in a bounded line; then all that wait and fit into one batch are taken, in order of their
turns (lineup.py). Beside another one only a full batch begins. So a lone request pays nothing, and under load batches grow by themselves. With a budget (budget.py) a
batch that is not full waits as long as everyone in it is still in time. A request whose caller has left, or whose
deadline has come, is dropped before it costs anything.
"""

import asyncio
import logging
import time
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from server.aside import Aside, Piece
from server.budget import NOT_AT_ONCE_SECONDS, ComputeTimes, compute_at_once, hold_until
from server.errors import DeadlineExceeded, ModelFailed, QueueFull
from server.limits import Limits
from server.lineup import Place, choose
from server.metrics import Metrics
from server.terms import PLAIN, Terms
from server.threads import Threads, compute_threads
from server.tracing import Waited, computed, waits

Array = NDArray[Any]
Outputs = Mapping[str, Array]
Compute = Callable[[Array], Outputs]
Result = TypeVar("Result")
_DEADLINE, _CALLER_LEFT = "deadline", "cancelled"
_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Waiting:
    rows: Array
    place: Place
    answer: asyncio.Future[Outputs]
    traced: Waited | None


def _turn(waiting: _Waiting) -> float:
    return waiting.place.turn


class Batcher:
    """Line in front of the threads that compute. Owned by one event loop; `run` must be running for answers to come."""

    def __init__(
        self,
        compute: Compute,
        limits: Limits,
        metrics: Metrics,
        threads: Threads | None = None,
        measured: Mapping[int, Sequence[float]] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """threads: one, unless they are given.

        measured: seconds of batches that were computed before, by their rows; None where rows alone do not tell the
        time, as with texts of any length: then the threads compute them all.
        """
        self._compute = compute
        self.limits = limits
        self._max_batch = limits.max_batch
        self._max_queue = limits.max_queue
        self._budget = limits.budget_seconds
        self._metrics = metrics
        self._clock = clock
        self._times = ComputeTimes()
        self._measuring = Lock()
        self._known = measured is not None
        for size, times in (measured or {}).items():
            for seconds in times:
                self._times.measured(size, seconds)
        self._line: list[_Waiting] = []
        self._aside = Aside()
        self._arrived = asyncio.Event()
        self._threads = threads or compute_threads(1, side_by_side=False)
        self._fault: BaseException | None = None

    async def submit(self, rows: Array, terms: Terms = PLAIN) -> Outputs:
        """Outputs for rows (N, ...). Raises QueueFull at once, DeadlineExceeded when it is too late, ModelFailed later.

        A cancelled caller leaves the line.
        """
        if len(self._line) >= self._max_queue:
            raise QueueFull(f"{len(self._line)} requests are waiting, which is the limit; try again later")
        loop = asyncio.get_running_loop()
        now = loop.time()
        place = Place(len(rows), (rows.shape[1:], rows.dtype), now, terms.priority, now + terms.seconds)
        waiting = _Waiting(rows, place, loop.create_future(), waits())
        timer = None
        if terms is not PLAIN and terms.seconds != PLAIN.seconds:
            timer = loop.call_at(
                place.deadline, self._expire, waiting
            )  # told at the deadline, not when compute is free
        insort(self._line, waiting, key=_turn)
        if self._may_begin():
            self._arrived.set()
        try:
            return await waiting.answer
        except asyncio.CancelledError:
            if waiting in self._line:
                self._drop(waiting, _CALLER_LEFT)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    async def aside(self, work: Callable[[], Result]) -> Result:
        """What work returns in a compute thread, which does it when no inference waits, or when it waited for a second."""
        loop = asyncio.get_running_loop()
        piece = Piece(work, loop.time(), loop.create_future())
        self._aside.add(piece)
        self._arrived.set()
        result: Result = await piece.result
        return result

    @property
    def waiting(self) -> int:
        """Requests in the line."""
        return len(self._line)

    async def run(self) -> None:
        """Serve the line until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if self._fault is not None:
                raise self._fault
            if not self._threads.free:
                self._arrived.clear()
                continue
            if (piece := self._aside.due(loop.time(), idle=not self._line)) is not None:
                self._threads.run(piece.done, company=bool(self._line)).add_done_callback(self._told)
                continue
            if not self._may_begin():
                self._arrived.clear()
                continue
            if self._budget > 0:
                await self._company(loop)
            batch = self._take(loop.time())
            if not batch:
                self._arrived.clear()
                continue
            rows = sum(one.place.rows for one in batch)
            if self._known and compute_at_once(rows, self._times.fastest):
                began = time.perf_counter_ns()
                self._settle(batch, self._at_once(batch), began)
                await asyncio.sleep(0)  # the loop reads what has come meanwhile: the next batch
            else:
                self._hand_over(batch)

    def close(self) -> None:
        """Stop the compute threads after what they are doing."""
        self._threads.close()

    def _may_begin(self) -> bool:
        """Whether a batch may begin now: beside another one it must be full, since any other gains by waiting for more."""
        threads = self._threads
        return threads.idle or (threads.free and sum(one.place.rows for one in self._line) >= self._max_batch)

    def _hand_over(self, batch: list[_Waiting]) -> None:
        """Let a thread compute the batch while this loop goes on."""
        requests = [one.rows for one in batch]
        computing = self._threads.run(self._answers, requests, company=bool(self._line))
        computing.add_done_callback(partial(self._computed, batch, time.perf_counter_ns()))

    def _computed(
        self, batch: list[_Waiting], began: int, computing: "asyncio.Future[list[Outputs | Exception]]"
    ) -> None:
        if self._ended(computing):
            self._settle(batch, computing.result(), began)

    def _told(self, piece: "asyncio.Future[Callable[[], None]]") -> None:
        if self._ended(piece):
            piece.result()()

    def _ended(self, work: "asyncio.Future[Any]") -> bool:
        """Its thread is free again. False where it has no result, which cannot happen; `run` then raises why."""
        self._arrived.set()
        if work.cancelled():
            return False
        fault = work.exception()
        self._fault = self._fault or fault  # a thread beside it that went on takes nothing back
        return fault is None

    async def _company(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the next batch grow while its budget lasts; those of another kind that wait already are not made to."""
        while self._line:
            places = [one.place for one in self._line]
            chosen = [places[index] for index in choose(places, self._max_batch)]
            until = hold_until(chosen, self._times.curve, self._budget, self._max_batch)
            if len(chosen) < len(places) or until <= loop.time():
                return
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._arrived.wait()

    def _take(self, now: float) -> list[_Waiting]:
        """The next batch, out of the line; the expired leave it first."""
        for one in [one for one in self._line if one.place.deadline <= now or one.answer.done()]:
            if one.place.deadline <= now:
                self._expire(one)
            else:  # cancelled, and not yet awake to leave by itself
                self._drop(one, _CALLER_LEFT)
        line, chosen = self._line, choose([one.place for one in self._line], self._max_batch)
        batch = [line[index] for index in chosen]
        if len(chosen) == len(line):
            line.clear()
        else:
            taken = set(chosen)
            self._line = [one for index, one in enumerate(line) if index not in taken]
        for one in batch:
            self._metrics.queue_seconds.observe(now - one.place.since)
        return batch

    def _expire(self, waiting: _Waiting) -> None:
        if waiting not in self._line:  # being computed: late is better than never
            return
        self._drop(waiting, _DEADLINE)
        if not waiting.answer.done():
            waited = waiting.place.deadline - waiting.place.since
            waiting.answer.set_exception(
                DeadlineExceeded(f"its deadline passed after {waited * 1e3:.0f} ms in the queue")
            )

    def _drop(self, waiting: _Waiting, reason: str) -> None:
        self._line.remove(waiting)
        self._metrics.saved_rows.labels(reason).inc(waiting.place.rows)

    def _at_once(self, batch: list[_Waiting]) -> list[Outputs | Exception]:
        """Answers in order, computed by the loop; after a surprise a thread shows what the times have become."""
        began = self._clock()
        answers = self._answers([one.rows for one in batch])
        if self._clock() - began > NOT_AT_ONCE_SECONDS:
            self._times = ComputeTimes()
        return answers

    def _answers(self, requests: list[Array]) -> list[Outputs | Exception]:
        """Answers in order. One bad request must not fail those batched with it."""
        rows = requests[0] if len(requests) == 1 else np.concatenate(requests)
        started = self._clock()
        try:
            outputs = self._compute(rows)
        except ModelFailed as error:
            return [error] if len(requests) == 1 else [self._answers([one])[0] for one in requests]
        except Exception as error:  # noqa: BLE001 - the loop must outlive any fault; the caller gets a 500
            _log.exception("inference failed")
            return [ModelFailed(f"inference failed: {type(error).__name__}")] * len(requests)
        seconds = self._clock() - started
        self._metrics.batch_rows.observe(len(rows))
        self._metrics.compute_seconds.observe(seconds)
        with self._measuring:
            self._times.measured(len(rows), seconds)
        return _split(outputs, [len(one) for one in requests])

    def _settle(self, batch: list[_Waiting], answers: list[Outputs | Exception], began: int) -> None:
        """Answer a batch whose computation began at that time of perf_counter_ns."""
        if traced := [one.traced for one in batch if one.traced is not None]:
            computed(traced, sum(one.place.rows for one in batch), began)
        now = asyncio.get_running_loop().time()
        for one, answer in zip(batch, answers, strict=True):
            if one.answer.done():  # the caller left while its batch was computed
                self._metrics.wasted_rows.labels(_CALLER_LEFT).inc(one.place.rows)
                continue
            if one.place.deadline <= now:
                self._metrics.wasted_rows.labels(_DEADLINE).inc(one.place.rows)
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)


def _split(outputs: Outputs, sizes: list[int]) -> list[Outputs | Exception]:
    answers: list[Outputs | Exception] = []
    end = 0
    for size in sizes:
        begin, end = end, end + size
        answers.append({name: values[begin:end] for name, values in outputs.items()})
    return answers
