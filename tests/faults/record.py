"""What tests of faults did when they last ran, in `recorded.json`: pytest plugins that write it and check it, and what reads it.

`pytest --record-faults tests/simulation -m fault` runs them and keeps outcome and seconds of each; tests that did not run
keep what they have. The page is written from this file, so that it does not change with every run. `make test` runs with
`--check-faults`: a run that does not bear out what is recorded fails, so that the page cannot say what is no longer so. What is
not recorded yet, such as a new test or one more of its cases, is told and fails nothing: the page promises nothing of it.
"""

import fcntl
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.faults.marks import marked_tests

RECORDED = Path(__file__).with_name("recorded.json")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a test function with all its cases."""

    passed: int = 0
    failed: int = 0
    seconds: float = 0.0

    def words(self) -> str:
        return f"{self.passed} passed, {self.failed} failed"


def read(path: Path = RECORDED) -> dict[str, Outcome]:
    """By the test's id."""
    return {test: Outcome(**each) for test, each in json.loads(path.read_text()).items()}


def write(outcomes: dict[str, Outcome], path: Path = RECORDED) -> None:
    """Keep what is known of the tests that there are."""
    there = {each.id for each in marked_tests()}
    kept = {test: asdict(outcomes[test]) for test in sorted(outcomes.keys() & there)}
    path.write_text(json.dumps(kept, indent=1) + "\n")


class Listener:
    """Counts what tests do: one for each session. With xdist it listens where the reports come together."""

    def __init__(self) -> None:
        self._passed: dict[str, int] = defaultdict(int)
        self._failed: dict[str, int] = defaultdict(int)
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.removeprefix("tests/").split("[", 1)[0]
        self._seconds[test] += report.duration
        self._passed[test] += report.when == "call" and report.passed
        self._failed[test] += report.failed

    def outcomes(self) -> dict[str, Outcome]:
        """Of every test that was reported; one that was skipped has neither passed nor failed."""
        return {
            test: Outcome(self._passed[test], self._failed[test], round(seconds, 1))
            for test, seconds in self._seconds.items()
        }


class Recorder(Listener):
    """The plugin that keeps them."""

    def __init__(self, path: Path = RECORDED) -> None:
        super().__init__()
        self._path = path

    def pytest_sessionfinish(self) -> None:
        new = {test: each for test, each in self.outcomes().items() if each.passed or each.failed}
        with self._path.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # another session may end at the same moment
            write(read(self._path) | new, self._path)


class Checker(Listener):
    """The plugin that fails the session where they are not as recorded."""

    def __init__(self, path: Path = RECORDED) -> None:
        super().__init__()
        self._path = path

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if contradictions(self.outcomes(), read(self._path)) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        ran, recorded = self.outcomes(), read(self._path)
        against = contradictions(ran, recorded)
        beyond = [each for each in differences(ran, recorded) if each not in against]
        for title, found in (("that went otherwise than docs/faults.md says", against), ("not on record yet", beyond)):
            if found:
                terminalreporter.section(f"faults {title}")
                for each in found:
                    terminalreporter.line(each)
                terminalreporter.line("run these files with --record-faults, then `make generate`")


def differences(ran: Mapping[str, Outcome], recorded: Mapping[str, Outcome]) -> list[str]:
    """A line for each test of faults in `ran` that did otherwise than is recorded; how long it took does not matter."""
    return [
        _line(test, now, then)
        for test, now, then in _pairs(ran, recorded)
        if (now.passed, now.failed) != (then.passed, then.failed)
    ]


def contradictions(ran: Mapping[str, Outcome], recorded: Mapping[str, Outcome]) -> list[str]:
    """Those of them that passed less, or failed more, than is recorded."""
    return [
        _line(test, now, then)
        for test, now, then in _pairs(ran, recorded)
        if now.passed < then.passed or now.failed > then.failed
    ]


def _pairs(ran: Mapping[str, Outcome], recorded: Mapping[str, Outcome]) -> list[tuple[str, Outcome, Outcome]]:
    there = sorted(ran.keys() & {each.id for each in marked_tests()})
    return [(test, ran[test], recorded.get(test, Outcome())) for test in there]


def _line(test: str, now: Outcome, then: Outcome) -> str:
    return f"tests/{test}: {now.words()}, recorded: {then.words()}"
