"""The networks themselves.

None normalises over the batch: with batch statistics the result would depend on how many workers share a batch, and
a job that resumes with another number of workers would continue as another model. Group normalisation trains the
small images here as fast and treats every sample alone.
"""

from collections.abc import Mapping
from itertools import pairwise
from math import gcd, prod
from typing import Any

from torch import Tensor, nn

_NORM_GROUPS = 8


class Network(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A body whose output is brought to the unit of the target: output = body(x) * scale + shift.

    For classes the scale is 1. For a regression the body learns a target of mean 0 and deviation 1, while loss,
    metrics and served answers stay in the unit that the data set has, without any step after the model.
    """

    def __init__(self, body: nn.Module, parameters: Mapping[str, Any]) -> None:
        super().__init__()
        self.body = body
        self.scale = float(parameters.get("outputScale", 1.0))
        self.shift = float(parameters.get("outputShift", 0.0))

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (samples, *inputShape) preprocessed. Returns (samples, outputs): logits, or values in target units."""
        outputs: Tensor = self.body(inputs)
        return outputs if (self.scale, self.shift) == (1.0, 0.0) else outputs * self.scale + self.shift


def linear(parameters: Mapping[str, Any]) -> nn.Module:
    """Linear or softmax regression."""
    return Network(
        nn.Sequential(nn.Flatten(), nn.Linear(prod(parameters["inputShape"]), parameters["outputs"])), parameters
    )


def mlp(parameters: Mapping[str, Any]) -> nn.Module:
    """Fully connected layers of the widths in `hidden`."""
    widths = [prod(parameters["inputShape"]), *parameters["hidden"]]
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(parameters["dropout"])]
    layers.append(nn.Linear(widths[-1], parameters["outputs"]))
    return Network(nn.Sequential(*layers), parameters)


def cnn(parameters: Mapping[str, Any]) -> nn.Module:
    """Three convolutions of `width`, 2 and 4 times `width` channels, one halving, one linear layer."""
    channels, height, image_width = parameters["inputShape"]
    width = parameters["width"]
    body = nn.Sequential(
        *_convolution(channels, width),
        *_convolution(width, 2 * width),
        nn.MaxPool2d(2),
        *_convolution(2 * width, 4 * width),
        nn.Flatten(),
        nn.Dropout(parameters["dropout"]),
        nn.Linear(4 * width * (height // 2) * (image_width // 2), parameters["outputs"]),
    )
    return Network(body, parameters)


def normalised_convolution(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    """A convolution of 3 by 3 and what brings its result to one scale."""
    return (
        nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(gcd(_NORM_GROUPS, outputs), outputs),
    )


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (*normalised_convolution(inputs, outputs), nn.ReLU())
