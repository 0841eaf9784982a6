"""The schedulers that ours is measured against do what textbooks say, and the trace is read as it was published."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench import philly_trace
from tests.bench.reference_schedulers import Jobs, Seconds, easy_backfill, fifo, strict_priority

CAPACITY = 8
QUEUES = ("a", "b", "c")
GUARANTEED = np.array([4, 3, 1])


@st.composite
def some_jobs(draw: st.DrawFn) -> Jobs:
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 30), st.integers(1, 20), st.integers(1, CAPACITY), st.integers(0, 2)),
            min_size=1,
            max_size=40,
        )
    )
    submitted, duration, gpus, queue = (np.array(each, dtype=np.int64) for each in zip(*sorted(rows), strict=True))
    return Jobs(submitted, duration, gpus, queue, QUEUES)


def jobs(*rows: tuple[int, int, int, int]) -> Jobs:
    submitted, duration, gpus, queue = (np.array(each, dtype=np.int64) for each in zip(*rows, strict=True))
    return Jobs(submitted, duration, gpus, queue, QUEUES)


def most_in_use(some: Jobs, starts: Seconds) -> int:
    """The peak; what starts in a second takes over from what ends in it."""
    moments = np.unique(starts)
    return max(
        int(some.gpus[(starts <= moment) & (moment < starts + some.duration)].sum()) for moment in moments.tolist()
    )


def easy_step_by_step(some: Jobs) -> list[int]:
    """EASY, second by second and without any cleverness."""
    starts: dict[int, int] = {}
    now = 0
    while len(starts) < len(some):
        while True:
            free = CAPACITY - sum(int(some.gpus[i]) for i, s in starts.items() if now < s + int(some.duration[i]))
            line = [i for i in range(len(some)) if i not in starts and some.submitted[i] <= now]
            if not line:
                break
            if some.gpus[line[0]] <= free:
                starts[line[0]] = now
                continue
            shadow = now
            while (left := left_at(some, starts, shadow)) < some.gpus[line[0]]:
                shadow += 1
            chosen = [
                i
                for i in line[1:]
                if some.gpus[i] <= free
                and (now + some.duration[i] <= shadow or some.gpus[i] <= left - some.gpus[line[0]])
            ]
            if not chosen:
                break
            starts[chosen[0]] = now
        now += 1
    return [starts[i] for i in range(len(some))]


def left_at(some: Jobs, starts: dict[int, int], moment: int) -> int:
    return CAPACITY - sum(int(some.gpus[i]) for i, s in starts.items() if moment < s + int(some.duration[i]))


@given(some_jobs())
def test_nobody_starts_early_and_the_cluster_is_never_overfull(some: Jobs) -> None:
    for starts in (
        fifo(some, CAPACITY),
        strict_priority(some, CAPACITY, GUARANTEED),
        easy_backfill(some, CAPACITY),
    ):
        assert (starts >= some.submitted).all()
        assert most_in_use(some, starts) <= CAPACITY


@given(some_jobs())
def test_fifo_starts_in_order_of_submission_and_as_soon_as_it_can(some: Jobs) -> None:
    starts = fifo(some, CAPACITY)
    assert (np.diff(starts) >= 0).all()
    for index in range(len(some)):
        earliest = max(int(some.submitted[index]), int(starts[:index].max(initial=0)))
        if starts[index] > earliest:
            before = {i: int(starts[i]) for i in range(index)}
            assert left_at(some, before, int(starts[index]) - 1) < some.gpus[index]


@given(some_jobs())
@settings(max_examples=200)
def test_easy_does_what_it_does_step_by_step(some: Jobs) -> None:
    assert easy_backfill(some, CAPACITY).tolist() == easy_step_by_step(some)


@given(some_jobs())
def test_strict_priority_of_one_queue_is_fifo(some: Jobs) -> None:
    alone = Jobs(some.submitted, some.duration, some.gpus, np.zeros_like(some.queue), ("a",))
    assert strict_priority(alone, CAPACITY, np.array([CAPACITY])).tolist() == fifo(alone, CAPACITY).tolist()


def test_a_queue_within_its_guarantee_goes_first() -> None:
    some = jobs((0, 10, 8, 0), (1, 10, 5, 2), (2, 10, 3, 1))
    assert strict_priority(some, CAPACITY, GUARANTEED).tolist() == [0, 10, 10]
    some = jobs((0, 10, 8, 0), (1, 10, 6, 2), (2, 10, 3, 1))
    assert strict_priority(some, CAPACITY, GUARANTEED).tolist() == [0, 20, 10]


def test_what_asks_too_much_is_left_out() -> None:
    assert len(jobs((0, 1, 9, 0), (0, 1, 8, 0)).that_fit(CAPACITY)) == 1
    with pytest.raises(ValueError, match="asks for 9 GPUs, the cluster has 8"):
        easy_backfill(jobs((0, 1, 8, 0), (0, 1, 9, 0)), CAPACITY)


def test_the_trace_is_the_published_one() -> None:
    trace = philly_trace.load()
    assert len(trace) == 82_247
    assert len(trace.queues) == 15
    assert trace.submitted[0] == 0
    assert (np.diff(trace.submitted) >= 0).all()
    assert trace.duration.min() == 1
    assert round(float(trace.duration.mean()), 1) == 13_135.9
    assert int((trace.gpus * trace.duration).sum() // 3_600) == 978_078


def test_guarantees_share_out_all_there_is() -> None:
    trace = philly_trace.load()
    shares = philly_trace.guarantees(trace, 640)
    assert shares.sum() == 640
    assert shares.max() == shares[trace.queues.index("ee9e8c")]
