"""Networks that read a sample step by step: an image row after row, a table value after value, a text token after token.

Where they learn a language they tell the next token at every step, so there they see only what came before.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from trainer.models.networks import Network


class Recurrent(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Reads steps in both directions; what it holds at both ends decides."""

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU], parameters: Mapping[str, Any]) -> None:
        super().__init__()
        _, width = _steps_of(parameters["inputShape"])
        layers, hidden, dropout = parameters["layers"], parameters["hidden"], parameters["dropout"]
        self.embed = _embedding(parameters, hidden)
        width = width if self.embed is None else hidden
        between = dropout if layers > 1 else 0.0
        self.cell = cell(width, hidden, layers, batch_first=True, bidirectional=True, dropout=between)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * hidden, parameters["outputs"]))

    def forward(self, inputs: Tensor) -> Tensor:
        states, _ = self.cell(steps_of(inputs) if self.embed is None else self.embed(inputs.long()))
        forward, backward = states[:, -1].chunk(2, dim=1)[0], states[:, 0].chunk(2, dim=1)[1]
        answer: Tensor = self.head(torch.cat((forward, backward), dim=1))
        return answer


class RecurrentLanguage(nn.Module):  # type: ignore[misc]
    """Reads tokens forward and gives logits of the next one after each."""

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU], parameters: Mapping[str, Any]) -> None:
        super().__init__()
        layers, hidden, dropout = parameters["layers"], parameters["hidden"], parameters["dropout"]
        self.embed = nn.Embedding(parameters["vocabulary"], hidden)
        self.cell = cell(hidden, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, parameters["vocabulary"]))

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.cell(self.embed(tokens.long()))
        logits: Tensor = self.head(states)
        return logits


class Encoder(nn.Module):  # type: ignore[misc]
    """Transformer encoder with learned positions (Vaswani et al. 2017, norm first); the mean over the steps decides.

    Where it learns a language it looks back only, and answers at each step.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        super().__init__()
        steps, width = _steps_of(parameters["inputShape"])
        dim, dropout = parameters["dim"], parameters["dropout"]
        self.mask = nn.Buffer(_causal(steps), persistent=False) if _is_language(parameters) else None
        embedding = _embedding(parameters, dim)
        self.reads_text = embedding is not None
        self.embed = nn.Linear(width, dim) if embedding is None else embedding
        self.positions = nn.Parameter(torch.randn(steps, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(
            dim, parameters["heads"], 4 * dim, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, parameters["layers"], enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, parameters["outputs"]))

    def forward(self, inputs: Tensor) -> Tensor:
        embedded = self.embed(inputs.long() if self.reads_text else steps_of(inputs)) + self.positions
        read = self.layers(embedded, mask=self.mask, is_causal=self.mask is not None)
        answer: Tensor = self.head(read.mean(dim=1) if self.mask is None else read)
        return answer

    def blocks(self) -> list[nn.Module]:
        """Layers one after the other."""
        return list(self.layers.layers)


def steps_of(inputs: Tensor) -> Tensor:
    """(samples, channels, height, width) becomes (samples, height, channels * width); (samples, n) becomes (samples, n, 1)."""
    if inputs.dim() == 2:  # noqa: PLR2004  a table
        return inputs.unsqueeze(2)
    return inputs.transpose(1, 2).flatten(2)


def lstm(parameters: Mapping[str, Any]) -> nn.Module:
    """Long short-term memory, in both directions."""
    return _recurrent(nn.LSTM, parameters)


def gru(parameters: Mapping[str, Any]) -> nn.Module:
    """Gated recurrent units, in both directions."""
    return _recurrent(nn.GRU, parameters)


def transformer(parameters: Mapping[str, Any]) -> nn.Module:
    """Transformer encoder. Raises ValueError when the heads do not share the width evenly."""
    if parameters["dim"] % parameters["heads"]:
        raise ValueError(f"dim {parameters['dim']} is no multiple of heads {parameters['heads']}")
    return Network(Encoder(parameters), parameters)


def _recurrent(cell: type[nn.LSTM] | type[nn.GRU], parameters: Mapping[str, Any]) -> nn.Module:
    if _is_language(parameters):
        return Network(RecurrentLanguage(cell, parameters), parameters)
    return Network(Recurrent(cell, parameters), parameters)


def _is_language(parameters: Mapping[str, Any]) -> bool:
    """Whether the model answers for each token; cards that do not say so are of the time when all text was that."""
    return "vocabulary" in parameters and bool(parameters.get("perToken", True))


def _embedding(parameters: Mapping[str, Any], width: int) -> nn.Embedding | None:
    """Of the tokens of a text; None for numbers."""
    return nn.Embedding(parameters["vocabulary"], width) if "vocabulary" in parameters else None


def _causal(steps: int) -> Tensor:
    return nn.Transformer.generate_square_subsequent_mask(steps)


def _steps_of(shape: list[int]) -> tuple[int, int]:
    """Steps of a sample and the width of each."""
    if len(shape) == 1:
        return shape[0], 1
    channels, height, *rest = shape
    return height, channels * prod(rest)
