"""Each second of a worker is counted once, under one name."""

import contextlib
import dataclasses
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from trainer.environment import Environment, read_environment
from trainer.spending import Spending, Use, count_on, process_age

from tests.unit.trainer.gang import StartGang, specification


class Clock:
    """Tells the time it was set to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_seconds_go_to_what_they_were_spent_on() -> None:
    clock = Clock()
    spending = Spending(clock, already=2.0)
    clock.now += 3
    spending.turn_to(Use.PRODUCTIVE)
    clock.now += 10
    with spending.on(Use.SAVING):
        clock.now += 0.5
    clock.now += 1
    assert spending.report() == {"loading": 5, "productive": 11, "dataWait": 0, "saving": 0.5, "evaluating": 0}


def test_what_was_interrupted_goes_on_after_an_error() -> None:
    clock = Clock()
    spending = Spending(clock)
    with contextlib.suppress(OSError), spending.on(Use.EVALUATING):
        clock.now += 1
        raise OSError
    clock.now += 2
    assert (spending.report()["evaluating"], spending.report()["loading"]) == (1, 2)


@given(st.lists(st.tuples(st.sampled_from(Use), st.integers(0, 1000)), max_size=30))
def test_all_uses_together_are_the_time_that_has_passed(turns: list[tuple[Use, int]]) -> None:
    clock = Clock()
    spending = Spending(clock)
    waited = 0
    for use, seconds in turns:
        spending.turn_to(use)
        clock.now += seconds
        waited += seconds if use is Use.WAITING else 0
    assert sum(spending.report().values()) + waited == clock.now - 100


def environment(folder: Path, **changes: object) -> Environment:
    return dataclasses.replace(read_environment({}), run_directory=folder, job_uid="uid-1", **changes)  # type: ignore[arg-type]


def test_a_process_that_starts_again_in_the_pod_counts_on(tmp_path: Path) -> None:
    clock = Clock()
    first = Spending(clock)
    report = count_on(first, environment(tmp_path))
    clock.now += 4
    assert report()["loading"] == 4
    again = Spending(clock)
    clock.now += 1
    assert count_on(again, environment(tmp_path))()["loading"] == 5


def test_another_attempt_and_another_job_begin_at_nothing(tmp_path: Path) -> None:
    clock = Clock()
    spending = Spending(clock)
    report = count_on(spending, environment(tmp_path))
    clock.now += 4
    report()
    for other in (environment(tmp_path, attempt=2), dataclasses.replace(environment(tmp_path), job_uid="uid-2")):
        assert count_on(Spending(clock), other)()["loading"] == 0


def test_without_a_folder_to_keep_it_in_it_is_reported_all_the_same(tmp_path: Path) -> None:
    assert count_on(Spending(Clock()), environment(tmp_path / "none"))()["loading"] == 0


def test_the_kernel_says_how_old_the_process_is() -> None:
    before = process_age()
    time.sleep(0.05)
    assert 0 < before < process_age()


def test_a_real_job_says_what_its_time_went_to(start_gang: StartGang, tmp_path: Path) -> None:
    began = time.monotonic()
    gang = start_gang(specification(epochs=20, checkpointEverySteps=8), workers=2, directory=tmp_path / "job")
    assert gang.exit_codes() == [0, 0]
    spent = gang.progress()["spent"]
    assert spent.keys() == {"loading", "productive", "dataWait", "saving", "evaluating"}
    assert all(seconds > 0 for seconds in spent.values()), spent
    assert sum(spent.values()) < time.monotonic() - began + 0.1
