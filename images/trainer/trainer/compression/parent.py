"""The model that is compressed, with the data it was trained and judged on, found again by its card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from trainer.compression.gate import Terms
from trainer.compression.specification import Source
from trainer.datasets.catalogue import Task
from trainer.datasets.preparation import prepare
from trainer.datasets.raw import RawData, load_raw
from trainer.errors import ConfigurationError
from trainer.evaluation import Judge
from trainer.models import ArtifactError, load_exported, preprocess
from trainer.objective import BringsLoss
from trainer.optimization import Loss
from trainer.retention import is_smaller_better

_METRIC: Final[Mapping[Task, str]] = {Task.CLASSIFICATION: "accuracy", Task.REGRESSION: "mse", Task.LANGUAGE: "loss"}
"""What a variant is judged by; the loss of a language is in nats a token, which is a byte where tokens are bytes."""
_LOSS: Final[Mapping[Task, str]] = {
    Task.CLASSIFICATION: "cross-entropy",
    Task.REGRESSION: "mse",
    Task.LANGUAGE: "cross-entropy",
}


@dataclass(frozen=True)
class Part:
    """Preprocessed samples on the device."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Parent:
    """A trained model in evaluation mode, its card and its data."""

    module: nn.Module
    card: Mapping[str, Any]
    task: Task
    train: Part
    held_out: Part

    @property
    def architecture(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.card["architecture"]
        return found

    @property
    def target_scale(self) -> float:
        """Deviation of the targets; 1 for classes."""
        return float(self.architecture["parameters"].get("outputScale", 1.0))

    @property
    def metric(self) -> str:
        return _METRIC[self.task]

    @property
    def judge(self) -> Judge:
        """What judges outputs, without the smoothing that training may have had."""
        return Judge(self.task, Loss(_LOSS[self.task], 0.0, self.target_scale))

    def terms(self, maximum_loss: float) -> Terms:
        return Terms(self.metric, maximum_loss, is_smaller_better(self.metric))


def load_parent(source: Source, device: torch.device) -> Parent:
    """Load the model and its data set. Raises ConfigurationError for a model that cannot be compressed, DataError for its data."""
    try:
        module, card = load_exported(source.path, source.digest)
    except ArtifactError as error:
        raise ConfigurationError("compression.parent", source.path, f"a trained model ({error})") from error
    if card.get("compression"):
        raise ConfigurationError("compression.parent", source.path, "a model that was not quantised already")
    if isinstance(module, BringsLoss) or "split" not in card:
        raise ConfigurationError(
            "compression.parent", source.path, "a model that answers and whose card tells its data"
        )
    how = card["split"]
    raw = load_raw(card["dataset"], how["parameters"])
    data = prepare(raw, held_out_fraction=how["testFraction"], seed=how["seed"])
    return Parent(
        module.to(device),
        card,
        raw.task,
        _part(data.train, card, device),
        _part(data.held_out, card, device),
    )


def _part(samples: RawData, card: Mapping[str, Any], device: torch.device) -> Part:
    inputs, targets = torch.from_numpy(samples.inputs).to(device), torch.from_numpy(samples.targets).to(device)
    return Part(preprocess(card, inputs), targets)
