"""Real workers over gloo: what several of them train is what one would, and nothing is lost or repeated."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from trainer.checkpoint_store import CheckpointStore
from trainer.fencing import claim_attempt
from trainer.models import load_exported

from tests.unit.trainer.gang import Gang, StartGang, specification

# Sums of floats in another order: two workers add up what one adds at once.
TOLERANCE = 1e-4
NO_DROPOUT = 'mlp:{"dropout": 0.0, "hidden": [32]}'


def finished(gang: Gang) -> dict[str, Any]:
    codes = gang.exit_codes()
    assert set(codes) == {0}, "\n".join(log.read_text() for log in gang.run_directory.glob("log-*"))
    return gang.progress()


def weights(directory: Path, attempt: int = 1) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(directory / "model" / f"attempt-{attempt}" / "model.safetensors")
    return found


def furthest(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


@pytest.mark.parametrize("model", [NO_DROPOUT, "linear"])
def test_two_workers_train_what_one_would(start_gang: StartGang, tmp_path: Path, model: str) -> None:
    # 17 samples in a step and 13 in an epoch's last: neither divides by two
    spec = specification(model, batchSize=17, optimizer="sgd", learningRate=0.05, seed=3)
    single = start_gang(spec, directory=tmp_path / "single")
    double = start_gang(spec, workers=2, directory=tmp_path / "double")
    one, two = finished(single), finished(double)
    assert two["worldSize"] == 2
    assert one["loss"] == pytest.approx(two["loss"], rel=TOLERANCE)
    assert furthest(weights(tmp_path / "single"), weights(tmp_path / "double")) < TOLERANCE


def test_a_worker_left_without_a_sample_still_takes_part(start_gang: StartGang, tmp_path: Path) -> None:
    # 117 samples: the last step of an epoch has one, for two workers
    spec = specification(NO_DROPOUT, batchSize=29, optimizer="sgd", learningRate=0.05)
    one = finished(start_gang(spec, directory=tmp_path / "single"))
    two = finished(start_gang(spec, workers=2, directory=tmp_path / "double"))
    assert one["loss"] == pytest.approx(two["loss"], rel=TOLERANCE)
    assert furthest(weights(tmp_path / "single"), weights(tmp_path / "double")) < TOLERANCE


def test_a_stopped_job_continues_exactly_where_it_was(start_gang: StartGang, tmp_path: Path) -> None:
    # with dropout, so that random numbers have to continue as well
    spec = specification("mlp", epochs=4, checkpointEverySteps=3)
    whole = finished(start_gang(spec, workers=2, directory=tmp_path / "whole"))

    endless = start_gang(spec, workers=2, directory=tmp_path / "parts")
    endless.wait_for(lambda progress: progress["step"] >= 1)
    endless.terminate(1)  # one worker only: the other must stop after the same step
    codes = endless.exit_codes()
    if codes != [0, 0]:
        assert codes == [75, 75]
        assert "checkpoint of step" in endless.outcome()["cause"]
    resumed = finished(start_gang(spec, workers=2, attempt=2, directory=tmp_path / "parts"))

    assert resumed["restoredStep"] is not None
    assert resumed["loss"] == whole["loss"]
    assert resumed["metrics"] == whole["metrics"]
    assert furthest(weights(tmp_path / "whole"), weights(tmp_path / "parts", attempt=2)) == 0


@pytest.fixture
def half_done(start_gang: StartGang, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """A job of 32 steps of which an attempt without a stop did all, and the end of which was then lost."""
    spec = specification(NO_DROPOUT, epochs=4, checkpointEverySteps=8, keepCheckpoints=10)
    directory = tmp_path / "job"
    finished(start_gang(spec, workers=2, directory=directory))
    for checkpoint in CheckpointStore(directory, 1).committed():
        if checkpoint.step > 16:
            (checkpoint.folder / "COMMITTED").unlink()
    return spec, directory


@pytest.mark.fault(63)
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_training_continues_with_another_number_of_workers(
    start_gang: StartGang, half_done: tuple[dict[str, Any], Path], workers: int
) -> None:
    spec, directory = half_done
    before = weights(directory)
    resumed = finished(start_gang(spec, workers=workers, attempt=2, directory=directory))
    assert resumed["restoredStep"] == 16
    assert furthest(before, weights(directory, attempt=2)) < TOLERANCE


@pytest.mark.fault(63)
def test_a_corrupt_checkpoint_is_skipped_and_said(
    start_gang: StartGang, half_done: tuple[dict[str, Any], Path]
) -> None:
    spec, directory = half_done
    newest = CheckpointStore(directory, 1).committed()[0]
    assert newest.step == 16
    file = next(newest.folder.glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    gang = start_gang(spec, workers=2, attempt=2, directory=directory)
    assert finished(gang)["restoredStep"] == 8
    assert "step 16 is corrupt" in (gang.run_directory / "log-0").read_text()


@pytest.mark.fault(62)
def test_an_old_attempt_cannot_commit_once_a_newer_one_started(start_gang: StartGang, tmp_path: Path) -> None:
    directory = tmp_path / "job"
    claim_attempt(directory, 1)
    gang = start_gang(specification(epochs=100_000, checkpointEverySteps=50), workers=2, directory=directory)
    gang.wait_for(lambda progress: progress["checkpoint"] is not None)
    claim_attempt(directory, 2)
    assert gang.exit_codes() == [76, 76]
    assert "attempt 2 owns" in gang.outcome()["cause"]
    assert not (directory / "model").exists()


@pytest.mark.fault(61)
def test_a_stop_request_leaves_a_committed_checkpoint(start_gang: StartGang, tmp_path: Path) -> None:
    spec = specification(epochs=100_000, checkpointEverySteps=10**9)
    gang = start_gang(spec, workers=2, directory=tmp_path / "job")
    gang.wait_for(lambda progress: progress["step"] > 5)
    assert CheckpointStore(tmp_path / "job", 1).committed() == []
    gang.terminate(0, 1)
    assert gang.exit_codes() == [75, 75]
    newest = CheckpointStore(tmp_path / "job", 1).newest_verified(on_corrupt=pytest.fail)
    assert newest is not None
    assert gang.progress()["checkpoint"] == {
        "step": newest.step,
        "path": f"job/checkpoints/attempt-1/step-{newest.step}",
    }


def test_without_storage_a_stop_request_ends_training_and_saves_nothing(start_gang: StartGang) -> None:
    gang = start_gang(specification(epochs=100_000))
    gang.wait_for(lambda progress: progress["step"] > 1)
    gang.terminate(0)
    assert gang.exit_codes() == [75]
    assert "nothing saved" in gang.outcome()["cause"]


def test_a_lost_worker_is_named_as_the_cause_by_those_that_remain(start_gang: StartGang, tmp_path: Path) -> None:
    gang = start_gang(specification(epochs=100_000), workers=2, directory=tmp_path / "job")
    gang.wait_for(lambda progress: progress["step"] > 1)
    gang.processes[1].kill()
    assert gang.exit_codes() == [1, -9]
    assert gang.outcome()["consequence"] is True
    assert gang.outcome()["cause"].startswith("lost another worker")


@pytest.mark.fault(64)
def test_storage_that_fails_costs_the_checkpoint_not_the_training(start_gang: StartGang, tmp_path: Path) -> None:
    directory = tmp_path / "job"
    directory.mkdir()
    (directory / "checkpoints").write_text("a file where a folder has to be")
    gang = start_gang(specification(), workers=2, directory=directory)
    assert finished(gang)["result"] is not None
    assert "no checkpoint of step" in (gang.run_directory / "log-0").read_text()


def test_a_finished_job_started_again_only_exports_again(start_gang: StartGang, tmp_path: Path) -> None:
    first = finished(start_gang(specification(), directory=tmp_path / "job"))
    again = finished(start_gang(specification(), attempt=2, directory=tmp_path / "job"))
    assert again["restoredStep"] == again["totalSteps"]
    assert again["metrics"] == pytest.approx(first["metrics"])
    assert again["result"]["digest"] == first["result"]["digest"]
    assert again["result"]["path"] == "job/model/attempt-2"


def test_a_regression_answers_in_the_unit_of_its_target(start_gang: StartGang, tmp_path: Path) -> None:
    spec = specification("linear", "diabetes", epochs=60, learningRate=0.05, checkpointEverySteps=10**6)
    progress = finished(start_gang(spec, directory=tmp_path / "job"))
    # a model that always answers the mean has the target's variance, about 5,900, as its error
    assert progress["metrics"]["mse"] < 4000
    module, card = load_exported(tmp_path / "job" / "model" / "attempt-1")
    assert card["outputs"] == [{"name": "value", "datatype": "FP32", "shape": [-1, 1]}]
    assert 100 < float(module(torch.zeros(1, 10)).detach()) < 200


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_each_optimizer_learns_and_resumes(start_gang: StartGang, tmp_path: Path, optimizer: str) -> None:
    spec = specification(epochs=20, optimizer=optimizer, learningRate=0.02, checkpointEverySteps=40, keepCheckpoints=9)
    first = finished(start_gang(spec, directory=tmp_path / "job"))
    assert first["metrics"]["accuracy"] > 0.85
    for checkpoint in CheckpointStore(tmp_path / "job", 1).committed():
        if checkpoint.step > 80:
            (checkpoint.folder / "COMMITTED").unlink()
    again = finished(start_gang(spec, attempt=2, directory=tmp_path / "job"))
    assert again["restoredStep"] == 80
    assert again["loss"] == first["loss"]


def test_the_position_is_kept_as_json(start_gang: StartGang, tmp_path: Path) -> None:
    finished(start_gang(specification(), workers=2, directory=tmp_path / "job"))
    newest = CheckpointStore(tmp_path / "job", 1).committed()[0]
    state = json.loads((newest.folder / "state.json").read_bytes())
    assert (state["step"], state["epoch"], state["batchInEpoch"], state["worldSize"]) == (16, 2, 0, 2)
    assert not list(newest.folder.glob("*.metadata")), "the default format of torch would be a pickle"


@pytest.mark.fault(65)
def test_a_job_that_diverges_ends_and_exports_nothing(start_gang: StartGang, tmp_path: Path) -> None:
    spec = specification("linear", "diabetes", optimizer="sgd", learningRate=1e6, epochs=100)
    gang = start_gang(spec, workers=2, directory=tmp_path / "job")
    assert gang.exit_codes() == [1, 1]
    assert "training diverged" in gang.outcome()["cause"]
    assert not (tmp_path / "job" / "model").exists()
