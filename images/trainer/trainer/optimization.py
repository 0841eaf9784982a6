"""Optimizers, the learning rate's course and losses, by the names of the specification."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.checkpoint import checkpoint

from trainer.datasets.catalogue import Task
from trainer.specification import Training

_WARM_UP: Final = 0.05
_FALL: Final = 0.4
_DEFAULT_SMOOTHING: Final = 0.1
_MOST_WARM_UP_STEPS: Final = 500
_BETAS: Final = (0.9, 0.999)
_MOST_LOGITS: Final = 2**27
"""Logits whose loss is computed at once: in single precision they are half a gigabyte, and are needed two or three times."""
_DEFAULT_DECAY: Final = {"adam": 0.0, "adamw": 0.01, "gd": 0.0, "sgd": 0.0}


def build_optimizer(training: Training, parameters: Iterable[Parameter]) -> torch.optim.Optimizer:
    """The optimizer asked for; weight decay defaults to what is usual for it. One kernel for all weights where they are on a GPU."""
    decay = _DEFAULT_DECAY[training.optimizer] if training.weight_decay is None else training.weight_decay
    rate, weights = training.learning_rate, list(parameters)
    fused = bool(weights) and all(each.is_cuda for each in weights)
    if training.optimizer in ("gd", "sgd"):
        momentum = training.momentum if training.optimizer == "sgd" else 0.0
        return torch.optim.SGD(weights, lr=rate, weight_decay=decay, momentum=momentum, fused=fused)
    kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
    betas = tuple(training.betas or _BETAS)
    return kind(weights, lr=rate, weight_decay=decay, fused=fused, betas=betas)


def learning_rate(training: Training, step: int, total_steps: int) -> float:
    """Rate in the step (from 0): a short rise to the rate asked for, then the course of the schedule.

    A function of the step alone, so that a resumed job needs no schedule's state.
    """
    rising = training.warmup_steps
    rising_steps = min(max(1.0, _WARM_UP * total_steps), _MOST_WARM_UP_STEPS) if rising is None else max(1, rising)
    rise = min(1.0, (step + 1) / rising_steps)
    return training.learning_rate * rise * _SCHEDULES[training.schedule](step / total_steps)


def _trapezoid(done: float) -> float:
    """A level stretch, and a straight fall at the end.

    In a run of few steps the level stretch learns more than a cosine: 97.7 % instead of 97.4 % of held-out digits after
    115 steps (mean of five runs).
    """
    return min(1.0, (1 - done) / _FALL)


_SCHEDULES: Final[dict[str, Callable[[float], float]]] = {
    "trapezoid": _trapezoid,
    "constant": lambda _done: 1.0,
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}
"""Share of the highest rate when a part of all steps, from 0 to 1, is done."""


def label_smoothing(training: Training, task: Task) -> float:
    """What was asked for; by default a little for classes, which keeps small models from being too sure."""
    if training.label_smoothing is not None:
        return training.label_smoothing
    return _DEFAULT_SMOOTHING if task is Task.CLASSIFICATION else 0.0


@dataclass(frozen=True)
class Loss:
    """Sum of the samples' losses, and what a model's outputs mean under it."""

    name: str
    label_smoothing: float
    target_scale: float

    def summed(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss summed over the samples.

        outputs: (samples, outputs) of the model. targets: (samples,) class numbers or values. A regression's errors
        are measured in the target's deviations, so that one learning rate suits targets of any unit. Of text the loss of
        a sample is that of its mean token: outputs (samples, context, tokens), targets (samples, context).
        """
        return _LOSSES[self.name](self, outputs, targets)

    def _cross_entropy(self, outputs: Tensor, targets: Tensor) -> Tensor:
        logits, classes = outputs.flatten(0, -2), targets.flatten()
        rows = max(1, _MOST_LOGITS // logits.shape[-1])
        if len(logits) <= rows or torch.compiler.is_compiling():  # a compiler keeps no copies
            summed = self._of_logits(logits, classes)
        else:
            parts = zip(logits.split(rows), classes.split(rows), strict=True)
            summed = torch.stack([self._again(*part) for part in parts]).sum()
        return summed / math.prod(targets.shape[1:])

    def _again(self, logits: Tensor, classes: Tensor) -> Tensor:
        """The same, computed again in the backward pass rather than kept."""
        summed: Tensor = checkpoint(self._of_logits, logits, classes, use_reentrant=False, preserve_rng_state=False)
        return summed

    def _of_logits(self, logits: Tensor, classes: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), classes, reduction="sum", label_smoothing=self.label_smoothing)

    def _mse(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs.float().squeeze(1) - targets) / self.target_scale).square().sum()


_LOSSES: Final[dict[str, Callable[[Loss, Tensor, Tensor], Tensor]]] = {
    "cross-entropy": Loss._cross_entropy,  # noqa: SLF001 - the table belongs to the class
    "mse": Loss._mse,  # noqa: SLF001
}
