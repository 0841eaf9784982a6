"""A user's installed package adds models and data sets by name, without a change of ours."""

import json
from pathlib import Path

import pytest
from trainer.datasets.raw import load_raw
from trainer.errors import ConfigurationError
from trainer.models import build_model
from trainer.specification import parse_specification

CODE = """
import numpy
from torch import nn
from trainer.datasets.catalogue import Task
from trainer.datasets.raw import RawData

def wide(parameters):
    return nn.Linear(parameters["inputShape"][0], parameters["outputs"] * parameters["factor"])

def coins(parameters):
    size = parameters["size"]
    inputs = numpy.arange(size, dtype=numpy.float32).reshape(size, 1)
    return RawData(inputs, numpy.arange(size) % 2, Task.CLASSIFICATION, ("heads", "tails"))

def wrong(parameters):
    return "not a module"
"""
POINTS = """
[trainyard.models]
wide = their_package_of_models:wide
wrong = their_package_of_models:wrong
missing = their_package_of_models:missing
cnn = their_package_of_models:wrong

[trainyard.datasets]
coins = their_package_of_models:coins
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package as pip would."""
    (tmp_path / "their_package_of_models.py").write_text(CODE)
    metadata = tmp_path / "their_package_of_models-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package-of-models\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_their_names_are_accepted_with_parameters_of_their_own() -> None:
    document = {
        "model": {"name": "wide", "parameters": {"factor": 3}},
        "dataset": {"name": "coins", "parameters": {"size": 9}},
    }
    assert parse_specification(json.dumps(document)).model.name == "wide"


def test_their_model_is_built_from_all_parameters() -> None:
    module = build_model("wide", {"inputShape": [4], "outputs": 2, "factor": 3})
    assert module.weight.shape == (6, 4)


def test_their_data_set_is_read() -> None:
    assert len(load_raw("coins", {"size": 9})) == 9


def test_they_cannot_replace_a_model_of_ours() -> None:
    assert type(build_model("cnn", {"inputShape": [1, 8, 8], "outputs": 2})).__name__ == "Network"


@pytest.mark.parametrize(
    ("name", "words"), [("wrong", "it made str"), ("missing", "can be imported"), ("wide", "can be built from")]
)
def test_what_they_do_wrong_is_said(name: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        build_model(name, {"inputShape": [4], "outputs": 2})


def test_an_unknown_name_is_answered_with_theirs_among_ours() -> None:
    with pytest.raises(
        ConfigurationError,
        match="there is: cnn, gan, gru, linear, llama, lstm, missing, mlp, resnet, transformer, wide, wrong",
    ):
        build_model("diffusion", {})
