"""Whatever comes, leaves or expires: who is computed, when, and what each caller gets. Time is virtual."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Any

import looptime
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from server.batcher import Batcher
from server.errors import DeadlineExceeded, QueueFull
from server.limits import Limits
from server.metrics import Metrics
from server.terms import Terms
from server.threads import Threads

MAX_BATCH, SERVICE_SECONDS, MEASURED_SECONDS = 4, 0.010, 0.002


@dataclass(frozen=True)
class Ask:
    """A caller. Times in seconds; leaves: after its arrival."""

    at: float
    rows: int = 1
    width: int = 1
    priority: int = 0
    seconds: float = inf
    leaves: float = inf


def milliseconds(least: int, most: int) -> st.SearchStrategy[float]:
    return st.integers(least, most).map(lambda whole: whole / 1000)


def asks() -> st.SearchStrategy[list[Ask]]:
    later = st.just(inf) | milliseconds(0, 40)
    one = st.builds(Ask, milliseconds(0, 60), st.integers(1, 4), st.integers(1, 2), st.integers(-1, 1), later, later)
    return st.lists(one, max_size=25).map(lambda found: sorted(found, key=lambda ask: ask.at))


@dataclass
class World(Executor):
    """A compute thread that takes SERVICE_SECONDS for each batch, and remembers (when, numbers, rows) of it."""

    loop: asyncio.AbstractEventLoop
    batches: list[tuple[float, list[int], int]] = field(default_factory=list)
    outcomes: dict[int, list[Any]] = field(default_factory=dict)

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.loop.call_later(SERVICE_SECONDS, future.set_result, work(*args, **kwargs))
        return future

    def compute(self, rows: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        self.batches.append((self.loop.time(), list(dict.fromkeys(rows[:, 0].tolist())), len(rows)))
        return {"y": rows * 2}

    async def call(self, batcher: Batcher, number: int, ask: Ask) -> None:
        rows = np.full((ask.rows, ask.width), number)
        try:
            answer: Any = (await batcher.submit(rows, Terms(ask.priority, ask.seconds)))["y"]
            assert answer.tolist() == (rows * 2).tolist()
        except (QueueFull, DeadlineExceeded) as error:
            answer = error
        except asyncio.CancelledError:
            answer = "left"
        self.outcomes.setdefault(number, []).append(answer)


def play(asked: list[Ask], limits: Limits) -> World:
    """Everything that happens to these callers."""
    loop = looptime.new_event_loop(noop_cycles=0)

    async def run() -> World:
        world = World(loop)
        clock = count(0, MEASURED_SECONDS).__next__  # looked at before and after each batch
        batcher = Batcher(world.compute, limits, Metrics(), Threads([world]), clock=clock)
        serving = asyncio.create_task(batcher.run())
        tasks = []
        for number, ask in enumerate(asked):
            await asyncio.sleep(ask.at - loop.time())
            tasks.append(asyncio.create_task(world.call(batcher, number, ask)))
            await asyncio.sleep(0)
            if ask.leaves < inf:
                loop.call_later(ask.leaves, tasks[-1].cancel)
        await asyncio.gather(*tasks)
        assert not batcher.waiting
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        return world

    try:
        world: World = loop.run_until_complete(run())
        return world
    finally:
        loop.close()


@given(asks(), st.sampled_from([0, 8, 25]), st.integers(1, 30))
@settings(max_examples=60)
def test_every_request_is_answered_once_and_nothing_is_computed_that_nobody_wants(
    asked: list[Ask], budget_ms: int, max_queue: int
) -> None:
    world = play(asked, Limits(MAX_BATCH, max_queue, budget_ms))
    assert sorted(world.outcomes) == list(range(len(asked)))
    assert all(len(outcome) == 1 for outcome in world.outcomes.values())
    computed = [number for _, numbers, _ in world.batches for number in numbers]
    assert len(set(computed)) == len(computed)
    for when, numbers, rows in world.batches:
        assert rows == sum(asked[number].rows for number in numbers) <= MAX_BATCH
        assert len({asked[number].width for number in numbers}) == 1
        for number in numbers:
            ask = asked[number]
            assert ask.at <= when < ask.at + ask.seconds
            assert when <= ask.at + ask.leaves
    for number, (outcome,) in world.outcomes.items():
        assert (number in computed) or isinstance(outcome, QueueFull | DeadlineExceeded) or outcome == "left"
        assert not (number in computed and isinstance(outcome, QueueFull | DeadlineExceeded))


@given(asks())
@settings(max_examples=40)
def test_equals_are_computed_in_the_order_in_which_they_came(asked: list[Ask]) -> None:
    world = play(asked, Limits(MAX_BATCH, 64))
    computed = [number for _, numbers, _ in world.batches for number in numbers]
    for priority in (-1, 0, 1):
        for width in (1, 2):
            equals = [
                number for number in computed if (asked[number].priority, asked[number].width) == (priority, width)
            ]
            assert equals == sorted(equals)


def test_a_higher_priority_goes_first_and_waiting_makes_up_for_it() -> None:
    line = [Ask(0.0, 4), Ask(0.001, 4), Ask(0.002, 4, priority=1), Ask(0.003, 4)]
    assert [numbers for _, numbers, _ in play(line, Limits(MAX_BATCH)).batches] == [[0], [2], [1], [3]]
    busy = [Ask(0.010 * index, 4, priority=1) for index in range(120)]
    started = {numbers[0]: when for when, numbers, _ in play([Ask(0.0, 4), Ask(0.0, 4), *busy], Limits(4, 999)).batches}
    assert 0.5 < started[1] < 2.1, "a lower priority waits, but not for ever"


def test_a_caller_is_told_at_its_deadline_though_compute_is_busy() -> None:
    world = play([Ask(0.0, 4), Ask(0.001, 4), Ask(0.002, 4, seconds=0.003)], Limits(MAX_BATCH))
    assert isinstance(world.outcomes[2][0], DeadlineExceeded)
    assert list(world.outcomes) == [2, 0, 1]


def test_a_budget_lets_a_batch_wait_for_company_once_its_time_is_known() -> None:
    pair = [Ask(0.100, 1), Ask(0.105, 1)]
    greedy = play([Ask(0.0), *pair], Limits(MAX_BATCH))
    patient = play([Ask(0.0), *pair], Limits(MAX_BATCH, 64, 20))
    assert [numbers for _, numbers, _ in greedy.batches] == [[0], [1], [2]]
    assert [numbers for _, numbers, _ in patient.batches] == [[0], [1, 2]]
    assert patient.batches[0][0] == 0.0, "nothing is known yet, so nobody waits"
    assert patient.batches[1][0] <= 0.120 + 0.002


def test_a_full_batch_does_not_wait_for_its_budget() -> None:
    world = play([Ask(0.0), Ask(0.1, 2), Ask(0.101, 2)], Limits(MAX_BATCH, 64, 1000))
    assert world.batches[1][0] < 0.105
