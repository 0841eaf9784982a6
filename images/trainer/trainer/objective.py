"""What is minimised, as a module: whatever spreads a module over workers, or compiles it, does so with its loss."""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from trainer.optimization import Loss


@runtime_checkable
class BringsLoss(Protocol):
    """A model whose loss is not a matter of outputs and targets alone."""

    def summed_loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Loss summed over the samples."""


class Objective(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Calls the model and returns its loss, summed over the samples."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        if isinstance(self.module, BringsLoss):
            return self.module.summed_loss(inputs, targets)
        return self.loss.summed(self.module(inputs), targets)
