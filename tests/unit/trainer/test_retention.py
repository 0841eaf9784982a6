"""Which checkpoints stay: a table of cases, and what holds for every history."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainer.retention import Retention, Saved, is_smaller_better

HOUR = 3600.0


def saved(*metrics: float | None, every: float = HOUR / 2, attempt: int = 1) -> list[Saved]:
    """Checkpoints of steps 1, 2, ..., each with an evaluation of its own, `every` seconds apart."""
    return [
        Saved(attempt, step, every * step, metric, step if metric is not None else None)
        for step, metric in enumerate(metrics, 1)
    ]


def steps(retention: Retention, every: Sequence[Saved]) -> list[int]:
    return sorted(one.step for one in retention.kept(every))


@pytest.mark.parametrize(
    ("retention", "every", "kept"),
    [
        (Retention(newest=2), saved(None, None, None, None), [3, 4]),
        (Retention(newest=9), saved(None, None), [1, 2]),
        (Retention(newest=1), [], []),
        # the best by accuracy, and by loss
        (Retention(newest=1, best=2), saved(0.9, 0.7, 0.8, 0.1), [1, 3, 4]),
        (Retention(newest=1, best=2, smaller_is_better=True), saved(0.9, 0.7, 0.8, 0.1), [2, 4]),
        # of equal ones the later; one without a metric is never best
        (Retention(newest=1, best=1), saved(0.9, 0.9, 0.8, None), [2, 4]),
        # half an hour apart: two fall into each hour, of which the first stays
        (Retention(newest=1, every_seconds=HOUR), saved(*[None] * 6), [1, 2, 4, 6]),
        (Retention(newest=1, every_seconds=3 * HOUR), saved(*[None] * 7), [1, 6, 7]),
        (Retention(newest=1, best=1, every_seconds=3 * HOUR), saved(1, 2, 9, 1, 1, 1, 1), [1, 3, 6, 7]),
    ],
)
def test_what_stays_is_the_newest_the_best_and_one_for_each_span(
    retention: Retention, every: list[Saved], kept: list[int]
) -> None:
    assert steps(retention, every) == kept


def test_of_several_checkpoints_after_one_evaluation_the_first_is_the_best() -> None:
    every = [Saved(1, step, 0.0, metric, evaluated) for step, metric, evaluated in [(4, 0.5, 4), (6, 0.9, 6)]]
    later = [Saved(1, step, 0.0, 0.9, 6) for step in (7, 8)]
    assert steps(Retention(newest=1, best=2), [*every, *later]) == [4, 6, 8]


def test_a_later_attempt_is_newer_though_its_step_is_smaller() -> None:
    assert Retention(newest=1).kept([Saved(1, 90, 0.0), Saved(2, 50, 0.0)]) == {Saved(2, 50, 0.0)}


@pytest.mark.parametrize(
    ("metric", "smaller"),
    [("loss", True), ("mse", True), ("mae", True), ("validationLoss", True), ("accuracy", False), ("f1", False)],
)
def test_less_is_better_of_what_counts_errors(metric: str, smaller: bool) -> None:
    assert is_smaller_better(metric) is smaller


HISTORIES = st.lists(
    st.tuples(st.booleans(), st.floats(0, 5 * HOUR), st.none() | st.integers(0, 5).map(float)), min_size=1, max_size=30
)
RETENTIONS = st.builds(
    Retention,
    newest=st.integers(1, 4),
    best=st.integers(0, 4),
    smaller_is_better=st.booleans(),
    every_seconds=st.none() | st.floats(HOUR / 4, 4 * HOUR),
)


def history(events: list[tuple[bool, float, float | None]]) -> list[Saved]:
    """From (restarted before, seconds since the one before, metric measured here)."""
    attempt, at = 1, 0.0
    metric: float | None = None
    evaluated: int | None = None
    every = []
    for step, (restarted, passed, measured) in enumerate(events):
        at += passed
        if restarted:
            attempt, metric, evaluated = attempt + 1, None, None
        if measured is not None:
            metric, evaluated = measured, step
        every.append(Saved(attempt, step, at, metric, evaluated))
    return every


@given(RETENTIONS, HISTORIES)
def test_removing_after_each_save_keeps_what_a_choice_among_all_would(
    retention: Retention, events: list[tuple[bool, float, float | None]]
) -> None:
    every = history(events)
    there: set[Saved] = set()
    for one in every:
        there = retention.kept({*there, one})
        assert one in there, "the newest always stays"
    assert there == retention.kept(every)


@given(RETENTIONS, HISTORIES)
def test_what_stays_is_what_was_asked_for(retention: Retention, events: list[tuple[bool, float, float | None]]) -> None:
    every = history(events)
    kept = retention.kept(every)
    assert {*every[-retention.newest :]} <= kept
    if retention.every_seconds is not None:
        spans = {one.at // retention.every_seconds for one in every}
        assert {one.at // retention.every_seconds for one in kept} == spans
    else:
        assert len(kept) <= retention.newest + retention.best
    sign = 1 if retention.smaller_is_better else -1
    evaluations = {(one.attempt, one.evaluated): one.metric for one in every if one.metric is not None}
    best = sorted(evaluations.values(), key=lambda metric: sign * metric)[: retention.best]
    assert set(best) <= {one.metric for one in kept}
