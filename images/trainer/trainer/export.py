"""Writing a finished model where an InferenceService can take it: weights as safetensors, and a card that explains them."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from trainer.datasets.catalogue import Task
from trainer.datasets.preparation import PreparedData
from trainer.durable import sync_folder, write_json
from trainer.environment import Environment
from trainer.fencing import require_current
from trainer.models.artifact import CARD_FILE, MODEL_FILE, digest_of
from trainer.models.catalogue import BUILT_IN, with_defaults
from trainer.specification import Specification

FOLDER: Final = "model"


@dataclass(frozen=True)
class Exported:
    """Where the model lies and the digest of its weights."""

    folder: Path
    digest: str


def architecture_of(specification: Specification, data: PreparedData) -> dict[str, Any]:
    """The model's name and all its parameters: the user's, the defaults of today and what the data set decides."""
    derived: dict[str, Any] = {"inputShape": list(data.train.inputs.shape[1:]), "outputs": data.outputs}
    name = specification.model.name
    if data.train.vocabulary is not None:
        derived |= {"vocabulary": data.train.vocabulary, "perToken": data.train.task is Task.LANGUAGE}
    if data.train.task is Task.REGRESSION:
        derived |= {"outputShift": data.target_shift, "outputScale": data.target_scale}
    elif _generates(name) and data.normalisation is not None:  # what it makes is in the unit of the images
        derived |= {"outputShift": data.normalisation.mean, "outputScale": data.normalisation.std}
    return {"model": name, "parameters": with_defaults(name, specification.model.parameters) | derived}


def describe(
    specification: Specification, data: PreparedData, *, job: str, step: int, metrics: Mapping[str, float]
) -> dict[str, Any]:
    """The card without its digest. The split is in it, so that the held-out samples can be found again."""
    training = specification.training
    architecture = architecture_of(specification, data)
    generates = _generates(specification.model.name)
    shape = list(data.train.inputs.shape[1:])
    taken = [architecture["parameters"]["latent"] + data.outputs] if generates else shape
    normalised = data.normalisation is not None and not generates
    return {
        "name": job,
        "architecture": architecture,
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, *taken]}],
        "outputs": [_output(data, shape, generates=generates)],
        "preprocessing": data.normalisation.as_card() if data.normalisation and normalised else None,
        "labels": list(data.train.labels) if data.train.labels and not generates else None,
        "metrics": dict(metrics),
        "framework": f"torch {torch.__version__}",
        "dataset": specification.dataset.name,
        "split": {
            "parameters": dict(specification.dataset.parameters),
            "seed": training.seed,
            "testFraction": training.test_fraction,
        },
        "createdBy": job,
        "step": step,
    }


def _output(data: PreparedData, shape: list[int], *, generates: bool) -> dict[str, Any]:
    """What the model answers: images, a value, or logits, of each step where it reads text."""
    name, answer = "logits", [data.outputs]
    if generates:
        name, answer = "image", shape
    elif data.train.task is Task.REGRESSION:
        name = "value"
    elif data.train.task is Task.LANGUAGE:
        answer = [*shape, data.outputs]
    return {"name": name, "datatype": "FP32", "shape": [-1, *answer]}


def _generates(model: str) -> bool:
    entry = BUILT_IN.get(model)
    return entry is not None and entry.generates


def export(weights: Mapping[str, Tensor], card: Mapping[str, Any], environment: Environment) -> Exported:
    """Write the whole model's weights, on the CPU, and the card into the attempt's folder, which appears whole or not at all.

    Raises SupersededError when a newer attempt owns the storage.
    """
    folder = attempt_folder(environment)
    with appearing(environment, folder) as unfinished:
        digest = write_model(unfinished, weights, card)
    return Exported(folder, digest)


def write_model(folder: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any]) -> str:
    """Write weights, on the CPU, and their card into a folder that is there; returns the weights' digest."""
    save_file(dict(weights), folder / MODEL_FILE)
    with (folder / MODEL_FILE).open("rb+") as stream:
        os.fsync(stream.fileno())
    digest = digest_of(folder / MODEL_FILE)
    write_json(folder / CARD_FILE, {**card, "digest": digest})
    return digest


def attempt_folder(environment: Environment) -> Path:
    """Where this attempt's model lies. Raises ValueError without storage."""
    if environment.directory is None:
        raise ValueError("there is no storage to export to")
    return environment.directory / FOLDER / f"attempt-{environment.attempt}"


@contextmanager
def appearing(environment: Environment, folder: Path) -> Iterator[Path]:
    """A folder to write into, which appears as `folder`, whole, when the block has ended well.

    Raises SupersededError when a newer attempt owns the storage.
    """
    assert environment.directory is not None
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        require_current(environment.directory, environment.attempt)
        if folder.exists():  # an earlier start of this attempt got this far and was not heard
            shutil.rmtree(folder)
        unfinished.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
