"""Offline predictions: what a served model must answer."""

import json
from pathlib import Path

import pytest
from trainer.predict import main, predictions

from tests.unit.trainer.gang import StartGang, specification


@pytest.fixture
def model(start_gang: StartGang, tmp_path: Path) -> tuple[Path, dict[str, float]]:
    gang = start_gang(specification(seed=5, epochs=10, learningRate=0.02), directory=tmp_path / "job")
    assert gang.exit_codes() == [0]
    return tmp_path / "job" / "model" / "attempt-1", gang.progress()["metrics"]


def test_held_out_predictions_have_the_accuracy_that_training_reported(model: tuple[Path, dict[str, float]]) -> None:
    folder, metrics = model
    answer = predictions(folder)
    assert answer["metrics"]["accuracy"] == pytest.approx(metrics["accuracy"])
    assert len(answer["inputs"]) == len(answer["labels"]) == len(answer["targets"]) == 30
    assert set(answer["labels"]) <= {"setosa", "versicolor", "virginica"}
    assert max(max(row) for row in answer["inputs"]) > 5, "inputs are raw centimetres, not normalised"


def test_the_command_writes_the_file(model: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    out = tmp_path / "answers.json"
    assert main(["--model", str(model[0]), "--dataset", "iris", "--split", "all", "--out", str(out)]) == 0
    assert len(json.loads(out.read_bytes())["labels"]) == 150


def test_another_shape_of_data_is_refused(model: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    arguments = ["--model", str(model[0]), "--dataset", "digits", "--out", str(tmp_path / "out")]
    assert main(arguments) == 65


def test_a_folder_without_a_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(tmp_path), "--out", str(tmp_path / "out")]) == 65
    assert "card.json" in capsys.readouterr().err
