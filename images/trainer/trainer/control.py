"""Stopping and checkpointing on demand, agreed among the workers at each step's boundary.

SIGTERM may reach one worker only, and the operator's commands reach only rank 0; yet either all workers save or
stop after the same step, or they wait for each other for ever. So what each one knows is added up once a step,
together with the loss, in one small operation.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.group import WorkerGroup
from trainer.progress import Reporter


class StopSignal:
    """Remembers that SIGTERM came."""

    def __init__(self) -> None:
        self.received = False
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, _number: int, _frame: object) -> None:
        self.received = True


@dataclass(frozen=True)
class Orders:
    """What all workers do at this boundary.

    loss: mean over the samples of the step before, None before the first. flags: how many workers raised each.
    """

    stop: bool
    checkpoint: bool
    loss: float | None
    flags: tuple[int, ...] = ()


def agree(
    group: WorkerGroup,
    signal_: StopSignal,
    reporter: Reporter | None,
    *,
    step: int,
    loss_sum: float,
    samples: int,
    flags: Sequence[bool] = (),
) -> Orders:
    """Agree on orders; every worker must call this at the same steps, with as many flags.

    reporter: rank 0's, None in the others.
    """
    stop_at = reporter.stop_at_step if reporter else None
    own = [
        float(signal_.received),
        float(stop_at is not None and step >= stop_at),
        float(reporter.take_checkpoint_request() if reporter else False),
        loss_sum,
        float(samples),
        *map(float, flags),
    ]
    signalled, stopped, checkpoint, total_loss, total_samples, *raised = group.sum(own)
    return Orders(
        stop=bool(signalled or stopped),
        checkpoint=bool(checkpoint),
        loss=total_loss / total_samples if total_samples else None,
        flags=tuple(map(int, raised)),
    )
