"""Models are built by name, exported without code in them, and refused when a byte has changed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from trainer.datasets.preparation import PreparedData, prepare
from trainer.datasets.raw import load_raw
from trainer.environment import read_environment
from trainer.errors import ConfigurationError, SupersededError
from trainer.export import Exported, architecture_of, describe, export
from trainer.fencing import claim_attempt
from trainer.models import ArtifactError, build_model, load_exported, preprocess
from trainer.specification import Specification, parse_specification

TABLES = ("linear", "mlp", "lstm", "gru", "transformer")
"""Models that take tables too."""
SEQUENCES = ("lstm", "gru", "transformer")
"""Models that read whatever there is."""


def request(model: str, dataset: str) -> Specification:
    return parse_specification(json.dumps({"model": {"name": model}, "dataset": {"name": dataset}}))


def prepared(dataset: str) -> PreparedData:
    return prepare(load_raw(dataset, {}), held_out_fraction=0.2, seed=0)


@pytest.mark.parametrize(
    ("model", "dataset"),
    [
        ("cnn", "digits"),
        *((model, dataset) for model in TABLES for dataset in ("digits", "iris", "diabetes")),
        *((model, "order") for model in SEQUENCES),
    ],
)
def test_each_model_fits_its_data(model: str, dataset: str) -> None:
    data = prepared(dataset)
    architecture = architecture_of(request(model, dataset), data)
    module = build_model(architecture["model"], architecture["parameters"]).eval()
    card = {"preprocessing": data.normalisation.as_card() if data.normalisation else None}
    inputs = preprocess(card, torch.from_numpy(data.train.inputs[:7]))
    assert module(inputs).shape == (7, data.outputs)


@pytest.mark.parametrize("model", [*SEQUENCES, "llama"])
def test_a_language_is_answered_token_by_token(model: str) -> None:
    data = prepared("docs")
    architecture = architecture_of(request(model, "docs"), data)
    module = build_model(architecture["model"], architecture["parameters"]).eval()
    assert module(torch.from_numpy(data.train.inputs[:2])).shape == (2, 128, 256)
    # A card of the time when all text was a language does not say so.
    before = {name: value for name, value in architecture["parameters"].items() if name != "perToken"}
    assert build_model(model, before).state_dict().keys() == module.state_dict().keys()


@pytest.mark.parametrize("model", ["cnn", *TABLES])
def test_an_answer_does_not_depend_on_what_else_is_in_the_batch(model: str) -> None:
    torch.manual_seed(0)
    module = build_model(model, {"inputShape": [1, 8, 8], "outputs": 10}).eval()
    inputs = torch.randn(5, 1, 8, 8)
    assert torch.allclose(module(inputs)[2], module(inputs[2:3])[0], atol=1e-5)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match="there is: cnn, gan, gru, linear, llama, lstm, mlp, resnet, transformer"
    ):
        build_model("diffusion", {})


def test_heads_that_do_not_share_the_width_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="dim 10 is no multiple of heads 4"):
        build_model("transformer", {"inputShape": [1, 8, 8], "outputs": 10, "dim": 10})


def test_a_model_without_what_the_data_set_decides_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="inputShape"):
        build_model("linear", {"outputs": 3})


@pytest.mark.parametrize(
    ("stored", "shape", "expected"),
    [
        ({"mean": 2.0, "std": 4.0}, (2, 1, 8, 8), 2.0),
        ({"mean": [2.0, 2.0], "std": [4.0, 4.0]}, (3, 2), 2.0),
        ({"mean": [2.0, 2.0], "std": [4.0, 4.0]}, (3, 2, 8, 8), 2.0),
        (None, (3, 2), 10.0),
    ],
)
def test_preprocessing_takes_numbers_and_lists(stored: Any, shape: tuple[int, ...], expected: float) -> None:
    result = preprocess({"preprocessing": stored}, torch.full(shape, 10, dtype=torch.uint8))
    assert result.shape == shape
    assert result.dtype == torch.float32
    assert result.unique().tolist() == [expected]


def test_preprocessing_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="3 values"):
        preprocess({"preprocessing": {"mean": [0.0] * 3, "std": [1.0] * 3}}, torch.zeros(5, 4))


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Exported, torch.nn.Module]:
    data = prepared("digits")
    chosen = request("cnn", "digits")
    architecture = architecture_of(chosen, data)
    torch.manual_seed(1)
    module = build_model(architecture["model"], architecture["parameters"])
    card = describe(chosen, data, job="digits", step=115, metrics={"accuracy": 0.98})
    claim_attempt(tmp_path / "job", 1)
    return export(module.state_dict(), card, read_environment({"TRAINYARD_DIR": str(tmp_path / "job")})), module


def test_a_loaded_model_answers_as_the_exported_one(exported: tuple[Exported, torch.nn.Module]) -> None:
    result, module = exported
    loaded, card = load_exported(result.folder, expected_digest=result.digest)
    inputs = torch.randn(3, 1, 8, 8)
    assert torch.equal(loaded(inputs), module.eval()(inputs))
    assert card["digest"] == result.digest
    assert card["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    assert card["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}]
    assert card["labels"] == list(range(10))
    assert card["metrics"] == {"accuracy": 0.98}
    assert card["createdBy"] == "digits"
    assert not loaded.training


def test_the_card_builds_the_same_model_when_defaults_change(exported: tuple[Exported, torch.nn.Module]) -> None:
    _, card = load_exported(exported[0].folder)
    assert card["architecture"]["parameters"] == {
        "width": 32,
        "dropout": 0.4,
        "inputShape": [1, 8, 8],
        "outputs": 10,
    }


@pytest.mark.parametrize("position", [0, 5000, -1])
def test_a_flipped_byte_is_refused(exported: tuple[Exported, torch.nn.Module], position: int) -> None:
    file = exported[0].folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"card\.json says"):
        load_exported(exported[0].folder)


def test_another_digest_than_expected_is_refused(exported: tuple[Exported, torch.nn.Module]) -> None:
    with pytest.raises(ArtifactError, match="the caller expects sha256:00"):
        load_exported(exported[0].folder, expected_digest="sha256:00")


def test_a_folder_with_a_pickle_instead_is_refused(exported: tuple[Exported, torch.nn.Module]) -> None:
    folder = exported[0].folder
    (folder / "model.safetensors").rename(folder / "model.pt")
    with pytest.raises(ArtifactError, match=r"there is: card\.json, model\.pt"):
        load_exported(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"digest": "x"}', "not json"])
def test_a_card_that_is_none_is_refused(exported: tuple[Exported, torch.nn.Module], content: str) -> None:
    (exported[0].folder / "card.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"card\.json"):
        load_exported(exported[0].folder)


def test_weights_of_another_architecture_are_refused(exported: tuple[Exported, torch.nn.Module]) -> None:
    file = exported[0].folder / "card.json"
    card = json.loads(file.read_bytes())
    card["architecture"]["parameters"]["width"] = 8
    file.write_text(json.dumps(card))
    with pytest.raises(ArtifactError, match="does not fit model cnn"):
        load_exported(exported[0].folder)


def test_a_superseded_attempt_exports_nothing(tmp_path: Path) -> None:
    claim_attempt(tmp_path / "job", 2)
    environment = read_environment({"TRAINYARD_DIR": str(tmp_path / "job"), "TRAINYARD_ATTEMPT": "1"})
    with pytest.raises(SupersededError):
        export({}, {}, environment)
    assert list((tmp_path / "job" / "model").iterdir()) == []
