"""The learned time of a batch, and how long one may wait for company."""

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server.budget import ComputeTimes, Curve, compute_at_once, fit, hold_until
from server.lineup import Place

samples = st.dictionaries(st.integers(1, 512), st.lists(st.floats(1e-5, 10), min_size=1, max_size=9), min_size=1)


@given(samples)
def test_one_more_row_is_never_predicted_to_be_faster(measured: dict[int, list[float]]) -> None:
    curve = fit(measured)
    times = [curve.predict(rows) or 0.0 for rows in range(1, 600)]
    assert all(later >= earlier * (1 - 1e-9) for earlier, later in pairwise(times))
    everything = [seconds for times in measured.values() for seconds in times]
    assert min(everything) * (1 - 1e-9) <= curve.seconds[0]
    assert curve.seconds[-1] <= max(everything) * (1 + 1e-9)


def test_sizes_out_of_order_are_pooled_by_their_counts() -> None:
    assert fit({1: [1.0], 2: [4.0, 4.0, 4.0], 3: [2.0], 4: [9.0]}).seconds == (1.0, 3.5, 3.5, 9.0)


def test_one_slow_batch_changes_nothing() -> None:
    assert fit({8: [1.0, 1.0, 1.0, 1.0, 50.0]}).seconds == (1.0,)


@pytest.mark.parametrize(("rows", "seconds"), [(1, 2.0), (4, 2.0), (6, 3.0), (8, 4.0), (16, 8.0)])
def test_between_known_sizes_lies_a_line_and_above_them_time_grows_with_the_rows(rows: int, seconds: float) -> None:
    assert Curve((4, 8), (2.0, 4.0)).predict(rows) == seconds


def test_a_model_that_became_slower_is_learned_again() -> None:
    times = ComputeTimes()
    for seconds in [0.001] * 40 + [0.010] * 40:
        times.measured(4, seconds)
    assert times.curve.predict(4) == 0.010


@pytest.mark.parametrize(
    ("places", "budget", "until"),
    [
        ([Place(1, since=10.0), Place(1, since=10.5)], 5.0, 10 + 5 - 3),
        ([Place(1, since=10.0), Place(1, since=10.5, deadline=14.0)], 5.0, 14 - 3),
        ([Place(1, since=10.0)], 0.0, -inf),
        ([Place(8, since=10.0)], 5.0, -inf),
        ([], 5.0, -inf),
    ],
)
def test_a_batch_waits_while_everybody_in_it_is_still_in_time(places: list[Place], budget: float, until: float) -> None:
    assert hold_until(places, Curve((1, 3), (1.0, 3.0)), budget, 8) == until


@pytest.mark.parametrize(
    ("measured", "rows", "at_once"),
    [
        ({}, 1, False),
        ({1: [0.0001]}, 1, True),
        ({1: [0.0001]}, 64, False),  # a batch of 64 may take 64 times as long as one row, for all that is known
        ({1: [0.0001], 64: [0.0003]}, 64, True),
        ({1: [0.002]}, 1, False),
        ({1: [0.005, 0.0001, 0.005]}, 1, True),  # others were slow because their thread had to wait
    ],
)
def test_what_takes_less_than_the_way_to_the_thread_is_computed_at_once(
    measured: dict[int, list[float]], rows: int, at_once: bool
) -> None:
    assert compute_at_once(rows, fit(measured, min)) is at_once


def test_a_model_that_became_slower_is_handed_over_again() -> None:
    times = ComputeTimes()
    for seconds in [0.0001] * 40 + [0.010] * 40:
        times.measured(4, seconds)
    assert not compute_at_once(4, times.fastest)


def test_nobody_waits_while_nothing_is_known() -> None:
    assert hold_until([Place(1)], Curve(), 5.0, 8) == -inf
