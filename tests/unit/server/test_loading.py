"""What is refused at the start, with which words; and that the process says so to Kubernetes."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from server.config import available_cpus, from_environment
from server.errors import StartError
from server.lifecycle import main
from server.loading import load
from server.model import prepare, warm_up


def test_a_good_model_loads(export: Any) -> None:
    loaded = load(export(), None)
    assert loaded.card.label_output is not None
    assert loaded.card.label_output.datatype == "BYTES"
    assert not loaded.module.training


def test_labels_of_whole_numbers_make_an_int64_output(export: Any) -> None:
    card = load(export(labels=[0, 1, 2]), None).card
    assert [output.as_json() for output in card.outputs][1] == {"name": "label", "datatype": "INT64", "shape": [-1]}


@pytest.mark.fault(84)
def test_another_digest_than_the_pinned_one_is_refused(export: Any) -> None:
    with pytest.raises(StartError, match=r"digest mismatch: .* but the service expects sha256:00"):
        load(export(), "sha256:00")


@pytest.mark.fault(84)
def test_altered_weights_are_refused(export: Any) -> None:
    folder = export()
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(StartError, match=r"digest mismatch: .* but the model card expects"):
        load(folder, None)


@pytest.mark.fault(83)
def test_pickled_weights_are_refused_unread(export: Any) -> None:
    folder = export()
    (folder / "model.safetensors").unlink()
    torch.save({"a": torch.zeros(1)}, folder / "model.pt")
    with pytest.raises(StartError, match=r"no model.safetensors in .*; found model.pt, but pickled weights run code"):
        load(folder, None)


@pytest.mark.fault(83)
def test_a_pickle_with_the_right_name_is_refused(export: Any) -> None:
    folder = export()
    (folder / "model.safetensors").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(StartError, match="is not a safetensors file"):
        load(folder, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": []}, "'inputs' must be a list of exactly one tensor"),
        ({"inputs": [{"name": "x", "datatype": "FP33", "shape": [-1]}]}, r"inputs\[0\].datatype is 'FP33'"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [4]}]}, "expected -1 first, for the batch"),
        ({"labels": "abc"}, "'labels' must be null or a list"),
        ({"name": ""}, "'name' is ''; expected a non-empty string"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(export: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StartError, match=message):
        load(export(**changes), None)


def test_an_architecture_that_nobody_knows_is_refused(export: Any) -> None:
    folder = export()
    card = json.loads((folder / "card.json").read_text())
    card["architecture"]["model"] = "perceiver"
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(StartError, match=r"cannot load the model in .*perceiver"):
        load(folder, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 5, 5]}]}, "warm-up with an input of shape"),
        ({"outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 7]}]}, r"answers \[1, 3\], but its card"),
        ({"labels": ["a"]}, r"the card has 1 labels, but the model answers \[1, 3\]"),
    ],
)
def test_a_model_that_breaks_its_own_card_never_gets_ready(export: Any, changes: dict[str, Any], message: str) -> None:
    model = prepare(load(export(**changes), None), "cpu", 1)
    with pytest.raises(StartError, match=message):
        warm_up(model, 4)


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(StartError, match="TRAINYARD_MAX_BATCH is 'many'; expected a whole number of at least 1"):
        from_environment({"TRAINYARD_MODEL_PATH": "/m", "TRAINYARD_MAX_BATCH": "many"})


@pytest.mark.parametrize(("text", "expected"), [("150000 100000", 2), ("10000 100000", 1), ("max 100000", None)])
def test_threads_follow_the_quota_of_the_container(tmp_path: Path, text: str, expected: int | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(text)
    cores = len(os.sched_getaffinity(0))
    assert available_cpus(file) == (cores if expected is None else min(expected, cores))


def test_the_process_exits_65_and_leaves_the_reason(export: Any, tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    environment = {
        "TRAINYARD_MODEL_PATH": str(export()),
        "TRAINYARD_MODEL_DIGEST": "sha256:00",
        "TRAINYARD_HOST": "127.0.0.1",
        "TRAINYARD_PORT": "0",
        "TRAINYARD_TERMINATION_LOG": str(log),
    }
    assert main(environment) == 65
    assert log.read_text().startswith("digest mismatch: ")
