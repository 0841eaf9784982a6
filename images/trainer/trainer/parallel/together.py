"""Steps that all workers make together: alone, replicated (DDP), sharded (FSDP), and with matrices shared (tensor parallel)."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from trainer.objective import Objective
from trainer.parallel.layout import Layout
from trainer.parallel.strategy import Batch, Strategy


class Together(Strategy):
    """Every worker computes the gradients of its samples, these are averaged, and all make the same step."""

    def __init__(
        self,
        layout: Layout,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        shapes: Mapping[str, torch.Size],
        objective: nn.Module,
        device: torch.device,
    ) -> None:
        super().__init__(layout, module, optimizer, shapes)
        self.objective, self._device = objective, device

    def step(self, batches: Sequence[Batch], rate: float) -> Tensor:
        self.set_rate(rate)
        self.optimizer.zero_grad(set_to_none=True)
        losses = [self._backward(batch, last=batch is batches[-1]) for batch in batches]
        if self.clip_norm is not None:
            clip(list(self.module.parameters()), self.clip_norm)
        self.optimizer.step()
        return torch.stack(losses).sum()

    def outputs(self, inputs: Tensor) -> Tensor | None:
        with torch.no_grad(), self._cast():
            outputs: Tensor = self.module(inputs)
        return outputs

    def full_weights(self) -> dict[str, Tensor] | None:
        weights = {name: whole(value.detach()) for name, value in self.module.state_dict().items()}
        return {name: value.cpu().clone() for name, value in weights.items()} if self.layout.rank == 0 else None

    def _backward(self, batch: Batch, *, last: bool) -> Tensor:
        """Add the gradients of some samples, with those of the other workers only at the end; returns their summed loss."""
        if isinstance(self.module, FSDPModule):
            self.module.set_requires_gradient_sync(last)
        replicated = isinstance(self.objective, DistributedDataParallel) and not last
        with self.objective.no_sync() if replicated else nullcontext():
            with self._cast():
                summed = self.objective(batch.inputs, batch.targets)
            (summed * batch.weight).backward()
        return told(summed, batch)

    def _cast(self) -> AbstractContextManager[None]:
        return cast(self._device, self.precision)


def told(summed: Tensor, batch: Batch) -> Tensor:
    """The batch's loss as it is told to people, 0 where its samples only fill up; stays on the device."""
    return summed.detach().double() if batch.weight else torch.zeros((), dtype=torch.float64, device=summed.device)


def cast(device: torch.device, precision: torch.dtype | None) -> AbstractContextManager[None]:
    """The forward pass in another precision, where one is asked for."""
    context: AbstractContextManager[None] = torch.autocast(device.type, precision, enabled=precision is not None)
    return context


def mesh_of(layout: Layout, device: torch.device) -> DeviceMesh:
    """The processes in three dimensions; every process calls it once."""
    return init_device_mesh(device.type, layout.mesh, mesh_dim_names=("pipeline", "data", "tensor"))


def shard(module: nn.Module, layout: Layout, mesh: DeviceMesh) -> None:
    """Divide the module's matrices among tensor-parallel workers and its weights among data-parallel ones, in place."""
    if layout.parallelism.tensor > 1:
        styles: dict[str, ParallelStyle] = {
            "columns": ColwiseParallel(),
            "columns, gathered": ColwiseParallel(output_layouts=Replicate()),
            "rows": RowwiseParallel(),
        }
        parallelize_module(module, mesh["tensor"], {name: styles[how] for name, how in module.tensor_plan().items()})
    if layout.parallelism.pipeline > 1:
        return  # a stage averages gradients by itself
    for block in blocks_of(module):
        fully_shard(block, mesh=mesh["data"])
    fully_shard(module, mesh=mesh["data"])


def blocks_of(module: nn.Module) -> Iterable[nn.Module]:
    """The layers that are gathered, or computed anew, one by one; none where the model does not say."""
    blocks = getattr(getattr(module, "body", module), "blocks", None)
    return list(blocks()) if callable(blocks) else ()


def replicate(objective: Objective, layout: Layout, device: torch.device) -> nn.Module:
    """The objective with gradients averaged over all workers; itself when nothing has to be averaged."""
    if layout.world_size == 1 or isinstance(objective.module, FSDPModule):
        return objective
    return DistributedDataParallel(objective, device_ids=[device.index] if device.type == "cuda" else None)


def squared_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Square of the norm of all gradients here, those of sharded weights over all their shards."""
    norms = [whole(torch.linalg.vector_norm(each.grad)) for each in parameters if each.grad is not None]
    return torch.stack(norms).double().square().sum() if norms else torch.zeros((), dtype=torch.float64)


def scale(parameters: Iterable[nn.Parameter], squared: Tensor, most: float) -> None:
    """Make gradients whose norm squared is `squared` measure at most `most`; the device decides whether they have to shrink."""
    factor = (most / (squared.sqrt() + 1e-6)).clamp(max=1.0)
    for each in parameters:
        if each.grad is not None:
            here = local(each.grad)
            here.mul_(factor.to(here.device))


def clip(parameters: Sequence[nn.Parameter], most: float) -> None:
    """Make the gradients of all weights together measure at most `most`; weights may be sharded each in its own way."""
    scale(parameters, squared_norm(parameters), most)


def whole(value: Tensor) -> Tensor:
    """The tensor itself, or what all shards of it are together; all who hold a shard call it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def local(value: Tensor) -> Tensor:
    """The part of the tensor that is in this process."""
    return value.to_local() if isinstance(value, DTensor) else value
