"""The work queue: nothing twice at once, nothing lost, failures wait."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainyard.runtime.backoff import BackoffPolicy
from trainyard.runtime.clock import LoopClock
from trainyard.runtime.work_queue import NEVER, NOW, Again, WorkQueue

pytestmark = pytest.mark.looptime

CLOCK = LoopClock(datetime(2026, 11, 23, tzinfo=UTC))
NO_JITTER = BackoffPolicy(base=1, cap=8, jitter=0)


def queue_of() -> WorkQueue[str]:
    return WorkQueue("test", CLOCK, Random(1), backoff=NO_JITTER)


@asynccontextmanager
async def running(
    queue: WorkQueue[str], reconcile: Callable[[str], Awaitable[Again]], workers: int = 2, limit: float | None = None
) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(queue.run(reconcile, workers=workers, stop=stop, limit=limit))
    try:
        yield
    finally:
        stop.set()
        await task


class Recorder:
    """A reconcile that notes when it saw which key and takes a second for it."""

    def __init__(self, again: Again = NEVER, seconds: float = 1.0) -> None:
        self.again = again
        self.seconds = seconds
        self.seen: list[tuple[str, float]] = []
        self.busy: Counter[str] = Counter()
        self.started = CLOCK.monotonic()

    async def __call__(self, key: str) -> Again:
        self.seen.append((key, round(CLOCK.monotonic() - self.started, 3)))
        self.busy[key] += 1
        assert self.busy[key] == 1, f"{key} is worked on twice at once"
        await asyncio.sleep(self.seconds)
        self.busy[key] -= 1
        return self.again

    def keys(self) -> list[str]:
        return [key for key, _ in self.seen]

    def times(self) -> list[float]:
        return [at for _, at in self.seen]


async def test_a_backlog_waits_for_everybody_else_and_who_is_added_anew_is_no_part_of_it() -> None:
    queue, seen = queue_of(), Recorder()
    for number in range(4):
        queue.add_later(f"old-{number}")
    async with running(queue, seen, workers=1):
        await asyncio.sleep(0.5)  # the first is worked on
        queue.add("new")
        queue.add("old-3")
        queue.add_later("new")
        assert sorted(key for key, _ in queue.waiting()) == ["new", "old-1", "old-2", "old-3"]
        queue.forget("old-2")
        await asyncio.sleep(6)
    assert seen.keys() == ["old-0", "new", "old-3", "old-1"]


async def test_a_key_that_waits_is_not_queued_twice() -> None:
    queue, recorder = queue_of(), Recorder()
    for _ in range(5):
        queue.add("a")
    queue.add("b")
    assert [key for key, _ in queue.waiting()] == ["a", "b"]
    async with running(queue, recorder, workers=1):
        await asyncio.sleep(10)
    assert recorder.keys() == ["a", "b"]


async def test_a_key_that_got_dirty_while_busy_is_worked_on_once_more() -> None:
    queue, recorder = queue_of(), Recorder()
    async with running(queue, recorder):
        queue.add("a")
        await asyncio.sleep(0.5)
        queue.add("a")
        queue.add("a")
        await asyncio.sleep(10)
    assert recorder.times() == [0, 1]


async def test_different_keys_are_worked_on_at_the_same_time() -> None:
    queue, recorder = queue_of(), Recorder()
    async with running(queue, recorder, workers=3):
        for key in "abc":
            queue.add(key)
        await asyncio.sleep(5)
    assert recorder.times() == [0, 0, 0]


async def test_of_several_wishes_the_earliest_wins() -> None:
    queue, recorder = queue_of(), Recorder()
    async with running(queue, recorder):
        queue.add_after("a", 10)
        queue.add_after("a", 5)
        queue.add_after("a", 20)
        await asyncio.sleep(60)
    assert recorder.times() == [5]


async def test_an_immediate_add_does_not_cancel_a_timer() -> None:
    queue, recorder = queue_of(), Recorder()
    async with running(queue, recorder):
        queue.add_after("a", 10)
        queue.add("a")
        await asyncio.sleep(60)
    assert recorder.times() == [0, 10]


async def test_a_reconcile_says_when_it_wants_to_see_its_key_again() -> None:
    queue, recorder = queue_of(), Recorder(again=Again(9))
    async with running(queue, recorder):
        queue.add("a")
        await asyncio.sleep(25)
    assert recorder.times() == [0, 10, 20]


async def test_again_now_lets_other_keys_go_first() -> None:
    queue, recorder = queue_of(), Recorder(again=NOW)
    async with running(queue, recorder, workers=1):
        queue.add("a")
        queue.add("b")
        await asyncio.sleep(3.5)
    assert recorder.keys() == ["a", "b", "a", "b"]


@pytest.mark.fault(38)
async def test_a_failing_key_backs_off_alone_and_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    queue = queue_of()
    seen: list[float] = []
    started, failing = CLOCK.monotonic(), False

    async def fail_four_times(key: str) -> Again:
        if key == "bad":
            seen.append(CLOCK.monotonic() - started)
            if len(seen) <= 4 or failing:
                raise ValueError("broken")
        return NEVER

    with caplog.at_level(logging.ERROR):
        async with running(queue, fail_four_times):
            queue.add("bad")
            queue.add("good")
            await asyncio.sleep(60)
            seen_before = len(seen)
            failing = True
            queue.add("bad")
            await asyncio.sleep(1.5)
    assert seen[:seen_before] == pytest.approx([0, 1, 3, 7, 15], abs=0.01)
    assert seen[seen_before:] == pytest.approx([60, 61], abs=0.01), "after a success the backoff begins anew"
    assert [getattr(record, "key", None) for record in caplog.records] == ["bad"] * 6
    assert all(record.exc_info for record in caplog.records)


async def test_a_key_that_got_dirty_while_it_failed_still_waits_its_backoff() -> None:
    queue = queue_of()
    seen: list[float] = []
    started = CLOCK.monotonic()

    async def fail_once(key: str) -> Again:
        seen.append(CLOCK.monotonic() - started)
        if len(seen) == 1:
            queue.add(key)
            raise ValueError("broken")
        return NEVER

    async with running(queue, fail_once):
        queue.add("a")
        await asyncio.sleep(30)
    assert seen == pytest.approx([0, 1], abs=0.01)


@pytest.mark.fault(39)
async def test_a_hung_reconcile_is_cut_off_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    queue = queue_of()
    starts = []

    async def hang(_key: str) -> Again:
        starts.append(CLOCK.monotonic())
        await asyncio.sleep(3600)
        return NEVER

    async with running(queue, hang, limit=10):
        queue.add("a")
        await asyncio.sleep(24)
    assert len(starts) == 3
    assert [getattr(record, "key", None) for record in caplog.records] == ["a"] * 3, (
        "the last was in hand when it was to stop"
    )


async def test_a_forgotten_key_is_not_worked_on_and_starts_without_failures() -> None:
    queue, recorder = queue_of(), Recorder()
    queue.add("a")
    queue.add_after("a", 5)
    queue.forget("a")
    async with running(queue, recorder):
        await asyncio.sleep(30)
    assert recorder.seen == []
    assert list(queue.waiting()) == []


@pytest.mark.fault(3)
async def test_stopping_lets_work_in_hand_end_and_starts_nothing_new() -> None:
    queue, recorder = queue_of(), Recorder(seconds=5)
    stop = asyncio.Event()
    task = asyncio.create_task(queue.run(recorder, workers=1, stop=stop))
    queue.add("a")
    queue.add("b")
    await asyncio.sleep(1)
    stop.set()
    await asyncio.sleep(1)
    assert not task.done()
    await task
    assert recorder.keys() == ["a"]
    assert CLOCK.monotonic() - recorder.started == pytest.approx(5, abs=0.01)


async def test_age_depth_and_durations_are_reported() -> None:
    heard: list[tuple[str, float, float, bool]] = []

    def observe(key: str, *, waited: float, worked: float, failed: bool) -> None:
        heard.append((key, round(waited, 2), round(worked, 2), failed))

    queue: WorkQueue[str] = WorkQueue("jobs", CLOCK, Random(1), observer=observe)
    assert list(queue.waiting()) == []
    queue.add("a")
    await asyncio.sleep(3)
    queue.add("b")
    assert [(key, round(seconds)) for key, seconds in queue.waiting()] == [("a", 3), ("b", 0)]
    async with running(queue, Recorder(), workers=1):
        await asyncio.sleep(5)
    assert heard == [("a", 3, 1, False), ("b", 1, 1, False)]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3), st.booleans()), max_size=30),
    workers=st.integers(1, 4),
)
def test_the_last_change_of_a_key_is_always_seen(steps: list[tuple[str, float, bool]], workers: int) -> None:
    """Whatever the order of changes, delays and failures: after the last change of a key a reconcile starts."""

    async def scenario() -> None:
        queue = queue_of()
        changed: dict[str, int] = {}
        seen: dict[str, int] = {}
        rough = Random(len(steps))

        async def reconcile(key: str) -> Again:
            seen[key] = changed[key]
            await asyncio.sleep(rough.random() / 100)
            if rough.random() < 0.3:
                raise ValueError("broken")
            return NEVER

        queue._backoff = BackoffPolicy(base=0.001, cap=0.002)
        async with running(queue, reconcile, workers=workers):
            for number, (key, pause, delayed) in enumerate(steps):
                changed[key] = number
                queue.add_after(key, pause / 1000) if delayed else queue.add(key)
                await asyncio.sleep(pause / 1000)
            async with asyncio.timeout(10):
                while seen != changed:  # noqa: ASYNC110 - the queue has no event for idle
                    await asyncio.sleep(0.002)

    # Not asyncio.run, which would take pytest's own loop away. Many examples need a fresh loop each.
    loop = asyncio.new_event_loop()
    logging.disable(logging.CRITICAL)
    try:
        loop.run_until_complete(scenario())
    finally:
        logging.disable(logging.NOTSET)
        loop.close()


async def test_what_rounding_left_of_a_time_is_waited_for_as_a_time() -> None:
    """Added to a clock that has run for a while it would be nothing, and the same look be taken without end."""
    queue, recorder = queue_of(), Recorder(Again(1e-14), seconds=0.0)
    async with running(queue, recorder):
        queue.add("a")
        await asyncio.sleep(0.0105)
    assert 2 <= len(recorder.seen) <= 12
