"""Stages that each hold some of the layers; a step's samples pass through them in microbatches, one forward, one backward."""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

from trainer.optimization import Loss
from trainer.parallel.layout import Layout
from trainer.parallel.strategy import Batch, Strategy
from trainer.parallel.together import cast, local, scale, squared_norm, whole

IGNORED = -100
"""Target of a token that has no say: torch's own mark."""


class Pipelined(Strategy):
    """One stage of a pipeline. All microbatches of a step have one size, so what is missing to it is filled up and ignored."""

    def __init__(
        self,
        layout: Layout,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        shapes: Mapping[str, torch.Size],
        loss: Loss,
        mesh: DeviceMesh,
        device: torch.device,
    ) -> None:
        super().__init__(layout, module, optimizer, shapes)
        self._loss, self._device, self._group = loss, device, mesh["pipeline"].get_group()
        self._peers = mesh["data"].get_group()
        self._stage = int(mesh["pipeline"].get_local_rank())
        self._schedules: dict[tuple[bool, tuple[int, ...]], Schedule1F1B] = {}
        self._weight = 0.0

    @property
    def knows_loss(self) -> bool:
        return self._stage == self.layout.parallelism.pipeline - 1

    def step(self, batches: Sequence[Batch], rate: float) -> Tensor:
        self.set_rate(rate)
        self.optimizer.zero_grad(set_to_none=True)
        losses = [self._pass(batch) for batch in batches]
        self._average()
        if self.clip_norm is not None:
            parameters = list(self.module.parameters())
            squared = squared_norm(parameters)
            dist.all_reduce(squared, group=self._group)
            scale(parameters, squared, self.clip_norm)
        self.optimizer.step()
        return torch.stack(losses).sum()

    def _average(self) -> None:
        """The mean of all data-parallel workers' gradients."""
        size = self.layout.data_size
        if size == 1:
            return
        here = [local(each.grad) for each in self.module.parameters() if each.grad is not None]
        together = torch.cat([each.reshape(-1) for each in here])
        dist.all_reduce(together, group=self._peers)
        for each, mean in zip(here, (together / size).split([one.numel() for one in here]), strict=True):
            each.copy_(mean.view_as(each))

    def _pass(self, batch: Batch) -> Tensor:
        self._weight, losses = batch.weight, list[Tensor]()
        inputs, targets = self._filled(batch.inputs, 0), self._filled(batch.targets, IGNORED)
        with cast(self._device, self.precision):
            self._schedule(inputs[0].shape, learns=True).step(
                arg_mbs=[(each,) for each in inputs] if self._stage == 0 else None,
                target_mbs=list(targets) if self.knows_loss else None,
                losses=losses,
                return_outputs=False,
            )
        # The schedule differentiates the weighted loss; people are told the other.
        if not losses or not batch.weight:
            return torch.zeros((), dtype=torch.float64, device=self._device)
        return torch.stack([each.detach() for each in losses]).sum().double() / batch.weight

    def outputs(self, inputs: Tensor) -> Tensor | None:
        filled = self._filled(inputs, 0)
        with torch.no_grad(), cast(self._device, self.precision):
            outputs = self._schedule(filled[0].shape, learns=False).eval(
                arg_mbs=[(each,) for each in filled] if self._stage == 0 else None
            )
        return outputs[: len(inputs)] if self.knows_loss else None

    def full_weights(self) -> dict[str, Tensor] | None:
        """Who holds a tensor gives it, the other stages give zeros, and all of them get the sum."""
        here = {name: whole(value.detach()).cpu() for name, value in self.module.state_dict().items()}
        weights = {}
        for name, shape in self.shapes.items():
            weights[name] = here[name].clone() if name in here else torch.zeros(shape)
            dist.all_reduce(weights[name], group=self._group)
        return weights if self.layout.rank == 0 else None

    def _filled(self, values: Tensor, filler: int) -> tuple[Tensor, ...]:
        """Samples in microbatches of one size."""
        count = self.layout.parallelism.microbatches
        size = -(-len(values) // count)
        missing = size * count - len(values)
        if missing:
            values = torch.cat((values, values.new_full((missing, *values.shape[1:]), filler)))
        parts: tuple[Tensor, ...] = values.split(size)
        return parts

    def _schedule(self, shape: torch.Size, *, learns: bool) -> Schedule1F1B:
        """One for each size of microbatch, since stages agree once on the sizes that they send."""
        key = (learns, tuple(shape))
        if key not in self._schedules:
            stage = PipelineStage(
                self.module, self._stage, self.layout.parallelism.pipeline, self._device, group=self._group
            )
            self._schedules[key] = Schedule1F1B(
                stage,
                self.layout.parallelism.microbatches,
                loss_fn=self._weighted if learns else None,
                scale_grads=False,
            )
        return self._schedules[key]

    def _weighted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._loss.summed(outputs, targets) * self._weight
