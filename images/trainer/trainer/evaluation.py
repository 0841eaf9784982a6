"""Judging a model on held-out samples, each by one worker, and predicting for others to compare with."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.datasets.catalogue import Task
from trainer.group import WorkerGroup
from trainer.optimization import Loss

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Samples:
    """Preprocessed inputs and their targets, on the worker's device."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


def predict(module: nn.Module, inputs: Tensor) -> Tensor:
    """The model's outputs for preprocessed inputs, in evaluation mode; the module's mode is left as it was."""
    was_training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            return torch.cat([module(part) for part in inputs.split(_ROWS_AT_ONCE)])
    finally:
        module.train(was_training)


def evaluate(module: nn.Module, samples: Samples, task: Task, loss: Loss, group: WorkerGroup) -> dict[str, float]:
    """Metrics over all samples, equal in all workers: accuracy and loss, or mse and mae in the target's unit."""
    part = slice(group.rank, None, group.world_size)
    inputs, targets = samples.inputs[part], samples.targets[part]
    sums = [0.0, 0.0]
    if len(targets):
        outputs = predict(module, inputs)
        if task is Task.CLASSIFICATION:
            right = (outputs.argmax(dim=1) == targets).sum()
            sums = [float(right), float(loss.summed(outputs, targets))]
        else:
            errors = outputs.squeeze(1) - targets
            sums = [float(errors.square().sum()), float(errors.abs().sum())]
    first, second = (total / len(samples) for total in group.sum(sums))
    if task is Task.CLASSIFICATION:
        return {"accuracy": first, "loss": second}
    return {"mse": first, "mae": second}
