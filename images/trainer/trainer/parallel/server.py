"""Parameter servers: some processes hold the weights and the optimizer, the others compute gradients for them.

Li et al., Scaling Distributed Machine Learning with the Parameter Server, OSDI 2014. With staleness 0 the servers wait
for everybody's gradients: the step is the one that a single process would make. With a staleness of n a worker sends its
gradients and goes on with the weights that it gets back, at most n steps before the slowest (Ho et al., NIPS 2013): after
n + 1 steps all meet. Built on torch's sends and reductions rather than on its RPC, which unpickles what it is sent.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainer.objective import Objective
from trainer.parallel.layout import Layout
from trainer.parallel.strategy import Batch, Strategy
from trainer.parallel.together import cast, clip, scale, squared_norm, told


class Served(Strategy):
    """One process of a job with parameter servers, a server or a worker."""

    def __init__(
        self,
        layout: Layout,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        shapes: Mapping[str, torch.Size],
        objective: Objective,
        device: torch.device,
    ) -> None:
        super().__init__(layout, module, optimizer, shapes)
        self._objective, self._device = objective, device
        self._parts = divided(list(module.parameters()), layout.parallelism.servers)
        self._workers = layout.data_size

    @property
    def knows_loss(self) -> bool:
        return not self.layout.serves

    @property
    def free_steps(self) -> int:
        return self.layout.parallelism.staleness + 1

    def step(self, batches: Sequence[Batch], rate: float) -> Tensor:
        self.set_rate(rate)
        self.optimizer.zero_grad(set_to_none=True)
        losses = [] if self.layout.serves else [self._backward(batch) for batch in batches]
        if self.layout.parallelism.staleness == 0:
            self._together()
        elif self.layout.serves:
            for _ in range(self._workers):
                self._serve_one()
        else:
            self._push_and_pull(rate, sum(batch.weight * len(batch.targets) for batch in batches))
        return torch.stack(losses).sum() if losses else torch.zeros((), dtype=torch.float64)

    def outputs(self, inputs: Tensor) -> Tensor | None:
        if self.layout.serves:
            return None
        with torch.no_grad(), cast(self._device, self.precision):
            outputs: Tensor = self.module(inputs)
        return outputs

    def full_weights(self) -> dict[str, Tensor] | None:
        self.meet()
        return super().full_weights()

    def meet(self) -> None:
        for server, part in enumerate(self._parts):
            weights = flat(part)
            dist.broadcast(weights, src=server)
            self._take(part, weights)

    def _backward(self, batch: Batch) -> Tensor:
        with cast(self._device, self.precision):
            summed = self._objective(batch.inputs, batch.targets)
        # Gradients are added up at the servers, not averaged: each counts as its share of all samples.
        (summed * (batch.weight / self._workers)).backward()
        return told(summed, batch)

    def _together(self) -> None:
        for server, part in enumerate(self._parts):
            gradients = flat_gradients(part)
            dist.reduce(gradients, dst=server)
            if server == self.layout.rank:
                self._give(part, gradients)
        if self.clip_norm is not None:
            own = self._parts[self.layout.rank] if self.layout.serves else []
            squared = squared_norm(own).cpu()
            dist.all_reduce(squared)
            scale(own, squared, self.clip_norm)
        if self.layout.serves:
            self.optimizer.step()
        self.meet()

    def _push_and_pull(self, rate: float, share: float) -> None:
        """Send gradients of the samples' mean, so that a worker's step does not depend on how many there are."""
        if self.clip_norm is not None:
            clip(list(self.module.parameters()), self.clip_norm)
        head = torch.tensor([rate * min(1.0, share) / self._workers])
        for server, part in enumerate(self._parts):
            mean = flat_gradients(part) * (self._workers / share if share else 0.0)
            dist.send(torch.cat((head, mean)), dst=server)
        for server, part in enumerate(self._parts):
            weights = flat(part)
            dist.recv(weights, src=server)
            self._take(part, weights)

    def _serve_one(self) -> None:
        part = self._parts[self.layout.rank]
        message = torch.zeros(1 + sum(each.numel() for each in part))
        worker = dist.recv(message)
        self.set_rate(float(message[0]))
        self._give(part, message[1:])
        self.optimizer.step()
        dist.send(flat(part), dst=worker)

    def _give(self, part: Sequence[nn.Parameter], gradients: Tensor) -> None:
        for each, gradient in zip(part, gradients.split([each.numel() for each in part]), strict=True):
            each.grad = gradient.view_as(each).to(each.device)

    def _take(self, part: Sequence[nn.Parameter], weights: Tensor) -> None:
        for each, value in zip(part, weights.split([each.numel() for each in part]), strict=True):
            each.detach().copy_(value.view_as(each))


def divided(parameters: Sequence[nn.Parameter], servers: int) -> list[list[nn.Parameter]]:
    """Parameters for each server, largest first to whom has least; everybody comes to the same answer."""
    parts: list[list[nn.Parameter]] = [[] for _ in range(servers)]
    sizes = [0] * servers
    for each in sorted(parameters, key=lambda one: -one.numel()):
        least = sizes.index(min(sizes))
        parts[least].append(each)
        sizes[least] += each.numel()
    return parts


def flat(part: Sequence[nn.Parameter]) -> Tensor:
    """The weights as one vector, on the CPU, where they are sent from."""
    return torch.cat([each.detach().reshape(-1).cpu() for each in part]) if part else torch.zeros(0)


def flat_gradients(part: Sequence[nn.Parameter]) -> Tensor:
    """Their gradients likewise; of those without, zeros."""
    values = [torch.zeros(each.numel()) if each.grad is None else each.grad.reshape(-1).cpu() for each in part]
    return torch.cat(values) if values else torch.zeros(0)
