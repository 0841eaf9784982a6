"""A generator that learns to make images of a class, by trying to pass a judge that learns to tell them from real ones.

Goodfellow et al. 2014, conditioned on the class as in Mirza and Osindero 2014, with the hinge loss of Lim and Ye 2017.
Generator and judge make their steps at the same time: each is differentiated by its own loss alone, so that one
optimizer, one backward pass and one checkpoint serve both, over any number of workers.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

_SLOPE = 0.2


class Adversarial(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Generator and judge; called, it makes images. `summed_loss` is what is minimised."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        super().__init__()
        self.shape: list[int] = parameters["inputShape"]
        self.classes, self.latent = int(parameters["outputs"]), int(parameters["latent"])
        self.scale = nn.Buffer(_per_channel(parameters.get("outputScale", 1.0)), persistent=False)
        self.shift = nn.Buffer(_per_channel(parameters.get("outputShift", 0.0)), persistent=False)
        pixels, hidden = prod(self.shape), parameters["hidden"]
        self.generator = nn.Sequential(
            *_layer(self.latent + self.classes, hidden), *_layer(hidden, hidden), nn.Linear(hidden, pixels)
        )
        self.judge = nn.Sequential(
            *_layer(pixels + self.classes, hidden), *_layer(hidden, hidden), nn.Linear(hidden, 1)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (samples, latent + classes), noise and the class as one-hot. Returns (samples, *shape) in the data's unit."""
        images: Tensor = self.generator(inputs).unflatten(1, self.shape)
        return images * self.scale + self.shift

    def summed_loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """Losses of judge and generator over the samples. images: normalised, (samples, *shape); targets: their classes."""
        label = F.one_hot(targets, self.classes).to(images.dtype)
        real = images.flatten(1)
        made = self.generator(torch.cat((torch.randn(len(images), self.latent, device=images.device), label), 1))
        judged_real = self.judge(torch.cat((real, label), 1))
        judged_made = self.judge(torch.cat((made.detach(), label), 1))
        of_judge = F.relu(1 - judged_real) + F.relu(1 + judged_made)
        # Through a judge whose weights are constants here: the generator's loss is no reason for the judge to change.
        fixed = {name: value.detach() for name, value in self.judge.named_parameters()}
        of_generator = -functional_call(self.judge, fixed, (torch.cat((made, label), 1),))
        return (of_judge + of_generator).sum()


def gan(parameters: Mapping[str, Any]) -> nn.Module:
    """Conditional generative adversarial network."""
    return Adversarial(parameters)


def _per_channel(value: float | list[float]) -> Tensor:
    return torch.tensor(value, dtype=torch.float32).reshape(-1, 1, 1)


def _layer(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.LeakyReLU(_SLOPE)
