"""Decoder language model in the style of Llama: rotary positions, RMS norm, gated feed-forward, grouped queries.

Touvron et al. 2023 (Llama 2) describe it; positions are those of Su et al. 2021, the feed-forward that of Shazeer 2020,
the grouped queries those of Ainslie et al. 2023. It knows how it can be cut: into blocks whose weights are sharded one
by one, each block's matrices over tensor-parallel workers, and the row of blocks into pipeline stages.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

_DEVIATION = 0.02


class Attention(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Causal attention in which several heads share keys and values."""

    def __init__(self, dim: int, heads: int, shared: int) -> None:
        super().__init__()
        self.head = dim // heads
        self.queries = nn.Linear(dim, dim, bias=False)
        self.keys = nn.Linear(dim, shared * self.head, bias=False)
        self.values = nn.Linear(dim, shared * self.head, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)

    def forward(self, inputs: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        # How many heads are here is counted, since a tensor-parallel worker has only some of them.
        queries, keys, values = (
            part.unflatten(2, (-1, self.head)).transpose(1, 2)
            for part in (self.queries(inputs), self.keys(inputs), self.values(inputs))
        )
        queries, keys = _turned(queries, turns), _turned(keys, turns)
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=True)
        answer: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return answer


class Norm(nn.RMSNorm):  # type: ignore[misc]
    """RMS norm that measures in single precision, whatever layers hand on to each other."""

    def forward(self, inputs: Tensor) -> Tensor:
        answer: Tensor = super().forward(inputs.float())
        return answer


class FeedForward(nn.Module):  # type: ignore[misc]
    """Gated: one branch decides how much of the other passes."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, hidden, bias=False)
        self.up = nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        answer: Tensor = self.down(F.silu(self.gate(inputs)) * self.up(inputs))
        return answer


class Block(nn.Module):  # type: ignore[misc]
    """Attention and feed-forward, each added to what came in."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        super().__init__()
        dim = parameters["dim"]
        self.attention = Attention(dim, parameters["heads"], parameters["keyValueHeads"])
        self.feed = FeedForward(dim, parameters["hidden"])
        self.before_attention, self.before_feed = Norm(dim, eps=1e-5), Norm(dim, eps=1e-5)

    def forward(self, inputs: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        met = inputs + self.attention(self.before_attention(inputs), turns)
        answer: Tensor = met + self.feed(self.before_feed(met))
        return answer


class Llama(nn.Module):  # type: ignore[misc]
    """Tokens in, logits of the token after each out. As a stage of a pipeline it lacks what other stages have."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        super().__init__()
        dim, heads = parameters["dim"], parameters["heads"]
        self.head_dim, self.theta = dim // heads, float(parameters["theta"])
        self.embed: nn.Embedding | None = nn.Embedding(parameters["vocabulary"], dim)
        self.layers = nn.ModuleDict({str(index): Block(parameters) for index in range(parameters["layers"])})
        self.norm: Norm | None = Norm(dim, eps=1e-5)
        self.head: nn.Linear | None = nn.Linear(dim, parameters["vocabulary"], bias=False)
        depth = math.sqrt(2 * parameters["layers"])
        for name, weight in self.named_parameters():
            if weight.dim() > 1:  # branches that are added up start smaller, or their sum would grow with the depth
                added = name.endswith(("output.weight", "down.weight"))
                nn.init.normal_(weight, std=_DEVIATION / depth if added else _DEVIATION)

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (samples, context) tokens, or (samples, context, dim) from the stage before. Returns logits, or that."""
        states = inputs if self.embed is None else self.embed(inputs.long())
        if torch.is_autocast_enabled(states.device.type):
            # What layers hand on to each other, too: it is most of what is read and written between the products.
            states = states.to(torch.get_autocast_dtype(states.device.type))
        turns = _turns(states.shape[1], self.head_dim, self.theta, states.device)
        for layer in self.layers.values():
            states = layer(states, turns)
        if self.norm is not None and self.head is not None:
            states = self.head(self.norm(states))
        return states

    def blocks(self) -> list[nn.Module]:
        """Layers one after the other."""
        return list(self.layers.values())

    def tensor_plan(self) -> dict[str, str]:
        """How matrices are divided among tensor-parallel workers: by columns into a branch, by rows out of it."""
        inward = ("attention.queries", "attention.keys", "attention.values", "feed.gate", "feed.up")
        plan = {"head": "columns, gathered"} if self.head is not None else {}
        for index in self.layers:
            plan |= {f"layers.{index}.{name}": "columns" for name in inward}
            plan |= {f"layers.{index}.{name}": "rows" for name in ("attention.output", "feed.down")}
        return plan

    def keep_stage(self, index: int, count: int) -> None:
        """Keep the part of stage `index` (from 0) of `count`: an even share of the layers, embedding first, head last."""
        total = len(self.layers)
        kept = range(index * total // count, (index + 1) * total // count)
        for number in range(total):
            if number not in kept:
                del self.layers[str(number)]
        if index > 0:
            self.embed = None
        if index < count - 1:
            self.norm = self.head = None


def llama(parameters: Mapping[str, Any]) -> nn.Module:
    """Llama. Raises ValueError for heads that do not divide evenly."""
    dim, heads, shared = parameters["dim"], parameters["heads"], parameters["keyValueHeads"]
    if dim % heads or (dim // heads) % 2:
        raise ValueError(f"dim {dim} is no even multiple of heads {heads}")
    if heads % shared:
        raise ValueError(f"heads {heads} is no multiple of keyValueHeads {shared}")
    return Llama(parameters)


def flops_per_token(parameters: Mapping[str, Any], context: int) -> float:
    """Floating-point operations of forward and backward pass for one token of training.

    Six for each weight that is multiplied, and the attention's own (Chowdhery et al. 2022, appendix B, causal: half).
    """
    dim, layers, hidden = parameters["dim"], parameters["layers"], parameters["hidden"]
    shared = dim // parameters["heads"] * parameters["keyValueHeads"]
    weights = layers * (2 * dim * dim + 2 * dim * shared + 3 * dim * hidden) + dim * parameters["vocabulary"]
    return float(6 * weights + 6 * layers * dim * context)


def _turns(context: int, head: int, theta: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angle of each position and pair of values, (context, head / 2)."""
    rates = theta ** (-torch.arange(0, head, 2, device=device, dtype=torch.float32) / head)
    angles = torch.outer(torch.arange(context, device=device, dtype=torch.float32), rates)
    return angles.cos(), angles.sin()


def _turned(states: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """(samples, heads, context, head) with each pair of values turned by its position's angle."""
    cosine, sine = turns
    first, second = states.float().chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), dim=-1).to(states.dtype)
