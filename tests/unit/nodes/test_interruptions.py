"""How often gangs are expected to be interrupted: from what was published to what is seen here."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.nodes.looks import NOW
from trainyard.nodes.interruptions import AT_RISK, HALF_LIFE, PUBLISHED, WEIGHT, Interruptions, expected, weight
from trainyard.scheduling.snapshot import Standing

rates = st.floats(1e-7, 10)
hours = st.floats(0, 1e7)
times = st.integers(0, 10_000)


def test_where_nothing_was_seen_it_is_as_published() -> None:
    assert Interruptions().rate("h200", NOW) == PUBLISHED
    apart = 1 / (16_384 * PUBLISHED)
    assert apart == pytest.approx(3.1, abs=0.05), "hours between interruptions of that gang"


def test_what_was_published_counts_like_a_few_interruptions_and_then_ones_own() -> None:
    seen = Interruptions()
    quiet = WEIGHT / PUBLISHED  # in which as many were expected
    seen.ran("h200", quiet, 0, NOW)
    assert seen.rate("h200", NOW) == pytest.approx(PUBLISHED / 2)
    seen.ran("a100", 1e6, 8 * 20, NOW)
    assert seen.rate("a100", NOW) == pytest.approx(8 * 20 / 1e6, rel=0.15)
    assert seen.rate("other", NOW) == PUBLISHED


def test_what_was_long_ago_is_forgotten() -> None:
    seen = Interruptions()
    seen.ran("h200", 1000.0, 50, NOW)
    before, later, much_later = (seen.rate("h200", NOW + n * HALF_LIFE) for n in (0, 3, 30))
    assert before > later > much_later == pytest.approx(PUBLISHED, rel=1e-3)


@given(rates, hours, times, st.floats(1, 1000))
def test_more_interruptions_raise_an_expectation_and_quiet_hours_lower_it(
    rate: float, ran: float, struck: int, factor: float
) -> None:
    found = expected(rate, ran, struck)
    assert expected(rate, ran, struck + 1) > found >= expected(rate, ran * factor, struck)
    assert expected(rate * factor, ran, struck) >= found
    seen = struck / ran if ran else rate
    assert min(rate, seen) * (1 - 1e-9) <= found
    if struck and ran:
        assert found <= max(rate, seen) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("standing", "times"),
    [(Standing(), 1.0), (Standing(lemon=4.5), 4.5), (Standing(risk=1), AT_RISK), (Standing(risk=3, lemon=50.0), 50.0)],
)
def test_a_node_that_stands_badly_weighs_more(standing: Standing, times: float) -> None:
    assert weight(standing) == times


def test_only_news_are_worth_being_kept() -> None:
    seen = Interruptions()
    assert seen.ran("h200", 1000.0, 0, NOW) == 1000.0
    assert seen.ran("h200", 10.0, 0, NOW + timedelta(seconds=30)) is None
    assert seen.ran("h200", 5.0, 1, NOW + timedelta(seconds=60)) == 15.0
    assert seen.ran("h200", 40.0, 0, NOW + timedelta(seconds=90)) is None
    assert seen.ran("h200", 40.0, 0, NOW + timedelta(seconds=120)) == 80.0
    assert seen.ran("h200", 0.0, 0, NOW + timedelta(seconds=150)) is None


def test_what_was_learned_is_kept() -> None:
    seen = Interruptions()
    seen.ran("h200", 1234.5, 7, NOW)
    again = Interruptions.from_dict(seen.to_dict())
    assert again.rate("h200", NOW + HALF_LIFE) == pytest.approx(seen.rate("h200", NOW + HALF_LIFE))


@pytest.mark.parametrize("kept", [{"a": 1}, {"a": [-1, 0, NOW.isoformat()]}, {"a": [1, 0, "x"]}, [], {"a": [1, 2]}])
def test_what_is_damaged_is_said(kept: object) -> None:
    with pytest.raises(ValueError, match="is damaged and is to be deleted"):
        Interruptions.from_dict(kept)  # type: ignore[arg-type]
