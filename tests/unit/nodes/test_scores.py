"""Scores of nodes: from outcomes of jobs, with how sure they are, and from errors that harmed nobody."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.nodes.looks import NOW, at
from trainyard.api.failure import Failure
from trainyard.nodes.errors import ErrorKind, GpuError
from trainyard.nodes.lemons import HALF_LIFE, ONE_EVENT, Lemons, blames, wilson
from trainyard.nodes.risk import level, score

_ROUNDING = 1e-9


def fleet(nodes: int = 20, good: int = 19, bad: int = 1) -> Lemons:
    """Nodes on each of which one attempt of twenty failed, by default."""
    made = Lemons()
    for number in range(nodes):
        for attempt in range(good + bad):
            made.outcome([f"n{number}"], f"n{number}" if attempt < bad else "", NOW)
    return made


def ends(lemons: Lemons, name: str, good: int, bad: int) -> Lemons:
    """Attempts one after the other, the last one now."""
    for attempt in range(good + bad):
        time = NOW - (good + bad - 1 - attempt) * ONE_EVENT
        lemons.outcome([name], name if attempt < bad else "", time)
    return lemons


@pytest.mark.parametrize(
    ("good", "bad", "sour"),
    [(0, 1, False), (1, 2, True), (9, 1, False), (40, 4, False), (4, 6, True), (0, 2, True), (10, 2, False)],
)
def test_a_node_has_to_stand_out_with_confidence(good: int, bad: int, sour: bool) -> None:
    lemon = ends(fleet(), "mine", good, bad).of("mine", NOW)
    assert lemon is not None
    assert lemon.sour is sour, lemon.words()


def test_where_everything_fails_nobody_stands_out() -> None:
    lemons = fleet(good=1, bad=5)
    assert not any(lemon.sour for number in range(20) if (lemon := lemons.of(f"n{number}", NOW)))


@pytest.mark.parametrize(
    ("kind", "blameless", "expected"),
    [
        ("Node", False, True),
        ("Node", True, False),
        ("GPU", False, True),
        ("GPU", True, False),
        ("UserError", False, False),
    ],
)
def test_a_pod_that_was_sent_away_is_no_failure_of_its_node(kind: str, blameless: bool, expected: bool) -> None:
    told = {"attempt": 1, "class": kind, "node": "n1", "blameless": blameless, "time": NOW.isoformat()}
    assert blames(Failure.model_validate(told)) is expected


def test_a_gang_that_fails_blames_one_node_and_tries_all() -> None:
    lemons = Lemons()
    lemons.outcome(["a", "b", "a"], "b", NOW)
    found = {name: lemons.of(name, NOW) for name in ("a", "b", "c")}
    assert [(each and (each.trials, each.failures)) for each in found.values()] == [(1, 0), (1, 1), None]


def test_one_event_that_takes_several_jobs_of_a_node_counts_once() -> None:
    lemons = Lemons()
    for seconds in (0, 1, 100, 299, 300, 400, 3600):
        lemons.outcome(["a", "b"], "a", at(seconds))
    found = {name: lemons.of(name, at(3600)) for name in ("a", "b")}
    assert {name: each and (round(each.trials, 1), round(each.failures, 1)) for name, each in found.items()} == {
        "a": (3, 3),
        "b": (7, 0),
    }


def test_what_was_long_ago_is_forgotten() -> None:
    lemons = ends(fleet(bad=0), "mine", 2, 6)
    sour, later = lemons.of("mine", NOW), lemons.of("mine", NOW + 3 * HALF_LIFE)
    assert sour is not None
    assert later is not None
    assert (sour.sour, later.sour) == (True, False)
    assert later.failures == pytest.approx(0.75, rel=0.01)


def test_words_say_how_sure_it_is() -> None:
    lemon = ends(fleet(bad=0), "mine", 1, 3).of("mine", NOW)
    assert lemon is not None
    assert lemon.words().startswith("3 of 4 attempts failed there, at least ")


def test_what_was_learned_is_kept() -> None:
    lemons, again = fleet(), Lemons()
    again.recall(lemons.to_dict())
    assert again.of("n1", at(60)) == lemons.of("n1", at(60))


@pytest.mark.parametrize("kept", [{"a": 1}, {"a": [1, 2, "2026-01-01T00:00:00Z"]}, {"a": [1, 0, "x"]}, []])
def test_what_is_damaged_is_said(kept: object) -> None:
    with pytest.raises(ValueError, match="is damaged and is to be deleted"):
        Lemons().recall(kept)  # type: ignore[arg-type]


@given(st.integers(0, 60), st.integers(0, 60))
def test_an_interval_holds_the_share_and_narrows(failures: int, others: int) -> None:
    trials = failures + others
    low, high = wilson(failures, trials)
    assert 0 <= low <= (failures / trials if trials else 0.5) + _ROUNDING
    assert (failures / trials if trials else 0.5) - _ROUNDING <= high <= 1
    more = wilson(10 * failures, 10 * trials)
    assert more[1] - more[0] <= high - low + _ROUNDING


def errors(kind: ErrorKind, recent: float, code: int | None = None, gpu: str = "0") -> GpuError:
    return GpuError(gpu, kind, int(recent) + 1, recent, NOW, code)


@pytest.mark.parametrize(
    ("found", "steps"),
    [
        ((), 0),
        ((errors(ErrorKind.CORRECTED, 10),), 0),
        ((errors(ErrorKind.CORRECTED, 50),), 1),
        ((errors(ErrorKind.REMAPPED, 1),), 1),
        ((errors(ErrorKind.REMAPPED, 2),), 2),
        ((errors(ErrorKind.XID, 1, 63),), 1),
        ((errors(ErrorKind.XID, 1, 94),), 1),
        ((errors(ErrorKind.XID, 3, 31),), 0),
        ((errors(ErrorKind.XID, 9, 79),), 0),
        ((errors(ErrorKind.THERMAL, 50),), 1),
        ((errors(ErrorKind.POWER, 500),), 0),
        ((errors(ErrorKind.CORRECTED, 30), errors(ErrorKind.CORRECTED, 30, gpu="1")), 0),
        ((errors(ErrorKind.CORRECTED, 30), errors(ErrorKind.XID, 5, 31)), 1),
    ],
)
def test_errors_of_one_gpu_together_make_a_risk(found: tuple[GpuError, ...], steps: int) -> None:
    assert level(found, NOW) == steps


def test_a_risk_fades() -> None:
    found = (errors(ErrorKind.REMAPPED, 4),)
    assert [round(score(found, NOW + timedelta(days=each)), 2) for each in (0, 1, 2, 3)] == [4, 2, 1, 0.5]
    assert [level(found, NOW + timedelta(days=each)) for each in (0, 1, 2, 3)] == [3, 2, 1, 0]
