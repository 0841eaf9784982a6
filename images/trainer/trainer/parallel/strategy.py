"""What a training loop needs of the way in which work is shared; each way is a module beside this one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.parallel.layout import Layout


@dataclass(frozen=True)
class Batch:
    """Samples of one forward and backward pass. weight: of their summed loss in the step's; 0 for those that only fill up."""

    inputs: Tensor
    targets: Tensor
    weight: float


class Strategy(ABC):
    """How this process takes part in a step.

    module: what it holds of the model, with the names of the whole. shapes: of every tensor of the whole model.
    """

    def __init__(
        self, layout: Layout, module: nn.Module, optimizer: torch.optim.Optimizer, shapes: Mapping[str, torch.Size]
    ) -> None:
        self.layout, self.module, self.optimizer, self.shapes = layout, module, optimizer, shapes
        self.clip_norm: float | None = None
        self.precision: torch.dtype | None = None

    @property
    def knows_loss(self) -> bool:
        """Whether this process sees outputs, and so the loss."""
        return True

    @property
    def free_steps(self) -> int:
        """Steps that workers make before they have to meet; 1 where every step is made together."""
        return 1

    @abstractmethod
    def step(self, batches: Sequence[Batch], rate: float) -> Tensor:
        """One optimizer step with the learning rate; returns the summed loss of this worker's batches, 0 if it is not known here.

        It is one number of double precision, left on the device: whoever reads it waits for the whole step.
        """

    @abstractmethod
    def outputs(self, inputs: Tensor) -> Tensor | None:
        """The model's outputs for some samples; None in a process that does not see them. All call it alike."""

    def meet(self) -> None:  # noqa: B027 - most are always together
        """Bring this worker's weights to the newest, where they may have fallen behind. All call it together."""

    def full_weights(self) -> dict[str, Tensor] | None:
        """The whole model's tensors in rank 0, None in the others. All call it together."""
        weights = {name: value.detach().cpu().clone() for name, value in self.module.state_dict().items()}
        return weights if self.layout.rank == 0 else None

    def set_rate(self, rate: float) -> None:
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
