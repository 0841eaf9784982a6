"""Teaching a smaller model what a larger one answers (Hinton et al. 2015), and what is right.

The same serves a student that starts from nothing and a pruned model that is to recover.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from trainer.compression.parent import Parent
from trainer.datasets.catalogue import Task

Tick = Callable[[float], None]
"""Called after each step with its loss; may raise to stop."""


@dataclass(frozen=True)
class Tuning:
    """soft_weight: part of the loss that is the teacher's opinion, softened by the temperature; the rest is what is right."""

    epochs: int
    learning_rate: float
    batch_size: int
    temperature: float
    soft_weight: float

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "Tuning":
        return cls(
            parameters["epochs"],
            parameters["learningRate"],
            parameters["batchSize"],
            parameters["temperature"],
            parameters["softWeight"],
        )

    def steps(self, samples: int) -> int:
        return self.epochs * -(-samples // self.batch_size)


def tune(student: nn.Module, parent: Parent, tuning: Tuning, tick: Tick) -> None:
    """Train the student in place, with AdamW and a linear fall of the learning rate; it is left in evaluation mode."""
    data, total = parent.train, tuning.steps(len(parent.train))
    order = torch.Generator().manual_seed(int(parent.card["split"]["seed"]))
    optimizer = torch.optim.AdamW(student.parameters(), lr=tuning.learning_rate)
    fall = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / max(1, total))
    student.train()
    for _ in range(tuning.epochs):
        for rows in torch.randperm(len(data), generator=order).to(data.targets.device).split(tuning.batch_size):
            with torch.no_grad():
                taught = parent.module(data.inputs[rows])
            loss = _loss(student(data.inputs[rows]), taught, data.targets[rows], parent, tuning)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            fall.step()
            tick(float(loss.detach()))
    student.eval()


def _loss(answer: Tensor, taught: Tensor, targets: Tensor, parent: Parent, tuning: Tuning) -> Tensor:
    """Of the mean sample, or of the mean token."""
    if parent.task is Task.REGRESSION:
        soft = F.mse_loss(answer, taught) / parent.target_scale**2
        hard = F.mse_loss(answer.squeeze(1), targets) / parent.target_scale**2
        return tuning.soft_weight * soft + (1 - tuning.soft_weight) * hard
    logits, teacher = answer.flatten(0, -2).float(), taught.flatten(0, -2).float()
    heat = tuning.temperature
    soft = F.kl_div(
        F.log_softmax(logits / heat, dim=1),
        F.log_softmax(teacher / heat, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    hard = F.cross_entropy(logits, targets.flatten())
    # Times the temperature's square, or the gradients of the soft part would shrink with it.
    return tuning.soft_weight * heat**2 * soft + (1 - tuning.soft_weight) * hard
