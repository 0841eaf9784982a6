"""What the traffic says of a canary, however often it is looked at."""

import numpy as np
import pytest

from trainyard.inference.rollout.evidence import Stream, log_above, log_against, log_below
from trainyard.inference.rollout.latency import BUCKETS, allowed, bound, bucket, limit_of, slower
from trainyard.inference.rollout.verdict import (
    RISK_OF_ALARM,
    Answers,
    Comparison,
    Margins,
    Outcome,
    Tally,
    judge,
)

GOOD = Tally(requests=9000, errors=9, answered=8991, slow=440)


def canary(requests: int, errors: int = 0, slow: int | None = None) -> Tally:
    answered = requests - errors
    return Tally(requests, errors, answered, answered // 60 if slow is None else slow)


def outcome(one: Tally, minimum: int = 500, **fields: object) -> Outcome:
    return judge(Comparison(GOOD, one, **fields), Margins(), minimum).outcome  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (canary(3), Outcome.NOT_ENOUGH_TRAFFIC),
        (canary(5, errors=5), Outcome.ROLL_BACK),  # one that always fails is found at once
        (canary(1000, errors=50), Outcome.ROLL_BACK),
        (canary(1000, errors=11), Outcome.CONTINUE),  # at the margin neither can be shown
        (canary(3000, errors=3), Outcome.PROMOTE),
        (canary(1000, slow=300), Outcome.ROLL_BACK),
        (canary(1000, slow=50), Outcome.CONTINUE),
    ],
)
def test_a_verdict_needs_evidence(one: Tally, expected: Outcome) -> None:
    assert outcome(one) is expected


def test_a_good_canary_is_not_promoted_before_the_least_number_of_requests() -> None:
    assert outcome(canary(3000, errors=3), minimum=3001) is Outcome.NOT_ENOUGH_TRAFFIC


def test_answers_must_agree_where_they_are_compared() -> None:
    fine = canary(3000, errors=3)
    assert outcome(fine, answers=Answers(0, 0), shadowed=True) is Outcome.CONTINUE
    assert outcome(fine, answers=Answers(600, 1), shadowed=True) is Outcome.PROMOTE
    assert outcome(fine, answers=Answers(600, 40), shadowed=True) is Outcome.ROLL_BACK


def test_a_verdict_tells_its_numbers() -> None:
    found = judge(Comparison(GOOD, canary(1000, errors=50)), Margins(), 500)
    assert found.reason == "errors"
    assert found.words().startswith("failed requests: 5.00% of 1000, allowed 0.10% + 1.00%")
    waiting = judge(Comparison(GOOD, canary(900, errors=1, slow=18)), Margins(), 500)
    assert waiting.outcome is Outcome.CONTINUE
    assert 1000 < waiting.needed < 2000
    assert f"about {waiting.needed} requests needed" in waiting.words()


@pytest.mark.fault(86)
def test_looking_after_every_request_raises_no_more_false_alarms_than_allowed() -> None:
    random, runs, length, limit = np.random.default_rng(7), 120, 300, -np.log(RISK_OF_ALARM / 3)
    alarms = 0
    for _ in range(runs):  # rates at the margin exactly: the hardest that is not worse
        new = (random.random(length) < 0.06).cumsum()
        old = (random.random(length * 4) < 0.05).cumsum()
        alarms += any(
            log_above(Stream(int(new[i]), i + 1), Stream(int(old[4 * i + 3]), 4 * i + 4), 0.01) >= limit
            for i in range(0, length, 3)
        )
    assert alarms <= 2


def test_evidence_for_both_sides_is_never_there_at_once() -> None:
    old = Stream(10, 1000)
    for yes in range(0, 200, 5):
        new = Stream(yes, 1000)
        assert log_above(new, old, 0.01) == 0.0 or log_below(new, old, 0.01) == 0.0
    assert log_above(Stream(150, 1000), old, 0.01) > log_above(Stream(100, 1000), old, 0.01) > 6.0
    assert log_against(Stream(0, 0), 0.02) == 0.0


@pytest.mark.parametrize("time", [0.0, 0.4, 1.0, 1.01, 7.0, 20.0, 999.0, 60_000.0, 1e9])
def test_a_time_lies_in_its_bucket(time: float) -> None:
    index = bucket(time)
    assert 0 <= index < BUCKETS
    assert time <= bound(index) or index == BUCKETS - 1
    assert index == 0 or bound(index - 1) < time


def test_the_limit_of_time_leaves_a_twentieth_of_the_stable_answers_above_it() -> None:
    histogram = {10: 900, 20: 60, 30: 40}
    assert limit_of(histogram) == 20
    assert slower(histogram, 20) == 40
    assert limit_of({10: 49}) is None
    assert allowed(20, 2.0) == 28
    assert allowed(20, 1.25) == 23
