"""Accounts of queues: nothing is lost between two looks, periods end, what was borrowed is forgotten by half."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.api.queue import Budget, BudgetUse, QueueSpec, QueueStatus, RecentShare
from trainyard.scheduling.accounts import borrowed_lately, period_start, read, spent

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = Budget(gpu_hours="100", period_seconds=86_400)


def after(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def test_a_period_begins_at_a_multiple_of_its_length_since_1970() -> None:
    assert period_start(DAY, after(30)) == after(24)


@given(st.lists(st.tuples(st.floats(0.01, 2), st.integers(0, 64)), min_size=1, max_size=8))
def test_however_often_one_looks_the_hours_are_the_same(steps: list[tuple[float, int]]) -> None:
    use, hours, total = spent(DAY, None, 0, START), 0.0, 0.0
    for length, gpus in steps:
        hours += length
        if hours >= 24:
            return
        total += length * gpus
        use = spent(DAY, use, gpus, after(hours))
    assert use.gpu_hours == pytest.approx(total, abs=1e-4)


def test_what_was_used_before_the_period_began_does_not_count() -> None:
    before = BudgetUse(period_start=START, gpu_hours=90, updated_at=after(20))
    use = spent(DAY, before, 8, after(26))
    assert use.period_start == after(24)
    assert use.gpu_hours == pytest.approx(16)


def test_half_of_what_was_borrowed_is_forgotten_in_a_half_life() -> None:
    before = RecentShare(share=0.8, updated_at=START)
    assert borrowed_lately(3600, before, 0.0, after(1)).share == pytest.approx(0.4)
    assert borrowed_lately(3600, before, 0.8, after(5)).share == pytest.approx(0.8)


@pytest.mark.parametrize(("hours", "held"), [(99.9, False), (100, True)])
def test_a_queue_that_has_used_up_its_budget_says_until_when(hours: float, held: bool) -> None:
    use = BudgetUse(period_start=START, gpu_hours=hours, updated_at=after(20))
    queues = {"research": (QueueSpec(budget=DAY), QueueStatus(budget=use))}
    found = read(queues, after(20)).used_up
    assert bool(found) is held
    if held:
        assert "budget of 100 GPU-hours; the next period begins 2026-01-02 00:00Z" in found["research"]
    assert read(queues, after(25)).used_up == {}


@pytest.mark.parametrize("half_life", [3600, 14 * 86_400, 31_622_400])
def test_what_was_borrowed_is_forgotten_however_often_one_looks(half_life: int) -> None:
    recent, looks = RecentShare(share=0.02, updated_at=START), 5000
    for each in range(looks):
        recent = borrowed_lately(half_life, recent, 0.0, START + timedelta(seconds=each + 1))
    assert recent.share == pytest.approx(0.02 * 0.5 ** (looks / half_life), rel=1e-6)


def test_hours_of_very_short_looks_add_up() -> None:
    use = spent(DAY, None, 0, START)
    for each in range(36_000):
        use = spent(DAY, use, 0.1, START + timedelta(milliseconds=10 * (each + 1)))
    assert use.gpu_hours == pytest.approx(0.01)


def test_readers_forget_from_when_it_was_written_on() -> None:
    lately = QueueStatus(recent_share=RecentShare(share=0.8, updated_at=START))
    queues = {"research": (QueueSpec(usage_half_life_seconds=3600), lately)}
    assert read(queues, after(2)).recent["research"] == pytest.approx(0.2)
