"""Judging a model on held-out samples, each by one worker, and predicting for others to compare with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from trainer.datasets.catalogue import Task
from trainer.group import WorkerGroup
from trainer.objective import BringsLoss
from trainer.optimization import Loss
from trainer.parallel.strategy import Strategy

_ROWS_AT_ONCE = 1024
_SEED: Final = 0


@dataclass(frozen=True)
class Samples:
    """Preprocessed inputs and their targets, on the worker's device or, where they are too many for it, in memory."""

    inputs: Tensor
    targets: Tensor
    device: torch.device

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of these rows, on the device; where that is a GPU, without waiting for it."""
        if self.inputs.device == self.device:
            chosen = _sent(rows, self.device)
            return self.inputs[chosen], self.targets[chosen]
        return _sent(self.inputs[rows], self.device), _sent(self.targets[rows], self.device)


def _sent(values: Tensor, device: torch.device) -> Tensor:
    """The values on the device. Out of pinned memory, as a copy out of any other waits for all that the GPU has to do."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


def predict(module: nn.Module, inputs: Tensor) -> Tensor:
    """The model's outputs for preprocessed inputs, in evaluation mode; the module's mode is left as it was."""
    was_training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            return torch.cat([module(part) for part in inputs.split(_ROWS_AT_ONCE)])
    finally:
        module.train(was_training)


@dataclass(frozen=True)
class Judge:
    """What is measured, sample by sample. rows_at_once: samples of one forward pass."""

    task: Task
    loss: Loss
    rows_at_once: int = _ROWS_AT_ONCE

    def names(self, module: nn.Module) -> tuple[str, ...]:
        """Metrics, in the order in which they are summed."""
        return ("loss",) if isinstance(module, BringsLoss) else _METRICS[self.task][0]

    def sums(self, outputs: Tensor, targets: Tensor) -> list[float]:
        """Sums over the samples of each metric."""
        return _METRICS[self.task][1](self.loss, outputs, targets)


def _of_classes(loss: Loss, outputs: Tensor, targets: Tensor) -> list[float]:
    return [float((outputs.argmax(dim=1) == targets).sum()), float(loss.summed(outputs, targets))]


def _of_values(_loss: Loss, outputs: Tensor, targets: Tensor) -> list[float]:
    errors = outputs.float().squeeze(1) - targets
    return [float(errors.square().sum()), float(errors.abs().sum())]


def _of_language(loss: Loss, outputs: Tensor, targets: Tensor) -> list[float]:
    right = (outputs.argmax(dim=-1) == targets).float().mean(dim=1).sum()
    return [float(right), float(loss.summed(outputs, targets))]


_METRICS: Final[Mapping[Task, tuple[tuple[str, ...], Callable[[Loss, Tensor, Tensor], list[float]]]]] = {
    Task.CLASSIFICATION: (("accuracy", "loss"), _of_classes),
    Task.REGRESSION: (("mse", "mae"), _of_values),
    Task.LANGUAGE: (("accuracy", "loss"), _of_language),
}


def evaluate(strategy: Strategy, samples: Samples, judge: Judge, group: WorkerGroup) -> dict[str, float]:
    """Metrics over all samples, equal in all workers: accuracy and loss, or mse and mae in the target's unit.

    For language they are those of the mean token. Each worker judges its part; the parts are filled up to one size,
    since workers that share weights must make the same forward passes.
    """
    module, layout = strategy.module, strategy.layout
    names = judge.names(module)
    part = torch.arange(layout.data_rank, len(samples), layout.data_size)
    rows = torch.cat((part, torch.zeros(-(-len(samples) // layout.data_size) - len(part), dtype=torch.long)))
    sums, counted = [0.0] * len(names), 0
    was_training = module.training
    module.eval()
    group.seed(_SEED)
    for start in range(0, len(rows), judge.rows_at_once):
        chosen = rows[start : start + judge.rows_at_once]
        real = max(0, min(len(chosen), len(part) - start))
        found = _sums(strategy, judge, *samples.take(chosen), real)
        if found is not None:
            sums, counted = [one + more for one, more in zip(sums, found, strict=True)], counted + real
    module.train(was_training)
    *totals, count = group.sum([*sums, counted])
    return {name: total / count for name, total in zip(names, totals, strict=True)}


def _sums(strategy: Strategy, judge: Judge, inputs: Tensor, targets: Tensor, real: int) -> list[float] | None:
    """Of the first `real` samples; None in a process that does not see outputs."""
    if isinstance(strategy.module, BringsLoss):
        with torch.no_grad():
            return [float(strategy.module.summed_loss(inputs[:real], targets[:real]))] if strategy.knows_loss else None
    outputs = strategy.outputs(inputs)
    return None if outputs is None else judge.sums(outputs[:real], targets[:real])
