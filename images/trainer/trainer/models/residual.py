"""Residual network for small colour images: the shape of He et al. 2016, section 4.2, with group normalisation."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from trainer.models.networks import Network, normalised_convolution


class Block(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Two convolutions beside a short cut; halves the image where `stride` is 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *normalised_convolution(inputs, outputs, stride), nn.ReLU(), *normalised_convolution(outputs, outputs)
        )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.body(images) + self.shortcut(images))


def resnet(parameters: Mapping[str, Any]) -> nn.Module:
    """Stages of `blocks` blocks each, twice as wide as the one before, from the second on halving the image.

    blocks [3, 3, 3] and width 16 make the ResNet-20 that He et al. trained on CIFAR-10.
    """
    channels, width = parameters["inputShape"][0], parameters["width"]
    layers: list[nn.Module] = [*normalised_convolution(channels, width), nn.ReLU()]
    before = width
    for stage, count in enumerate(parameters["blocks"]):
        wide = width * 2**stage
        for index in range(count):
            layers.append(Block(before, wide, stride=2 if stage and not index else 1))
            before = wide
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, parameters["outputs"])]
    return Network(nn.Sequential(*layers), parameters)
