"""The workers of a job as one worker sees them; the only code that talks to torch's process group directly."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import torch
import torch.distributed as dist

from trainer.errors import SupersededError, TrainerError

# A peer that died is noticed at once by its closed connection; this bounds the wait for one that froze.
_PATIENCE: Final = timedelta(minutes=10)
_ERRORS: Final[dict[str, type[Exception]]] = {"SupersededError": SupersededError, "OSError": OSError}


@dataclass(frozen=True)
class WorkerGroup:
    """Rank, number of workers and device, with the few collective operations that training needs."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sum of each value over all workers, in double precision, through the CPU so that no GPU has to wait."""
        if self.world_size == 1:
            return [float(value) for value in values]
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        summed: list[float] = tensor.tolist()
        return summed

    def on_first(self, work: Callable[[], str]) -> str:
        """Let rank 0 work; every worker returns what it returned or raises what it raised.

        A failure that only rank 0 knew of would leave the others waiting for it in their next collective operation.
        """
        answer = {}
        if self.is_first:
            try:
                answer = {"value": work()}
            except (TrainerError, OSError) as error:
                kind = "OSError" if isinstance(error, OSError) else type(error).__name__
                answer = {"kind": kind, "error": str(error)}
        answer = json.loads(self._broadcast(json.dumps(answer)))
        if "error" in answer:
            raise _ERRORS.get(answer["kind"], TrainerError)(answer["error"])
        return str(answer["value"])

    def seed(self, value: int) -> None:
        """Seed the random numbers of this worker's device.

        Not torch.manual_seed: without a GPU that keeps a note for a later one, with a stack trace, at every call.
        """
        torch.default_generator.manual_seed(value)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(value)

    def _broadcast(self, text: str) -> str:
        """Rank 0's text. As bytes in a tensor, because torch's own way for objects unpickles what it receives."""
        if self.world_size == 1:
            return text
        content = text.encode()
        size = torch.tensor([len(content)])
        dist.broadcast(size, src=0)
        tensor = torch.zeros(int(size.item()), dtype=torch.uint8)
        if self.is_first:
            tensor = torch.tensor(list(content), dtype=torch.uint8)
        dist.broadcast(tensor, src=0)
        return bytes(tensor.tolist()).decode()


@contextmanager
def joined_group(*, distributed: bool, local_rank: int) -> Iterator[WorkerGroup]:
    """Join the group that torchrun describes; a program started without torchrun is a group of one."""
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", local_rank) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if not distributed:
        yield WorkerGroup(0, 1, device)
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=_PATIENCE)
    try:
        yield WorkerGroup(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()


def is_loss_of_peer(error: Exception) -> bool:
    """Whether the failure is that another worker went away, rather than one of this worker's own."""
    words: Any = ("gloo", "nccl", "connection closed by peer", "connection reset")
    return isinstance(error, dist.DistError) or any(word in str(error).lower() for word in words)
