"""Exported models, untrained, to compress."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from trainer.compression.parent import Parent, load_parent
from trainer.compression.specification import Source
from trainer.export import write_model
from trainer.models import build_model

SHAPES: dict[str, dict[str, Any]] = {
    "iris": {"inputShape": [4], "outputs": 3},
    "digits": {"inputShape": [1, 8, 8], "outputs": 10},
    "diabetes": {"inputShape": [10], "outputs": 1, "outputShift": 150.0, "outputScale": 77.0},
}


def exported(folder: Path, model: str = "mlp", dataset: str = "iris", **parameters: Any) -> Path:
    """A folder with an untrained model of the data set's shape."""
    folder.mkdir(parents=True)
    torch.manual_seed(3)
    chosen = {**parameters, **SHAPES[dataset]}
    shape, outputs = chosen["inputShape"], chosen["outputs"]
    card = {
        "name": dataset,
        "architecture": {"model": model, "parameters": chosen},
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, *shape]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, outputs]}],
        "preprocessing": None,
        "labels": None if outputs == 1 else list(range(outputs)),
        "metrics": {},
        "dataset": dataset,
        "split": {"parameters": {}, "seed": 1, "testFraction": 0.2},
        "createdBy": "job",
        "step": 1,
    }
    write_model(folder, build_model(model, chosen).state_dict(), card)
    return folder


def parent_of(path: Path) -> Parent:
    return load_parent(Source(str(path)), torch.device("cpu"))


def parameters_of(module: nn.Module) -> Mapping[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}
