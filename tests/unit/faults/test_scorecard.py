"""The scorecard leaves no fault out, names none that is not there, and says of each what is known."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults.catalogue import FAULTS, GROUPS, Fault
from tests.faults.marks import Marked, marked_tests
from tests.faults.record import Checker, Outcome, Recorder, contradictions, differences, read, write
from tests.faults.scorecard import Verdict, judged, page

A_FAULT = Fault(1, "something breaks", "nothing happens")
A_TEST = Marked("simulation/test_x.py", "test_nothing_happens", (1,))
DOCS = Path(__file__).resolve().parents[3] / "docs" / "faults.md"


def test_the_catalogue_has_each_number_once() -> None:
    assert sorted(FAULTS) == list(range(1, 100))
    assert sum(len(group.faults) for group in GROUPS) == 99


def test_each_fault_has_a_test_or_a_reason() -> None:
    tested = {number for test in marked_tests() for number in test.faults}
    assert tested <= FAULTS.keys()
    silent = [f for f in FAULTS.values() if f.number not in tested and not (f.not_applicable or f.not_survived)]
    assert [f"{each.number} {each.what}" for each in silent] == []


@pytest.mark.parametrize(
    ("fault", "outcome", "verdict"),
    [
        (A_FAULT, Outcome(passed=2), Verdict.SURVIVED),
        (A_FAULT, Outcome(passed=2, failed=1), Verdict.NOT_SURVIVED),
        (A_FAULT, None, Verdict.NOT_RUN),
        (Fault(1, "x", "y", not_survived="z"), Outcome(passed=2), Verdict.NOT_SURVIVED),
        (Fault(1, "x", "y", not_applicable="z"), None, Verdict.NOT_APPLICABLE),
    ],
)
def test_a_row_is_survived_when_a_test_ran_and_none_failed(
    fault: Fault, outcome: Outcome | None, verdict: Verdict
) -> None:
    outcomes = {A_TEST.id: outcome} if outcome else {}
    assert judged(fault, [A_TEST], outcomes).verdict is verdict


def test_the_page_is_up_to_date() -> None:
    assert DOCS.read_text() == page(marked_tests(), read()), "run make generate"


def test_a_mark_that_the_scorecard_would_not_find_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "test_x.py"
    file.write_text("@pytest.mark.fault(3, 4)\nasync def test_a(): ...\n")
    assert [(each.name, each.faults) for each in marked_tests(tmp_path)] == [("test_a", (3, 4))]
    file.write_text("CASES = [pytest.param(1, marks=pytest.mark.fault(3))]\n")
    with pytest.raises(ValueError, match="belongs on a test function"):
        marked_tests(tmp_path)
    file.write_text("@pytest.mark.fault('3')\ndef test_a(): ...\n")
    with pytest.raises(ValueError, match="expected numbers"):
        marked_tests(tmp_path)


def test_what_did_not_run_keeps_its_record_and_what_is_gone_loses_it(tmp_path: Path) -> None:
    some, other = (each.id for each in marked_tests()[:2])
    kept = tmp_path / "recorded.json"
    write({some: Outcome(passed=1), other: Outcome(passed=1), "unit/test_gone.py::test_gone": Outcome(1)}, kept)
    recorder = Recorder(kept)
    report = pytest.TestReport(f"tests/{some}[a]", ("", 0, ""), {}, "failed", "x", "call", duration=2.04)
    recorder.pytest_runtest_logreport(report)
    recorder.pytest_sessionfinish()
    assert read(kept) == {some: Outcome(0, 1, 2.0), other: Outcome(passed=1)}


@pytest.mark.parametrize(
    ("ran", "recorded", "said", "against"),
    [
        (Outcome(2, 0, 3.0), Outcome(2, 0, 1.0), "", False),
        (Outcome(2), Outcome(1), "2 passed, 0 failed, recorded: 1 passed, 0 failed", False),
        (Outcome(1, 1), Outcome(2), "1 passed, 1 failed, recorded: 2 passed, 0 failed", True),
        (Outcome(), Outcome(2), "0 passed, 0 failed, recorded: 2 passed, 0 failed", True),
        (Outcome(1), None, "1 passed, 0 failed, recorded: 0 passed, 0 failed", False),
        (None, Outcome(2), "", False),
    ],
    ids=["as recorded", "one more", "one fails", "skipped", "new", "did not run"],
)
def test_a_run_that_does_not_bear_out_the_record_is_told(
    ran: Outcome | None, recorded: Outcome | None, said: str, against: bool
) -> None:
    test = marked_tests()[0].id
    both = {test: ran} if ran else {}, {test: recorded} if recorded else {}
    line = [f"tests/{test}: {said}"]
    assert differences(*both) == (line if said else [])
    assert contradictions(*both) == (line if against else [])


def test_tests_of_no_fault_are_not_asked_about() -> None:
    assert differences({"unit/test_config.py::test_x": Outcome(failed=1)}, {}) == []


def test_a_session_fails_when_the_record_is_not_borne_out(tmp_path: Path) -> None:
    test, kept = marked_tests()[0].id, tmp_path / "recorded.json"
    write({test: Outcome(passed=2)}, kept)
    checker = Checker(kept)
    session: Any = SimpleNamespace()
    report = pytest.TestReport(f"tests/{test}[a]", ("", 0, ""), {}, "passed", None, "call", duration=2.04)
    for status in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.OK):
        session.exitstatus = pytest.ExitCode.OK
        checker.pytest_runtest_logreport(report)
        checker.pytest_sessionfinish(session)
        assert session.exitstatus is status
