"""How far apart checkpoints are: the decision from measures, and what follows from it in a gang that trains."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainer.cadence import (
    FIRST_SECONDS,
    HYSTERESIS,
    LEAST_SECONDS,
    MOST_SECONDS,
    MOST_SHARE,
    ROOM,
    Cadence,
    Limit,
    Measured,
    cadence,
    interval,
    young_daly,
)
from trainer.checkpoint_store import CheckpointStore
from trainer.progress import Progress, Reporter
from trainer.rhythm import Rhythm
from trainer.saving import Taken
from trainer.share_file import Buffers

from tests.unit.trainer.gang import StartGang, specification
from trainyard.training import checkpoint_interval

stalls = st.floats(0, 3600)
mtbfs = st.floats(1, 1e9)
more = st.floats(1, 100)


@given(st.floats(0.001, 1e5), mtbfs)
def test_the_trainer_and_the_operator_mean_the_same_interval(cost: float, mtbf: float) -> None:
    assert young_daly(cost, mtbf) == checkpoint_interval.young_daly(cost, mtbf)


@given(stalls, stalls, mtbfs, more)
def test_who_is_interrupted_less_saves_no_more_often(stall: float, write: float, mtbf: float, factor: float) -> None:
    assert interval(stall, write, mtbf * factor)[0] >= interval(stall, write, mtbf)[0]


@given(stalls, stalls, mtbfs, more)
def test_a_checkpoint_that_costs_more_is_made_no_more_often(
    stall: float, write: float, mtbf: float, factor: float
) -> None:
    assert interval(stall * factor, write, mtbf)[0] >= interval(stall, write, mtbf)[0] * (1 - 1e-12)


@given(stalls, stalls, st.none() | mtbfs)
def test_an_interval_is_within_its_bounds(stall: float, write: float, mtbf: float | None) -> None:
    seconds, limit = interval(stall, write, mtbf)
    assert seconds >= max(LEAST_SECONDS, write * ROOM)
    assert stall / (seconds + stall) <= MOST_SHARE * (1 + 1e-12)
    forced = max(LEAST_SECONDS, write * ROOM, stall * (1 / MOST_SHARE - 1))
    assert seconds <= max(MOST_SECONDS, forced)
    if limit is Limit.NONE:
        assert mtbf is not None
        assert seconds == young_daly(stall, mtbf)


@pytest.mark.parametrize(
    ("stall", "write", "mtbf", "seconds", "limit"),
    [
        (6.3, 40, 8 * 3600, young_daly(6.3, 8 * 3600), Limit.NONE),
        (6.3, 40, 1e8, 3600, Limit.MOST),
        (6.3, 40, None, 3600, Limit.MOST),
        (0.0, 0.5, 3600, 60, Limit.LEAST),
        (0.01, 0.5, 3600, 60, Limit.LEAST),
        (60, 1, 1800, 540, Limit.SHARE),
        (6.3, 2000, 8 * 3600, 2500, Limit.WRITE),
        (6.3, 4000, None, 5000, Limit.WRITE),
    ],
)
def test_what_decides_is_named(stall: float, write: float, mtbf: float | None, seconds: float, limit: Limit) -> None:
    found, why = interval(stall, write, mtbf)
    assert found == pytest.approx(seconds)
    assert why is limit


@given(st.floats(0.01, 100), st.floats(0.01, 100), mtbfs, st.integers(1, 10**6))
def test_an_interval_that_is_nearly_the_best_stays(stall: float, step: float, mtbf: float, steps: int) -> None:
    measured, before = Measured(stall, 0.0, step), Cadence(steps, steps * step)
    found, best = cadence(measured, mtbf, before), cadence(measured, mtbf)
    near = max(steps * step, best.seconds) <= HYSTERESIS * min(steps * step, best.seconds)
    assert found.steps in (steps, best.steps)
    if found.steps != best.steps:
        assert found.seconds <= HYSTERESIS * interval(stall, 0.0, mtbf)[0] * (1 + 1e-9)
    if near and best.steps > 100:  # where rounding to whole steps is no matter
        assert found.steps == steps or max(steps / best.steps, best.steps / steps) > HYSTERESIS * 0.98


def test_an_interval_shorter_than_a_write_never_stays() -> None:
    assert cadence(Measured(1, 100, 1), 5000, Cadence(99, 99)).steps == 125


@dataclass
class Saver:
    """What a rhythm sees of one."""

    begun: int = -1
    last: Taken | None = None
    under_way: bool = False


class Training:
    """Steps of a second each by hand, and checkpoints that are made as the rhythm wants them."""

    def __init__(self, mtbf: float | None, stall: float, write: float = 0.0) -> None:
        self.now, self.step, self.stall, self.write = 0.0, 0, stall, write
        self.durable = True
        self.saver, self.saved = Saver(), list[int]()
        self.reporter = Reporter(Progress("uid-1", 1), client=None, every=1, folder=None)
        self.rhythm = Rhythm(self.saver, mtbf, self.reporter, lambda: self.now)
        self._ends: float | None = None

    def train(self, until: int) -> None:
        while self.step < until:
            self.step, self.now = self.step + 1, self.now + 1
            if self._ends is not None and self.now >= self._ends:
                taken = Taken(self.saver.begun, self.durable, self.stall, self.now - self._ends + self.write)
                self.saver.last, self.saver.under_way, self._ends = taken, False, None
                self.rhythm.hear(self.step)
            if self.rhythm.is_due(self.step):
                self.saver.begun, self.saver.under_way = self.step, True
                self.saved.append(self.step)
                self.now += self.stall
                self._ends = self.now + self.write
            self.rhythm.hear(self.step)

    @property
    def told(self) -> dict[str, Any]:
        found = self.reporter.progress.checkpointing
        assert found is not None
        return found


def gaps(saved: list[int]) -> list[int]:
    return [after - before for before, after in pairwise(saved)]


def test_after_a_minute_the_first_checkpoint_is_measured_and_says_when_the_next_comes() -> None:
    job = Training(mtbf=20_000, stall=4.0, write=30.0)
    job.train(2000)
    best = young_daly(4.0, 20_000)
    assert job.saved[0] == 1 + FIRST_SECONDS
    assert gaps(job.saved) == [pytest.approx(best, rel=0.03)] * 4
    told = {
        "everySteps": pytest.approx(best, rel=0.03),
        "stallSeconds": 4.0,
        "interruptionSeconds": 20_000,
        "limit": "",
    }
    assert {name: job.told[name] for name in told} == told


def test_the_interval_follows_what_checkpoints_cost() -> None:
    job = Training(mtbf=20_000, stall=1.0)
    job.train(1500)
    cheap = gaps(job.saved)[-1]
    job.stall = 9.0
    job.train(8000)
    assert gaps(job.saved)[-1] == pytest.approx(3 * cheap, rel=0.1)
    assert len(set(gaps(job.saved))) == 2, "it changes once"


def test_a_checkpoint_that_takes_long_to_write_is_not_followed_at_once() -> None:
    job = Training(mtbf=2000, stall=1.0, write=400.0)
    job.train(3000)
    assert min(gaps(job.saved)) >= 400
    assert job.told["limit"] == "Write"


def test_after_a_checkpoint_that_failed_another_is_tried_in_a_minute() -> None:
    job = Training(mtbf=None, stall=0.5)
    job.durable = False
    job.train(200)
    assert job.reporter.progress.checkpointing is None
    assert set(gaps(job.saved)) <= {60, 61}
    assert len(job.saved) >= 3
    job.durable = True
    job.train(8000)
    assert gaps(job.saved)[-1] == pytest.approx(MOST_SECONDS, rel=0.01)


def test_the_interval_follows_what_the_operator_expects_now() -> None:
    job = Training(mtbf=20_000, stall=4.0)
    job.train(900)
    job.reporter._obey({"interruptionSeconds": 5000.0})
    job.train(901)
    assert job.told["interruptionSeconds"] == 5000.0, "it does not wait for the next checkpoint to decide"
    job.train(3000)
    assert gaps(job.saved)[-1] == pytest.approx(young_daly(4.0, 5000), rel=0.03)


def test_a_program_that_starts_anew_goes_by_what_it_is_told_and_not_by_its_pods_environment() -> None:
    job = Training(mtbf=20_000, stall=4.0)
    job.reporter._obey({"interruptionSeconds": 5000.0})
    job.train(1500)
    assert gaps(job.saved)[-1] == pytest.approx(young_daly(4.0, 5000), rel=0.03)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests have no minutes."""
    monkeypatch.setattr("trainer.rhythm.FIRST_SECONDS", 0.2)
    monkeypatch.setattr("trainer.cadence.LEAST_SECONDS", 0.0)


def slow_copies(copy: Callable[..., Any], marker: Path) -> Callable[..., Any]:
    """Copies that hold training up in all workers from when there is the file."""

    def slow(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.15 if marker.exists() else 0.0)
        return copy(*arguments, **options)

    return slow


@pytest.mark.usefixtures("quick")
def test_workers_save_after_the_same_steps_and_less_often_when_it_costs_more(
    start_gang: StartGang, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "slow"
    monkeypatch.setattr(Buffers, "copy", slow_copies(Buffers.copy, marker))
    spec = specification(epochs=1_000_000, checkpointEverySteps="auto", keepCheckpoints=1000)
    gang = start_gang(spec, workers=2, directory=tmp_path / "job", TRAINYARD_INTERRUPTION_SECONDS="20")
    told = gang.wait_for(lambda progress: progress["checkpointing"] is not None)["checkpointing"]
    marker.touch()
    dear = gang.wait_for(lambda progress: progress["checkpointing"]["stallSeconds"] >= 0.15)["checkpointing"]
    gang.terminate(0)
    assert gang.exit_codes() == [75, 75]
    assert told["interruptionSeconds"] == 20
    for each in (told, dear):
        best, _ = interval(each["stallSeconds"], each["writeSeconds"], 20)
        a_step = each["seconds"] / each["everySteps"]
        assert best / HYSTERESIS - a_step <= each["seconds"] <= best * HYSTERESIS + a_step
    assert dear["seconds"] >= 0.15 * (1 / MOST_SHARE - 1) / HYSTERESIS
    # what not all workers save after the same step is never committed: they would wait for each other
    assert len(CheckpointStore(tmp_path / "job", 1).committed()) >= 2


@pytest.mark.usefixtures("quick")
def test_a_gang_that_is_killed_goes_on_from_a_checkpoint_that_it_chose_itself(
    start_gang: StartGang, tmp_path: Path
) -> None:
    spec = specification(epochs=1_000_000, checkpointEverySteps="auto")
    first = start_gang(spec, workers=2, directory=tmp_path / "job", TRAINYARD_INTERRUPTION_SECONDS="60")
    saved = first.wait_for(lambda progress: progress["checkpointing"] and progress["checkpoint"])
    first.end()
    second = start_gang(spec, workers=2, attempt=2, directory=tmp_path / "job", TRAINYARD_INTERRUPTION_SECONDS="60")
    restored = second.wait_for(lambda progress: progress["restoredStep"] is not None)["restoredStep"]
    assert restored >= saved["checkpoint"]["step"]
    again = second.wait_for(lambda progress: (progress["checkpoint"] or {}).get("step", 0) > restored)
    assert again["step"] >= again["checkpoint"]["step"]


def test_where_the_best_are_kept_the_end_of_an_epoch_is_saved_too(start_gang: StartGang, tmp_path: Path) -> None:
    spec = specification(epochs=3, checkpointEverySteps="auto", keepBest=9, keepCheckpoints=9)
    assert start_gang(spec, directory=tmp_path / "job").exit_codes() == [0]
    steps = sorted(each.step for each in CheckpointStore(tmp_path / "job", 1).committed())
    assert len(steps) == 3
    assert math.gcd(*steps) == steps[0]


def test_a_short_job_saves_once_at_its_end(start_gang: StartGang, tmp_path: Path) -> None:
    gang = start_gang(specification(epochs=3, checkpointEverySteps="auto"), workers=2, directory=tmp_path / "job")
    assert gang.exit_codes() == [0, 0]
    assert [each.step for each in CheckpointStore(tmp_path / "job", 1).committed()] == [gang.progress()["totalSteps"]]
