"""Windows, trend, daily profile, and the number that comes of them over time."""

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.inference.autoscale.decide import Limits, Policy
from trainyard.inference.autoscale.forecast import HALF_HOURS, DailyProfile, slope
from trainyard.inference.autoscale.history import History, Sample
from trainyard.inference.autoscale.latency import LatencyModel
from trainyard.inference.autoscale.tracker import Moment, Replicas, Tracker

POLICY = Policy(target=4, slots=4)
DAY = 86_400.0


@pytest.mark.fault(25, 91)
@given(
    st.lists(st.tuples(st.floats(-100, 100), st.integers(0, 50), st.integers(0, 99), st.integers(0, 99)), max_size=60)
)
def test_whatever_the_clock_and_the_counters_do_windows_are_sane(steps: list[tuple[float, int, int, int]]) -> None:
    history, now, requests = History(300), 0.0, 0
    for step, more, queued, in_flight in steps:
        now, requests = now + step, requests + more
        history.add(Sample(now, requests, 0, queued, in_flight))
        found = history.window(60)
        if found is not None:
            assert 0 < found.seconds <= 60 + 1e-6
            assert 0 <= found.rate < float("inf")
            assert 0 <= found.concurrency <= 198
        assert 0 < history.service_seconds(1.0) < float("inf")


def test_a_window_is_the_mean_of_its_time_only() -> None:
    history = History(300)
    for second in range(121):
        history.add(Sample(float(second), requests=second if second <= 60 else 60 + 5 * (second - 60), in_flight=2))
    assert history.window(60) is not None
    recent, whole = history.window(30), history.window(120)
    assert recent is not None
    assert whole is not None
    assert recent.rate == pytest.approx(5)
    assert whole.rate == pytest.approx(3)
    assert whole.in_flight == pytest.approx(2)


def test_the_memory_of_windows_is_bounded() -> None:
    history = History(600)
    for each in range(20_000):
        history.add(Sample(each / 2, each))
    assert len(history._points) < 1700
    assert 600 <= history.seconds < 1000


def test_the_time_of_an_answer_follows_from_what_is_in_flight() -> None:
    history = History(300)
    for second in range(300):
        history.add(Sample(float(second), requests=4 * second, in_flight=20))
    assert history.service_seconds(1.0) == pytest.approx(5, rel=0.05)


def test_refused_requests_do_not_make_answers_look_fast() -> None:
    history = History(300)
    for second in range(300):
        history.add(Sample(float(second), requests=1000 * second, queued=64, in_flight=8, refusing=True))
    assert history.service_seconds(3.0) == pytest.approx(3)


def test_chance_is_no_trend_and_a_ramp_is_one() -> None:
    random = Random(1)
    found = [slope([sum(random.random() < 0.02 for _ in range(750)) / 15 for _ in range(8)], 120) for _ in range(300)]
    assert sum(each != 0 for each in found) < 30
    assert slope([1 + 0.1 * each for each in range(8)], 80) == 0.0  # as few requests rise like that by chance
    assert slope([100 + 10 * each for each in range(8)], 80) == pytest.approx(1)
    assert slope([], 60) == 0.0


def test_a_profile_speaks_only_once_it_has_foretold_well() -> None:
    profile, noon = DailyProfile(), 12 * 3600.0
    for minute in range(int(4 * DAY / 60)):
        wall = 60.0 * minute
        profile.add(wall, 10.0 if 11 <= wall % DAY / 3600 < 13 else 1.0, 60.0)
        if wall == DAY + noon / 2:
            assert profile.at(DAY + noon) is None
    assert profile.at(5 * DAY + noon) == pytest.approx(10, rel=0.05)
    assert profile.at(5 * DAY) == pytest.approx(1, rel=0.05)
    assert len(profile.levels) == HALF_HOURS
    noise, random = DailyProfile(), Random(2)
    for minute in range(int(4 * DAY / 60)):
        noise.add(
            60.0 * minute, random.choice((0.0, 20.0)) if minute % 30 == 0 else 0.0, 60.0 if minute % 30 == 0 else 0
        )
    assert noise.at(5 * DAY + noon) is None


def test_requests_at_a_time_are_bounded_by_the_time_of_an_answer() -> None:
    model = LatencyModel()
    assert model.target(1.0, 32) == 32
    for busy in (2, 4, 6, 8) * 4:
        model.add(busy, 0.2 + 0.1 * busy)
    assert model.target(1.0, 32) == pytest.approx(8, rel=0.01)
    assert model.target(0.01, 32) == 1
    assert model.target(100, 32) == 32


def follow(rate: Callable[[float], float], seconds: float, service: float = 5.0, seed: int = 0) -> list[int]:
    """Numbers wanted while random requests come and replicas start in 30 s; every one is answered after `service` s."""
    tracker, random, starts = Tracker(60, 6), Random(seed), [0.0]
    requests, ends, wanted, history = 0, list[float](), 1, []
    for now in range(int(seconds)):
        for _ in range(100):
            if random.random() < rate(now) / 100:
                requests += 1
                ends.append(now + service)
        ends = [each for each in ends if each > now]
        ready = sum(now - each >= 30 for each in starts[:wanted]) or 1
        tracker.sample(Sample(float(now), requests, in_flight=len(ends)))
        if now % 2 == 0:
            wanted = tracker.decide(
                Moment(float(now), float(now)),
                Replicas(wanted, ready, wanted - ready),
                Limits(0, 100),
                POLICY,
                horizon=30,
            ).desired
            starts = [*starts[:wanted], *([float(now)] * (wanted - len(starts)))]
            history.append(wanted)
    return history


@pytest.mark.fault(90)
@pytest.mark.parametrize("seed", range(3))
def test_a_constant_random_load_does_not_make_the_number_flap(seed: int) -> None:
    settled = follow(lambda _now: 3.0, 1800, seed=seed)[150:]
    turns = sum(before != after for before, after in pairwise(settled))
    assert turns <= 20  # of 750 decisions: less than one in a minute
    assert min(settled) >= 4
    assert max(settled) <= 7


def test_a_service_that_nobody_uses_goes_to_zero_and_stays_there() -> None:
    found = follow(lambda now: 1.0 if now < 60 else 0.0, 900)
    assert found[100] >= 1
    assert set(found[-200:]) == {0}


@pytest.mark.fault(25)
def test_a_clock_that_goes_back_changes_nothing() -> None:
    tracker = Tracker(60, 6)
    for now in (0.0, 10.0, 20.0, 5.0):
        tracker.sample(Sample(now, 40, in_flight=4))
        found = tracker.decide(Moment(now, now), Replicas(3, 3, 0), Limits(0, 10), POLICY, horizon=30)
        assert 0 <= found.desired <= 10
