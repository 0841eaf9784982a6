"""`why` of a job that has run: what its time was spent on, who holds it up, and what helps."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders as b
from tests.unit.questions.test_answers import NOW, a_job, asked, picture, placed
from trainyard.api.answers import Why
from trainyard.api.ledger import Category, Ledger, Seconds, SpentFor
from trainyard.questions.anonymous import anonymous


def straggler(node: str, *, until: str | None = None, rank: int = 1) -> dict[str, Any]:
    named = {"rank": rank, "pod": f"mine-worker-{rank}-1", "node": node, "attempt": 1, "factor": 1.6}
    return named | {"since": "2026-11-23T11:40:00Z", "until": until}


LEDGER = {
    "current": "productive",
    "since": "2026-11-23T11:50:00Z",
    "seconds": {"queued": 600, "starting": 300, "productive": 1500},
    "gpuHours": 4.0,
    "causes": [
        {"cause": "PodsStarting", "seconds": 300, "gpuHours": 0.5},
        {"cause": "WaitingForQuota", "seconds": 600},
    ],
}


def told(*modifiers: b.Modifier, **status: Any) -> Why:
    modified = (b.gpus(8), placed("n0"), b.status(ledger=LEDGER, **status), *modifiers)
    return asked(picture(a_job("mine", 0, *modified)), "mine")


def test_what_the_time_was_spent_on_is_told_with_the_open_interval() -> None:
    spent = told().spent
    assert spent is not None
    assert spent.seconds == {"productive": 2100, "queued": 600, "starting": 300}
    assert list(spent.seconds) == ["productive", "queued", "starting"], "most first"
    assert spent.gpu_hours == pytest.approx(4.0 + 8 / 6)
    assert spent.goodput == pytest.approx(1 - 0.5 / (4.0 + 8 / 6))
    assert [each.cause for each in spent.causes] == ["WaitingForQuota", "PodsStarting"]


def test_what_its_place_came_to_is_told_with_the_open_interval_and_its_carbon() -> None:
    seen = picture(a_job("mine", 0, b.gpus(8), placed("n0"), b.status(ledger=LEDGER | {"estimatedJoules": 1000.0})))
    flavors = {name: spec.model_copy(update={"watts_per_unit": 500.0}) for name, spec in seen.snapshot.flavors.items()}
    priced = replace(seen, snapshot=replace(seen.snapshot, flavors=flavors), carbon_grams_per_kwh=360.0)
    spent = asked(priced, "mine").spent
    assert spent is not None
    assert spent.energy is not None
    assert spent.energy.estimated_joules == pytest.approx(1000 + 8 * 500 * 600)
    assert spent.energy.carbon_grams == pytest.approx(spent.energy.estimated_joules / 1e4)
    assert (spent.energy.measured_joules, spent.energy.cost) == (0, 0)
    assert told().spent == spent.model_copy(update={"energy": None})


def test_a_job_that_had_no_place_yet_has_spent_nothing_worth_telling() -> None:
    waiting = b.status(ledger={"current": "queued", "cause": "WaitingForQuota", "since": "2026-11-23T11:00:00Z"})
    assert asked(picture(a_job("mine", 0, b.gpus(8), waiting)), "mine").spent is None


@given(
    st.sampled_from(list(Category)),
    st.dictionaries(st.sampled_from([each.value for each in Category]), st.integers(0, 10**6), max_size=12),
    st.integers(0, 10**6),
    st.integers(0, 64),
)
def test_what_is_told_adds_up(current: Category, seconds: dict[str, int], open_for: int, gpus: int) -> None:
    causes = [SpentFor(cause=name, seconds=each, gpu_hours=each * gpus / 3600) for name, each in seconds.items()]
    ledger = Ledger(
        current=current,
        cause="" if current is Category.PRODUCTIVE else "why",
        since=NOW,
        seconds=Seconds.model_validate(seconds),
        gpu_hours=sum(seconds.values()) * gpus / 3600,
        causes=[each for each in causes if each.cause != Category.PRODUCTIVE.value],
    )
    spent = ledger.spent(NOW + timedelta(seconds=open_for), gpus)
    total = sum(seconds.values()) + open_for
    assert sum(spent.seconds.values()) == pytest.approx(total, abs=1e-3)
    assert spent.gpu_hours == pytest.approx(total * gpus / 3600, abs=1e-6)
    lost = sum(each.seconds for each in spent.causes)
    assert lost == pytest.approx(total - spent.seconds.get("productive", 0.0), abs=1e-3)
    if spent.goodput is not None:
        assert spent.goodput == pytest.approx(1 - lost / total, abs=1e-3)


def test_who_holds_it_up_is_named_with_a_command_that_helps() -> None:
    answer = told(b.storage(), stragglers=[straggler("n7", until="2026-11-23T11:45:00Z", rank=0), straggler("n0")])
    assert [(each.rank, each.node) for each in answer.stragglers] == [(1, "n0")]
    first, second = answer.helps
    assert first.startswith("kubectl cordon n0")
    assert "its last checkpoint" in second
    assert """kubectl patch tyj mine -n team --type merge -p '{"spec":{"suspend":true}}'""" in second


def test_a_job_without_storage_is_not_said_to_have_a_checkpoint() -> None:
    assert "no storage" in told(stragglers=[straggler("n0")]).helps[1]


def test_a_rank_that_was_slow_elsewhere_too_is_to_be_looked_at_itself() -> None:
    answer = told(stragglers=[straggler("n7", until="2026-11-23T11:45:00Z"), straggler("n0")])
    assert answer.helps == ["look at what rank 1 does that the others do not: it was slow on n7 before"]


def test_it_is_told_to_the_people_of_the_namespace_as_it_is() -> None:
    answer = told(stragglers=[straggler("n0")])
    assert anonymous(answer, "team", {"team", "other"}) == answer
