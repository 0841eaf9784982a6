"""Networks that read a sample step by step: an image row after row, a table value after value."""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from trainer.models.networks import Network


class Steps(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(samples, channels, height, width) becomes (samples, height, channels * width); (samples, n) becomes (samples, n, 1)."""

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.dim() == 2:  # noqa: PLR2004  a table
            return inputs.unsqueeze(2)
        return inputs.transpose(1, 2).flatten(2)


class Recurrent(nn.Module):  # type: ignore[misc]
    """Reads steps in both directions; what it holds at both ends decides."""

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU], parameters: Mapping[str, Any]) -> None:
        super().__init__()
        _, width = _steps_of(parameters["inputShape"])
        layers, hidden, dropout = parameters["layers"], parameters["hidden"], parameters["dropout"]
        between = dropout if layers > 1 else 0.0
        self.steps = Steps()
        self.cell = cell(width, hidden, layers, batch_first=True, bidirectional=True, dropout=between)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * hidden, parameters["outputs"]))

    def forward(self, inputs: Tensor) -> Tensor:
        states, _ = self.cell(self.steps(inputs))
        forward, backward = states[:, -1].chunk(2, dim=1)[0], states[:, 0].chunk(2, dim=1)[1]
        answer: Tensor = self.head(torch.cat((forward, backward), dim=1))
        return answer


class Encoder(nn.Module):  # type: ignore[misc]
    """Transformer encoder with learned positions; the mean over the steps decides (Vaswani et al. 2017, norm first)."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        super().__init__()
        steps, width = _steps_of(parameters["inputShape"])
        dim, dropout = parameters["dim"], parameters["dropout"]
        self.steps = Steps()
        self.embed = nn.Linear(width, dim)
        self.positions = nn.Parameter(torch.randn(steps, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(
            dim, parameters["heads"], 4 * dim, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, parameters["layers"], enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, parameters["outputs"]))

    def forward(self, inputs: Tensor) -> Tensor:
        read = self.layers(self.embed(self.steps(inputs)) + self.positions)
        answer: Tensor = self.head(read.mean(dim=1))
        return answer


def lstm(parameters: Mapping[str, Any]) -> nn.Module:
    """Long short-term memory, in both directions."""
    return Network(Recurrent(nn.LSTM, parameters), parameters)


def gru(parameters: Mapping[str, Any]) -> nn.Module:
    """Gated recurrent units, in both directions."""
    return Network(Recurrent(nn.GRU, parameters), parameters)


def transformer(parameters: Mapping[str, Any]) -> nn.Module:
    """Transformer encoder. Raises ValueError when the heads do not share the width evenly."""
    if parameters["dim"] % parameters["heads"]:
        raise ValueError(f"dim {parameters['dim']} is no multiple of heads {parameters['heads']}")
    return Network(Encoder(parameters), parameters)


def _steps_of(shape: list[int]) -> tuple[int, int]:
    """Steps of a sample and the width of each."""
    if len(shape) == 1:
        return shape[0], 1
    channels, height, *rest = shape
    return height, channels * prod(rest)
