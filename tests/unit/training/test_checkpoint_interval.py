"""How often checkpoints lose least: the formula, and the advice that follows from a job's own status."""

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders as b
from tests.unit.questions.test_answers import NOW, a_job, asked, picture, placed
from trainyard.api.training_job import TrainingJob
from trainyard.training.checkpoint_interval import ENOUGH, Advice, advice, young_daly


@given(st.floats(1, 300), st.floats(3600, 1e8))
def test_no_other_interval_loses_less_than_young_and_dalys(cost: float, mtbf: float) -> None:
    best = young_daly(cost, mtbf)

    def spent(every: float) -> float:
        """Time for each second of training, where faults come at random (Daly's exact form without restarts)."""
        return mtbf * math.expm1((every + cost) / mtbf) / every

    assert best > 0
    assert all(spent(best) <= 1.0005 * spent(best * factor) for factor in (0.5, 0.8, 1.25, 2.0))


@pytest.mark.parametrize(("cost", "mtbf"), [(0, 3600), (5, 0), (-1, 10)])
def test_an_interval_needs_a_cost_and_a_mean_time(cost: float, mtbf: float) -> None:
    with pytest.raises(ValueError, match="expected both to be more than 0 seconds"):
        young_daly(cost, mtbf)


def test_an_interval_is_never_longer_than_the_time_between_faults() -> None:
    assert young_daly(300, 100) == 100


def struck(number: int, hours_ago: float, **more: Any) -> dict[str, Any]:
    at = (NOW - timedelta(hours=hours_ago)).isoformat()
    return {
        "number": number,
        "attempt": number,
        "cause": "Node",
        "faultAt": at,
        "detectedAt": at,
        "endedAt": at,
        **more,
    }


def a_status(incidents: list[dict[str, Any]], saving: float = 1000.0) -> dict[str, Any]:
    """Ten hours of training at a step a second; checkpoints took so long in all."""
    seconds = {"productive": 36_000, "saving": saving}
    return {
        "phase": "Running",
        "ledger": {"current": "productive", "since": NOW.isoformat(), "seconds": seconds},
        "progress": {"step": 36_000, "updatedAt": NOW.isoformat()},
        "incidents": incidents,
    }


def advised(every: int | None, incidents: list[dict[str, Any]], saving: float = 1000.0) -> Advice | None:
    created = b.meta(uid="u", creationTimestamp=(NOW - timedelta(hours=10.2777)).isoformat())
    training = b.spec(training={"checkpointEverySteps": every} if every else {})
    job = b.training_job("a", created, b.storage(), training, b.status(**a_status(incidents, saving)))
    return advice(TrainingJob.model_validate(job), NOW)


THRICE = [struck(1, 9), struck(2, 6), struck(3, 2)]


def test_a_job_that_saves_too_seldom_is_told_a_shorter_interval() -> None:
    found = advised(18_000, THRICE, saving=20.0)
    assert found is not None
    assert found.cost == pytest.approx(10.0)
    assert found.mtbf == pytest.approx(12_000, rel=0.01)
    assert found.steps == pytest.approx(young_daly(10, 12_000), abs=1)
    assert found.lost_then < found.lost_now


def test_a_job_that_saves_too_often_is_told_a_longer_one() -> None:
    found = advised(36, THRICE, saving=10_000.0)
    assert found is not None
    assert found.steps > 72
    assert found.lost_then < found.lost_now


@pytest.mark.parametrize(
    ("every", "incidents"),
    [
        (None, THRICE),
        (18_000, THRICE[: ENOUGH - 1]),
        (18_000, [struck(number, 3, planned=True) for number in (1, 2, 3, 4)]),
        (round(young_daly(10, 12_000)), THRICE),
    ],
    ids=["not asked for by steps", "too few", "planned ones say nothing", "good as it is"],
)
def test_where_little_is_known_or_little_would_be_won_nothing_is_said(every: int | None, incidents: Any) -> None:
    saving = 20.0 if every == 18_000 else 36_000 / (every or 1) * 10
    assert advised(every, incidents, saving) is None


def test_why_tells_it_with_the_figures_behind_it() -> None:
    created = b.meta(uid="mine", creationTimestamp=(NOW - timedelta(hours=10.2777)).isoformat())
    status = a_status(THRICE, saving=20.0)
    training = b.spec(training={"checkpointEverySteps": 18_000})
    job = a_job("mine", 0, b.gpus(8), placed("n0"), b.storage(), training, b.status(**status), created)
    (helps,) = asked(picture(job), "mine").helps
    assert helps.startswith("training.checkpointEverySteps: 4")
    assert "an interruption comes every 12" in helps
