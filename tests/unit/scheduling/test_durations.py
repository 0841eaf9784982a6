"""What is learned of durations is a sound distribution, follows what happens, forgives over-runs, and can be kept."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.scheduling.durations import Durations, Features, name_prefix, remaining, size_class
from trainyard.scheduling.histograms import BINS, LONGEST, Histograms

SECONDS = st.floats(min_value=0.1, max_value=1e9)
FEATURES = st.builds(
    Features,
    queue=st.sampled_from(["a", "b"]),
    gpus=st.sampled_from([0, 0.5, 1, 4, 8, 16]),
    declared=st.none() | SECONDS,
    name=st.sampled_from(["", "train-1", "train-2", "eval"]),
)
SHARES = st.lists(st.floats(min_value=0.01, max_value=0.99), min_size=2, max_size=5).map(sorted)
ONE = Features("a", 1)


def learned(*observed: tuple[Features, float]) -> Durations:
    durations = Durations()
    for features, seconds in observed:
        durations.observe(features, seconds)
    return durations


def roughly(seconds: float) -> object:
    """Within the width of a bin."""
    return pytest.approx(seconds, rel=0.2)


@given(st.lists(st.tuples(FEATURES, SECONDS), max_size=20), FEATURES, SHARES)
def test_every_estimate_is_a_distribution_that_thinks_nothing_impossible(
    observed: list[tuple[Features, float]], features: Features, shares: list[float]
) -> None:
    estimate = learned(*observed).predict(features)
    assert estimate.chances.shape == (BINS,)
    assert estimate.chances.min() > 0
    assert math.isclose(estimate.chances.sum(), 1)
    quantiles = [estimate.quantile(share) for share in shares]
    assert quantiles == sorted(quantiles)
    assert quantiles[0] >= 1
    assert quantiles[-1] <= LONGEST * 1.001
    assert estimate.low <= estimate.median <= estimate.expected <= estimate.high


@given(
    st.lists(st.tuples(FEATURES, SECONDS), max_size=20), FEATURES, st.lists(SECONDS, min_size=2, max_size=2).map(sorted)
)
def test_who_runs_longer_is_expected_to_end_later_and_always_in_the_future(
    observed: list[tuple[Features, float]], features: Features, elapsed: list[float]
) -> None:
    estimate = learned(*observed).predict(features)
    earlier, later = (remaining(estimate, each) for each in elapsed)
    for name in ("low", "median", "high", "expected"):
        assert getattr(earlier, name) >= 1
        assert elapsed[1] + getattr(later, name) >= (elapsed[0] + getattr(earlier, name)) * 0.999
    assert later.low <= later.median <= later.expected <= later.high


def test_what_has_run_for_no_time_has_everything_left() -> None:
    estimate = learned((ONE, 500)).predict(ONE)
    assert remaining(estimate, 0).median == pytest.approx(estimate.median)


def test_an_over_run_is_judged_by_those_that_over_ran_too() -> None:
    estimate = learned(*[(ONE, seconds) for seconds in (60.0, 36_000.0, 60.0)] * 30).predict(ONE)
    assert estimate.median < 120
    assert 20_000 < remaining(estimate, 300).median < 50_000


def test_after_more_than_a_year_it_goes_on_as_long_again() -> None:
    assert remaining(Durations().predict(ONE), 2 * LONGEST).median == pytest.approx(2 * LONGEST)


def test_like_jobs_are_what_counts() -> None:
    observed = [(Features("a", 1), 100.0), (Features("a", 8), 10_000.0), (Features("b", 1), 3_000.0)] * 200
    durations = learned(*observed)
    for features, seconds in set(observed):
        assert durations.predict(features).median == roughly(seconds)


def test_an_unknown_queue_is_judged_by_jobs_of_the_same_size() -> None:
    durations = learned(*[(Features("a", 1), 100.0), (Features("a", 8), 10_000.0)] * 200)
    assert durations.predict(Features("new", 8)).median == roughly(10_000)


def test_recent_jobs_say_more_than_old_ones() -> None:
    durations = learned(*[(ONE, 10_000.0)] * 500, *[(ONE, 100.0)] * 60)
    assert durations.predict(ONE).median == roughly(100)


def test_repetitions_are_told_by_their_name() -> None:
    named = [(Features("a", 1, name=f"eval-{number}"), 100.0) for number in range(60)]
    others = [(Features("a", 1, name=f"train-{number}"), 10_000.0) for number in range(60)]
    durations = learned(*(each for pair in zip(named, others, strict=True) for each in pair))
    assert durations.predict(Features("a", 1, name="eval-99")).median == roughly(100)
    assert durations.predict(Features("a", 1, name="train-x7k9q")).median == roughly(10_000)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("train-12", "train"), ("train-x7k9q", "train"), ("eval", "eval"), ("resnet50-lr", "resnet50-lr"), ("17", "17")],
)
def test_prefixes(name: str, prefix: str) -> None:
    assert name_prefix(name) == prefix


def test_size_classes() -> None:
    assert [size_class(gpus) for gpus in (0, 0.5, 1, 2, 7, 8, 9)] == [
        "none",
        "one",
        "one",
        "part",
        "part",
        "node",
        "many",
    ]


def test_a_declared_duration_is_believed_at_first() -> None:
    estimate = Durations().predict(Features("a", 1, declared=7_200))
    assert 3_600 < estimate.median < 8_000


def test_a_declared_duration_is_corrected_by_what_came_of_others() -> None:
    durations = learned(*[(Features("a", 1, declared=each * 10), each) for each in (100.0, 1_000.0, 7_000.0)] * 100)
    assert durations.predict(Features("a", 1, declared=50_000)).median == pytest.approx(5_000, rel=0.35)


def test_the_band_holds_what_it_promises() -> None:
    random = np.random.default_rng(7)
    durations, inside = Durations(), []
    for seconds in random.lognormal(8, 2, size=4_000).tolist():
        estimate = durations.predict(ONE)
        inside.append(estimate.low <= seconds <= estimate.high)
        durations.observe(ONE, seconds)
    assert 0.75 < float(np.mean(inside[500:])) < 0.85


@given(st.lists(st.tuples(FEATURES, SECONDS), max_size=30), FEATURES)
def test_what_was_learned_survives_being_kept(observed: list[tuple[Features, float]], features: Features) -> None:
    durations = learned(*observed)
    kept = json.loads(json.dumps(durations.to_dict()))
    again = Durations.from_dict(kept)
    assert again.to_dict() == kept
    np.testing.assert_allclose(again.predict(features).chances, durations.predict(features).chances, rtol=5e-3)
    again.observe(features, 60.0)


def test_what_is_kept_fits_into_a_config_map_and_is_what_was_seen_last() -> None:
    histograms = Histograms()
    random = np.random.default_rng(3)
    for number in range(1_200):
        for seen in random.integers(0, BINS, size=80).tolist():
            histograms.count(("name", f"queue-{number}", "one", f"a-rather-long-name-of-a-job-{number}"), seen)
    kept = histograms.to_dict()
    assert len(json.dumps(kept)) < 1 << 20
    assert len(kept["contexts"]) == 1_000
    assert kept["contexts"][-1][1] == "queue-1199"


def test_another_format_begins_anew_and_a_damaged_one_is_named() -> None:
    kept = learned((ONE, 60.0)).to_dict()
    assert Durations.from_dict({**kept, "format": 2}).to_dict() == Durations().to_dict()
    assert Durations.from_dict({}).to_dict() == Durations().to_dict()
    for damaged in ({"counts": "no"}, {"counts": ""}, {"contexts": [["all"]]}, {"contexts": 3}):
        with pytest.raises(ValueError, match="damaged"):
            Durations.from_dict({**kept, **damaged})
