"""The loss of each step on its way from the device to the loop, which never keeps a GPU waiting for it.

To read a number from a GPU is to wait until all that was asked of it is done; if that happened after each step, the GPU
would stand still until it is asked for the next. So there the number of a step is read when the next step has been asked
for: it has arrived by then. Only where the newest loss decides something, before a checkpoint say, does the loop wait.
"""

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StepLoss:
    """Loss of a step, summed over this worker's samples of it. step: how many were made then, 0 before the first."""

    step: int = 0
    summed: float = 0.0
    samples: int = 0


class _Sent:
    """A number that was sent for; on a GPU the copy is queued behind the step's work."""

    def __init__(self, step: int, value: Tensor, samples: int) -> None:
        self._step, self._samples, self._arrived = step, samples, None
        self._number = value.detach()
        if value.is_cuda:
            self._number = torch.empty((), dtype=value.dtype, pin_memory=True)
            self._number.copy_(value.detach(), non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def read(self) -> StepLoss:
        """The number, when it is there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return StepLoss(self._step, float(self._number), self._samples)


class Losses:
    """The newest two losses of this worker. late: whether they are read one step late, alike in all workers of a job."""

    def __init__(self, *, late: bool) -> None:
        self._late = late
        self._sent: deque[_Sent] = deque(maxlen=2)

    def add(self, step: int, summed: Tensor, samples: int) -> None:
        """Send for the loss of the step that was just made; summed: one number, on the device."""
        self._sent.append(_Sent(step, summed, samples))

    def newest(self) -> StepLoss:
        """Of the newest step, which the device has to finish first."""
        return self._sent[-1].read() if self._sent else StepLoss()

    def at_hand(self) -> StepLoss:
        """The newest that can be read without keeping the device waiting."""
        if not self._late:
            return self.newest()
        return self._sent[0].read() if len(self._sent) > 1 else StepLoss()
