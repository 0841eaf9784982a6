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
from trainyard.nodes.interruptions import PUBLISHED, WEIGHT
from trainyard.training.checkpoint_interval import (
    ENOUGH,
    Advice,
    advice,
    interrupted,
    interruption_seconds,
    told,
    trained_hours,
    young_daly,
)


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
    assert helps.startswith("training.checkpointEverySteps: auto in a job like it, or 4")
    assert "an interruption comes every 12" in helps


def a_gang(
    *modifiers: b.Modifier, nodes: int = 4, incidents: Any = (), productive: float = 0.0, lost: float = 0.0
) -> TrainingJob:
    """A worker with 8 GPUs on each of so many nodes."""
    seconds = {"productive": productive, "lostWork": lost}
    roles = [{"name": "worker", "prefix": "n", "runs": [{"node": str(number), "count": 1} for number in range(nodes)]}]
    place = {"epoch": 1, "queue": "research", "flavor": "h200", "time": NOW.isoformat(), "roles": roles}
    ledger = {"current": "productive", "since": NOW.isoformat(), "seconds": seconds}
    status = b.status(admission=place, ledger=ledger, incidents=list(incidents))
    created = b.meta(uid="u", creationTimestamp=(NOW - timedelta(hours=10)).isoformat())
    auto = b.spec(training={"checkpointEverySteps": "auto"})
    return TrainingJob.model_validate(
        b.training_job("a", created, b.workers(nodes), b.gpus(8), b.storage(), auto, *modifiers, status)
    )


def test_a_gang_is_interrupted_by_any_of_its_gpus() -> None:
    small, large = (interruption_seconds(a_gang(nodes=nodes), PUBLISHED, {}, NOW) for nodes in (4, 128))
    assert small == pytest.approx(3600 / (32 * PUBLISHED))
    assert large == pytest.approx(small / 32)
    assert large / 3600 == pytest.approx(49.5, abs=0.1)


def test_a_pod_without_a_gpu_is_interrupted_too() -> None:
    assert interruption_seconds(a_gang(b.gpus(0)), 0.01, {}, NOW) == pytest.approx(3600 / (4 * 0.01))


def test_a_node_that_stands_badly_counts_for_several() -> None:
    assert interruption_seconds(a_gang(), 0.01, {"n1": 30.0, "other": 9.0}, NOW) == pytest.approx(3600 / (0.08 * 33))


def test_what_a_job_went_through_itself_counts_more_and_more() -> None:
    often = [struck(number, 10 - number) for number in range(1, 10)]
    found = interruption_seconds(a_gang(incidents=often, productive=30_000.0, lost=2_400.0), PUBLISHED, {}, NOW)
    assert found == pytest.approx(3600 * (WEIGHT / (32 * PUBLISHED) + 9) / (WEIGHT + 9))
    planned = [struck(number, 10 - number, planned=True) for number in range(1, 10)]
    quiet = interruption_seconds(a_gang(incidents=planned, productive=30_000.0, lost=2_400.0), PUBLISHED, {}, NOW)
    assert quiet > 3600 / (32 * PUBLISHED) > 3 * found


def test_others_learn_of_hours_and_of_what_might_have_struck_them() -> None:
    before = a_gang(productive=100.0, incidents=[struck(1, 9)])
    after = a_gang(
        productive=1000.0,
        lost=2700.0,
        incidents=[
            struck(1, 9, times=3),
            struck(2, 5),
            struck(3, 4, planned=True),
            struck(4, 3, cause="UserError"),
            struck(5, 2, cause="Hang", times=2),
        ],
    )
    assert interrupted(before, after) == 2 + 1 + 2
    assert trained_hours(before, after) == pytest.approx(32.0)
    assert (interrupted(after, after), trained_hours(after, after)) == (0, 0.0)


REPORT = {"everySteps": 420, "seconds": 661.0, "stallSeconds": 1.3, "writeSeconds": 41.0}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"interruptionSeconds": 32_760.0},
            "every 420 steps (11 min): a checkpoint holds training up for 1.3 s, takes 41 s to be written, this gang is expected to be interrupted every 9.1 h",
        ),
        ({"interruptionSeconds": 3e6, "limit": "Most"}, "interrupted every 35 d, at least once an hour"),
        ({}, "how often this gang is interrupted nobody knows"),
        ({"limit": "Newer"}, "nobody knows"),
    ],
)
def test_how_often_a_trainer_saves_is_told_with_why(more: dict[str, Any], words: str) -> None:
    found = told(REPORT | more)
    assert found is not None
    assert found.why.endswith(words)
    assert found.why.startswith("every 420 steps (11 min): ")
    assert found.every_steps == 420


def test_why_tells_how_often_a_trainer_saves() -> None:
    created = b.meta(uid="mine", creationTimestamp=(NOW - timedelta(hours=10)).isoformat())
    status = a_status(THRICE)
    status["progress"]["checkpointing"] = {**REPORT, "why": "every 420 steps (11 min): so it is"}
    auto = b.spec(training={"checkpointEverySteps": "auto"})
    job = a_job("mine", 0, b.gpus(8), placed("n0"), b.storage(), auto, b.status(**status), created)
    answer = asked(picture(job), "mine")
    assert answer.checkpoints == "every 420 steps (11 min): so it is"
    assert answer.helps == []
