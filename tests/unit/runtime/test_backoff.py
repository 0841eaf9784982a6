"""Delays grow, stay within bounds, and start over after a success."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.runtime.backoff import Backoff, BackoffPolicy


def test_delays_double_up_to_the_cap_without_jitter() -> None:
    policy = BackoffPolicy(base=1, cap=10, jitter=0)
    assert [policy.delay(n, Random(1)) for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]


@given(failures=st.integers(1, 10**6), seed=st.integers(0, 2**32))
def test_a_delay_is_never_longer_than_the_cap_nor_shorter_than_jitter_allows(failures: int, seed: int) -> None:
    policy = BackoffPolicy(base=0.5, cap=60, jitter=0.3)
    assert 0.5 * 0.7 <= policy.delay(failures, Random(seed)) <= 60


def test_a_success_starts_over() -> None:
    backoff = Backoff(BackoffPolicy(base=1, cap=10, jitter=0), Random(1))
    assert [backoff.next(), backoff.next()] == [1, 2]
    backoff.reset()
    assert backoff.next() == 1


@pytest.mark.parametrize("bad", [{"base": 0}, {"base": 2, "cap": 1}, {"factor": 0.5}, {"jitter": 1}])
def test_a_policy_that_makes_no_sense_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="backoff needs"):
        BackoffPolicy(**bad)
