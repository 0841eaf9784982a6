"""What TensorBoard itself reads from what is written, also after restarts, and that no volume can disturb training."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trainer.checkpoint_store import CheckpointStore
from trainer.environment import read_environment
from trainer.fencing import claim_attempt
from trainer.progress import Progress, Reporter
from trainer.tensorboard import HELD_OUT, TRAIN, Curves, curves_for

from tests.unit.trainer.gang import StartGang, specification
from tests.unit.trainer.test_api import run_script

Open = Callable[..., Curves]


def seen(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each curve of a run."""
    loaded = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(each.step, round(each.value, 4)) for each in loaded.Scalars(tag)] for tag in loaded.Tags()["scalars"]
    }


def steps(run: Path, curve: str) -> list[int]:
    return [step for step, _ in seen(run)[curve]]


def nothing() -> None:
    """Anybody may write."""


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def opened(tmp_path: Path, warnings: list[str]) -> Iterator[Open]:
    made: list[Curves] = []

    def make(name: str = "events.out.tfevents.1", may_write: Callable[[], None] = nothing) -> Curves:
        made.append(Curves(tmp_path / name, may_write=may_write, warn=warnings.append, every=0.01))
        return made[-1]

    yield make
    for each in made:
        each.close(1)


def test_tensorboard_reads_what_was_drawn(opened: Open, tmp_path: Path) -> None:
    curves = opened()
    for step in (1, 2, 3):
        curves.add(step, TRAIN, {"loss": 1 / step, "samples_per_second": None})
    curves.add(3, HELD_OUT, {"accuracy": 0.75})
    curves.close()
    assert seen(tmp_path) == {
        "train/loss": [(1, 1.0), (2, 0.5), (3, 0.3333)],
        "held_out/accuracy": [(3, 0.75)],
    }


def test_after_a_restart_the_steps_that_were_lost_are_not_shown_twice(opened: Open, tmp_path: Path) -> None:
    first, second = opened("events.out.tfevents.1"), opened("events.out.tfevents.2")
    for step in range(1, 11):
        first.add(step, TRAIN, {"loss": 1.0})
    first.add(10, HELD_OUT, {"accuracy": 0.9})
    first.close()
    second.begin(after=6)
    for step in (8, 9):
        second.add(step, TRAIN, {"loss": 2.0})
    second.close()
    curve = seen(tmp_path)["train/loss"]
    assert curve == [*((step, 1.0) for step in range(1, 7)), (8, 2.0), (9, 2.0)]
    assert seen(tmp_path).get("held_out/accuracy", []) == []


def test_a_program_that_does_not_say_where_it_goes_on_does_so_at_its_first_step(opened: Open, tmp_path: Path) -> None:
    first, second = opened("events.out.tfevents.1"), opened("events.out.tfevents.2")
    for step in range(1, 11):
        first.add(step, TRAIN, {"loss": 1.0})
    first.close()
    second.add(5, TRAIN, {"loss": 2.0})
    second.close()
    assert steps(tmp_path, "train/loss") == [1, 2, 3, 4, 5]


def test_a_record_cut_off_by_a_crash_does_not_hide_the_next_start(opened: Open, tmp_path: Path) -> None:
    first, second = opened("events.out.tfevents.1"), opened("events.out.tfevents.2")
    first.add(1, TRAIN, {"loss": 1.0})
    first.add(2, TRAIN, {"loss": 1.0})
    first.close()
    file = tmp_path / "events.out.tfevents.1"
    file.write_bytes(file.read_bytes()[:-5])
    second.add(2, TRAIN, {"loss": 2.0})
    second.close()
    assert seen(tmp_path)["train/loss"] == [(1, 1.0), (2, 2.0)]


@pytest.mark.parametrize("file", ["/dev/full", "/dev/null/events.out.tfevents.1"])
def test_a_volume_that_takes_nothing_ends_the_logs_with_one_warning(
    opened: Open, warnings: list[str], file: str
) -> None:
    curves = opened(file)
    for step in range(1, 200):
        curves.add(step, TRAIN, {"loss": 1.0})
        time.sleep(0.001)
    curves.close()
    assert len(warnings) == 1
    assert warnings[0].startswith("TensorBoard logs end here, training goes on: ")


def test_a_volume_that_hangs_holds_up_nobody(opened: Open, warnings: list[str]) -> None:
    hangs, goes_on = Event(), Event()

    def hang() -> None:
        hangs.set()
        goes_on.wait()

    curves = opened(may_write=hang)
    curves.add(1, TRAIN, {"loss": 1.0})
    assert hangs.wait(10)
    began = time.perf_counter()
    for step in range(20_000):
        curves.add(step, TRAIN, {str(step): 1.0})
    curves.close(timeout=0.05)
    assert time.perf_counter() - began < 2
    assert len(curves._points) == 10_000
    goes_on.set()
    assert warnings == []


def test_of_a_long_job_only_one_point_a_second_is_written(opened: Open, tmp_path: Path) -> None:
    curves = opened()
    for step in range(1, 5001):
        curves.add(step, TRAIN, {"loss": 1.0})
    curves.add(5001, HELD_OUT, {"accuracy": 0.5})
    curves.close()
    assert 1000 <= len(steps(tmp_path, "train/loss")) <= 1010
    assert steps(tmp_path, "held_out/accuracy") == [5001]


def test_an_attempt_that_is_superseded_writes_no_more(tmp_path: Path) -> None:
    claim_attempt(tmp_path, 2)
    reporter = Reporter(Progress(job_uid="u", attempt=1), client=None, every=60, folder=None)
    environment = read_environment({"TRAINYARD_DIR": str(tmp_path), "TRAINYARD_ATTEMPT": "1"})
    curves = curves_for(environment, reporter)
    assert curves is not None
    curves.add(1, TRAIN, {"loss": 1.0})
    curves.close()
    assert "attempt 2 owns" in (reporter.progress.warning or "")
    assert not (tmp_path / "tensorboard").exists()


def test_without_storage_nothing_is_drawn() -> None:
    reporter = Reporter(Progress(job_uid="u", attempt=1), client=None, every=60, folder=None)
    assert curves_for(read_environment({}), reporter) is None


def test_a_script_that_reports_is_drawn_and_each_role_is_a_run_of_its_own(tmp_path: Path) -> None:
    script = "import trainer; [trainer.report(step=n, loss=0.5, metrics={'f1': 0.25}) for n in (1, 2)]"
    run_script(script, TRAINYARD_DIR=str(tmp_path))
    run_script(script, TRAINYARD_DIR=str(tmp_path), TRAINYARD_ROLE="evaluator", TRAINYARD_ATTEMPT="2")
    drawn = {"train/loss": [(1, 0.5), (2, 0.5)], "held_out/f1": [(1, 0.25), (2, 0.25)]}
    assert seen(tmp_path / "tensorboard" / "worker") == drawn
    assert seen(tmp_path / "tensorboard" / "evaluator") == drawn


def test_the_built_in_program_draws_each_step_and_goes_on_after_the_last_checkpoint(
    start_gang: StartGang, tmp_path: Path
) -> None:
    job, run = tmp_path / "job", tmp_path / "job" / "tensorboard" / "worker"
    spec = specification(epochs=2, checkpointEverySteps=5)
    assert start_gang(spec, directory=job).exit_codes() == [0]
    whole = seen(run)
    total = len(whole["train/loss"])
    assert steps(run, "train/loss") == steps(run, "train/learning_rate") == list(range(1, total + 1))
    assert steps(run, "held_out/accuracy") == [total // 2, total]
    for checkpoint in CheckpointStore(job, 99).committed():
        if checkpoint.step > 10:
            (checkpoint.folder / "COMMITTED").unlink()
    second = start_gang(spec, directory=job, attempt=2)
    assert (second.exit_codes(), second.progress()["restoredStep"]) == ([0], 10)
    assert len(list(run.iterdir())) == 2
    assert seen(run)["train/loss"] == whole["train/loss"]
