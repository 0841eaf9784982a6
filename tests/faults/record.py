"""What tests of faults did when they last ran, in `recorded.json`: a pytest plugin that writes it, and what reads it.

`pytest --record-faults tests/simulation -m fault` runs them and keeps outcome and seconds of each; tests that did not run
keep what they have. The page is written from this file, so that it does not change with every run.
"""

import fcntl
import json
from collections import defaultdict
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


def read(path: Path = RECORDED) -> dict[str, Outcome]:
    """By the test's id."""
    return {test: Outcome(**each) for test, each in json.loads(path.read_text()).items()}


def write(outcomes: dict[str, Outcome], path: Path = RECORDED) -> None:
    """Keep what is known of the tests that there are."""
    there = {each.id for each in marked_tests()}
    kept = {test: asdict(outcomes[test]) for test in sorted(outcomes.keys() & there)}
    path.write_text(json.dumps(kept, indent=1) + "\n")


class Recorder:
    """The plugin: one for each session. With xdist it listens where the reports come together."""

    def __init__(self, path: Path = RECORDED) -> None:
        self._path = path
        self._passed: dict[str, int] = defaultdict(int)
        self._failed: dict[str, int] = defaultdict(int)
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.removeprefix("tests/").split("[", 1)[0]
        self._seconds[test] += report.duration
        self._passed[test] += report.when == "call" and report.passed
        self._failed[test] += report.failed

    def pytest_sessionfinish(self) -> None:
        ran = [test for test in self._seconds if self._passed[test] or self._failed[test]]
        new = {test: Outcome(self._passed[test], self._failed[test], round(self._seconds[test], 1)) for test in ran}
        with self._path.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # another session may end at the same moment
            write(read(self._path) | new, self._path)
