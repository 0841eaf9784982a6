"""Predicting without a server: what a served model must answer, computed offline from the same files.

    python -m trainer.predict --model DIR --dataset digits --split heldout --out FILE.json

The file holds the raw inputs as a client would send them and the answer to each, so that somebody else can send
them to a service and compare.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from trainer.datasets.preparation import prepare
from trainer.datasets.raw import RawData, load_raw
from trainer.errors import DataError, TrainerError
from trainer.evaluation import predict
from trainer.models import ArtifactError, load_exported, preprocess

SPLITS: Final = ("heldout", "train", "all")


def predictions(model: Path, dataset: str | None = None, split: str = "heldout") -> dict[str, Any]:
    """Answers of an exported model for part of a data set, by default its own.

    Returns digest, dataset, split, inputs (raw, nested lists), outputs (as the model gives them), labels (of the
    outputs; null for a regression), targets (what would be right) and their accuracy or mse.
    """
    module, card = load_exported(model)
    name = dataset or card["dataset"]
    part = _part(name, card, split)
    inputs = torch.from_numpy(part.inputs)
    expected = card["inputs"][0]["shape"][1:]
    if list(inputs.shape[1:]) != expected:
        raise DataError(f"data set {name} has samples of shape {list(inputs.shape[1:])}, the model takes {expected}")
    outputs = predict(module, preprocess(card, inputs))
    answer = {"digest": card["digest"], "dataset": name, "split": split, "inputs": part.inputs.tolist()}
    answer |= {"outputs": outputs.tolist(), "labels": None}
    targets = torch.from_numpy(part.targets)
    if card["labels"] is None:
        mse = float((outputs.squeeze(1) - targets).square().mean())
        return answer | {"targets": targets.tolist(), "metrics": {"mse": mse}}
    classes = outputs.argmax(dim=1)
    labels = card["labels"]
    return answer | {
        "labels": [labels[index] for index in classes.tolist()],
        "targets": [labels[index] for index in targets.tolist()],
        "metrics": {"accuracy": float((classes == targets).float().mean())},
    }


def _part(dataset: str, card: Mapping[str, Any], split: str) -> RawData:
    how = card["split"]
    raw = load_raw(dataset, how["parameters"] if dataset == card["dataset"] else {})
    if split == "all":
        return raw
    data = prepare(raw, held_out_fraction=how["testFraction"], seed=how["seed"])
    return data.train if split == "train" else data.held_out


def main(arguments: Sequence[str]) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="trainer.predict", description="Predict with an exported model, offline.")
    parser.add_argument("--model", type=Path, required=True, help="folder with model.safetensors and card.json")
    parser.add_argument("--dataset", help="name of a data set; default: the one the model was trained on")
    parser.add_argument("--split", choices=SPLITS, default="heldout", help="which samples (default: heldout)")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args(arguments)
    try:
        answer = predictions(options.model, options.dataset, options.split)
    except (TrainerError, ArtifactError) as error:
        print(error, file=sys.stderr)
        return error.exit_code if isinstance(error, TrainerError) else DataError.exit_code
    options.out.write_text(json.dumps(answer))
    print(f"{len(answer['inputs'])} samples of {answer['dataset']} ({answer['split']}): {answer['metrics']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
