"""`trainyard why` and `get -o wide` of a job that runs: who holds it up, and what its time was spent on."""

from datetime import UTC, datetime, timedelta

import pytest

from tests import builders as b
from tests.unit.cli.conftest import Run
from tests.unit.cli.stub_api import StubApi
from tests.unit.cli.test_get import RUNNING, VISION, old
from trainyard.api.answers import NodeShare, Why
from trainyard.api.energy import EnergySpent
from trainyard.api.ledger import Spent, SpentFor
from trainyard.api.straggler import Straggler
from trainyard.cli.questions import _print_why
from trainyard.cli.spending import held_up_by, print_spent

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SPENT = Spent(
    seconds={"productive": 5400.0, "queued": 1200.0, "lostWork": 600.0},
    gpu_hours=13.333,
    goodput=0.9,
    causes=[SpentFor(cause="WaitingForQuota", seconds=1200), SpentFor(cause="Node", seconds=600, gpu_hours=1.333)],
)
SLOW = Straggler(rank=1, pod="a-worker-1-1", node="n7", attempt=1, factor=1.6, since=NOW - timedelta(minutes=12))


def test_categories_have_their_share_of_all_time(capsys: pytest.CaptureFixture[str]) -> None:
    print_spent(SPENT)
    title, header, *rows, causes = capsys.readouterr().out.splitlines()
    assert title == "what its time was spent on, 13.33 GPU-hours held, 90.0% of them productive:"
    assert header.split() == ["CATEGORY", "TIME", "SHARE"]
    assert [row.split() for row in rows] == [
        ["productive", "90m", "75.0%", "#" * 22],
        ["queued", "20m", "16.7%", "#" * 5],
        ["lostWork", "10m", "8.3%", "#" * 2],
    ]
    assert causes == "lost to: WaitingForQuota 20m, Node 10m (1.33 GPU-hours)"


def test_a_job_that_held_nothing_has_no_goodput_and_one_without_time_no_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_spent(Spent(seconds={"queued": 60.0}, gpu_hours=0, causes=[]))
    assert "0.00 GPU-hours held:" in capsys.readouterr().out
    print_spent(Spent(seconds={}, gpu_hours=0, causes=[]))
    assert capsys.readouterr().out == ""


def test_what_is_estimated_and_what_is_measured_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    energy = EnergySpent(estimated_joules=9e6, measured_joules=7.2e6, cost=12.345, carbon_grams=950)
    print_spent(SPENT.model_copy(update={"energy": energy}))
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "energy, estimated: 2.5 kWh for all the time that it held its place",
        "energy, measured: 2 kWh by its GPUs' own counters, while its trainers ran",
        "cost: 12.35",
        "CO2, estimated: 0.95 kg",
    ]
    print_spent(SPENT.model_copy(update={"energy": EnergySpent(cost=1)}))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "cost: 1.00", "what nobody knows is not told as 0"


def test_who_holds_it_up_is_told_in_a_line() -> None:
    over = SLOW.model_copy(update={"until": NOW})
    line = (
        "rank 1 (a-worker-1-1 on n7), which takes 1.6 times as long for its part of a step as the others, found 12m ago"
    )
    assert held_up_by([over, SLOW], NOW) == line
    assert held_up_by([over], NOW) == ""


def test_why_of_a_job_that_runs_tells_both(capsys: pytest.CaptureFixture[str]) -> None:
    place = [NodeShare(node="n7", pods=1)]
    answer = Why(kind="TrainingJob", namespace="team", name="a", queue="q", state="Placed", message="it has its place")
    told = {"nodes": place, "flavor": "h200", "stragglers": [SLOW], "helps": ["do this", "or that"], "spent": SPENT}
    _print_why(answer.model_copy(update=told))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "place: it has its place, on n7 of flavor h200"
    assert lines[2].startswith("held up by: rank 1 (a-worker-1-1 on n7)")
    assert lines[3:5] == ["what helps: do this", "what helps: or that"]
    assert lines[5].startswith("what its time was spent on")


def test_one_job_in_detail_shows_them_too(run: Run, api: StubApi) -> None:
    slow = SLOW.model_dump(by_alias=True, mode="json")
    ledger = {"current": "productive", "since": "2026-01-01T00:00:00Z", "seconds": {"productive": 60, "queued": 30}}
    api.add(b.training_job("pretrain", VISION, old(hours=1), RUNNING, b.status(stragglers=[slow], ledger=ledger)))
    out = run("get", "pretrain", "-o", "wide")[1]
    assert "held up by: rank 1 (a-worker-1-1 on n7)" in out
    assert "what its time was spent on" in out
    assert "productive" in out
