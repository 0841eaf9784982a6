"""`trainyard incidents`: of jobs that exist and of those that are gone, as a table, JSON or CSV."""

import argparse
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import builders as b
from tests.unit.cli.conftest import Run
from tests.unit.cli.stub_api import StubApi
from trainyard.api.names import INCIDENTS, INCIDENTS_KEY
from trainyard.cli.incidents import moment

KEPT = f"/api/v1/namespaces/trainyard-system/configmaps/{INCIDENTS}"


def at(seconds: float) -> str:
    return (datetime(2026, 11, 23, 10, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat()


def struck(number: int, **more: Any) -> dict[str, Any]:
    """A lost node, overcome after 90 s."""
    return {
        "number": number,
        "attempt": number,
        "cause": "Node",
        "node": "gpu-1",
        "pod": "digits-worker-1-1",
        "scope": "Gang",
        "step": 110,
        "restoredStep": 100,
        "lostGpuSeconds": 5400.0,
        "outcome": "Recovered",
        "faultAt": at(0),
        "detectedAt": at(25.5),
        "decidedAt": at(26),
        "replacedAt": at(70),
        "recoveredAt": at(90),
        "endedAt": at(90),
        **more,
    }


@pytest.fixture
def yard(api: StubApi) -> StubApi:
    still = {"outcome": "Open", "faultAt": at(500), "detectedAt": at(500), "recoveredAt": None, "endedAt": None}
    preempted = struck(2, cause="Preempted", planned=True, **still)
    api.add(b.training_job("digits", b.namespace("vision"), b.status(incidents=[struck(1), preempted])))
    api.add(b.training_job("llama", b.namespace("text"), b.status(incidents=[struck(1, cause="Hang", node="gpu-7")])))
    gone = {
        **struck(1, message="=cmd()", faultAt=at(10)),
        "namespace": "vision",
        "job": "gone",
        "uid": "u9",
        "queue": "research",
    }
    known = {**struck(1), "namespace": "vision", "job": "digits", "uid": "uid-digits", "queue": "research"}
    api.objects[KEPT] = {"data": {INCIDENTS_KEY: json.dumps({"format": 1, "incidents": [gone, known]})}}
    return api


def test_the_table_tells_what_struck_and_how_long_each_part_took(yard: StubApi, run: Run) -> None:
    code, out, err = run("incidents")
    assert (code, err) == (0, "")
    header, *rows = [line.split() for line in out.splitlines()]
    assert header[:5] == ["NAMESPACE", "JOB", "WHEN", "CAUSE", "NODE"]
    assert [row[1] for row in rows] == ["gone", "digits"], "planned ones are left out, and each is told once"
    assert " ".join(rows[1]) == (
        "vision digits 2026-11-23 10:00:00Z Node gpu-1 Gang 25.5s 26.0s 70.0s 90.0s 10 1.50 Recovered"
    )


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        (["digits"], ["digits"]),
        (["-A"], ["digits", "gone", "llama"]),
        (["-A", "--node", "gpu-7"], ["llama"]),
        (["-A", "--class", "Hang"], ["llama"]),
        (["--class", "Preempted"], ["digits"]),
        (["--class", "Restored"], []),
        (["--planned"], ["digits", "digits", "gone"]),
        (["--since", "2026-11-23T10:05:00Z", "--planned"], ["digits"]),
        (["--since", "1h"], []),
    ],
)
def test_they_are_chosen(yard: StubApi, run: Run, words: list[str], jobs: list[str]) -> None:
    code, out, _ = run("incidents", *words, "-o", "json")
    assert code == 0
    assert sorted(each["job"] for each in json.loads(out)["incidents"]) == jobs


def test_a_spreadsheet_gets_all_fields_and_no_formula(yard: StubApi, run: Run) -> None:
    _, out, _ = run("incidents", "-o", "csv")
    gone, digits = csv.DictReader(io.StringIO(out))
    assert (digits["secondsToNotice"], digits["secondsToNewStep"], digits["lostSteps"]) == ("25.5", "90.0", "10")
    assert (digits["namespace"], digits["faultAt"]) == ("vision", "2026-11-23T10:00:00.000000Z")
    assert gone["message"] == "'=cmd()"


def test_who_may_not_read_what_is_kept_is_told_and_gets_the_rest(yard: StubApi, run: Run) -> None:
    yard.errors["GET", KEPT] = [(403, "forbidden")]
    code, out, err = run("incidents")
    assert code == 0
    assert "gone" not in out
    assert "digits" in out
    assert "incidents of deleted jobs are left out" in err
    assert "--server" in err


def test_a_list_that_another_version_wrote_costs_a_line(yard: StubApi, run: Run) -> None:
    yard.objects[KEPT] = {"data": {INCIDENTS_KEY: "no json"}}
    code, _, err = run("incidents")
    assert code == 0
    assert "cannot be understood" in err


def test_without_any_it_says_so_on_the_side(api: StubApi, run: Run) -> None:
    code, out, err = run("incidents")
    assert (code, out) == (0, "")
    assert "--planned" in err


def test_get_wide_tells_of_those_of_one_job(yard: StubApi, run: Run) -> None:
    _, out, _ = run("get", "digits", "-o", "wide")
    assert "what interrupted it, seconds after the fault:" in out
    assert "Preempted (planned)" in out


def test_since_is_a_span_or_a_time_and_nothing_else() -> None:
    assert moment("2026-11-30T12:00:00") == datetime(2026, 11, 30, 12, tzinfo=UTC)
    before = datetime.now(UTC)
    assert before <= moment("90m") + timedelta(minutes=90) <= datetime.now(UTC)
    for far in ("99999999999d", "999999999d", "9" * 5000 + "s"):
        with pytest.raises(argparse.ArgumentTypeError, match="is neither a span such as 24h"):
            moment(far)
    with pytest.raises(argparse.ArgumentTypeError, match="'yesterday' is neither a span such as 24h"):
        moment("yesterday")
