"""The trainer's language models, one step of many sequences at a time.

The weights and layers are the trainer's own modules; only what is between them is done here, with the cache in place of
the whole context. What comes out equals the module's own forward pass over the whole sequence up to rounding.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from trainer.models.llama import Llama
from trainer.models.networks import Network
from trainer.models.sequences import Encoder

from server.language.pages import CacheShape, Pages, StepBatch


class Reader(Protocol):
    """A model that reads tokens. context: most of them at once. vocabulary: how many kinds there are."""

    context: int
    vocabulary: int
    device: torch.device

    def embed(self, tokens: Tensor) -> Tensor:
        """(texts, tokens) -> (texts, dim): the mean of the last layer's states, after the final norm."""
        ...


@runtime_checkable
class Decoder(Reader, Protocol):
    """A model that says what comes next."""

    shape: CacheShape
    dtype: torch.dtype

    def logits(self, batch: StepBatch, pages: Pages) -> Tensor:
        """(rows that are last in their sequence, vocabulary); stores keys and values of the whole batch."""
        ...


class LlamaDecoder:
    """Steps of trainer.models.llama: positions turn queries and keys, so keys are stored turned."""

    def __init__(self, module: Llama, context: int) -> None:
        self._module, self.context = module, context
        assert module.embed is not None
        assert module.norm is not None
        assert module.head is not None
        self._embed, self._norm, self._head = module.embed, module.norm, module.head
        self.vocabulary = module.embed.num_embeddings
        self.device, self.dtype = module.embed.weight.device, module.embed.weight.dtype
        first = next(iter(module.layers.values())).attention
        self.shape = CacheShape(len(module.layers), first.keys.out_features // first.head, first.head)
        rates = module.theta ** (-torch.arange(0, first.head, 2, dtype=torch.float32) / first.head)
        angles = torch.outer(torch.arange(context, dtype=torch.float32), rates).to(self.device)
        self._cosine, self._sine = angles.cos()[:, None], angles.sin()[:, None]

    def logits(self, batch: StepBatch, pages: Pages) -> Tensor:
        turns = self._cosine[batch.positions], self._sine[batch.positions]
        states = self._embed(batch.tokens)
        for number, layer in enumerate(self._module.layers.values()):
            attention, normed = layer.attention, layer.before_attention(states).to(states.dtype)
            queries, keys, values = (
                part(normed).unflatten(1, (-1, attention.head))
                for part in (attention.queries, attention.keys, attention.values)
            )
            mixed = pages.attend(batch, number, _turned(queries, turns), _turned(keys, turns), values)
            states = states + attention.output(mixed)
            states = states + layer.feed(layer.before_feed(states).to(states.dtype))
        logits: Tensor = self._head(self._norm(states[batch.last]).to(states.dtype)).float()
        return logits

    def embed(self, tokens: Tensor) -> Tensor:
        count = tokens.shape[1]
        turns = self._cosine[:count, 0], self._sine[:count, 0]
        states = self._embed(tokens)
        for layer in self._module.layers.values():
            states = layer(states, turns)
        answer: Tensor = self._norm(states).float().mean(dim=1)
        return answer


class TransformerReader:
    """trainer.models.sequences.Encoder as it classifies texts: it looks both ways, so it only embeds."""

    def __init__(self, network: Network) -> None:
        self._encoder: Encoder = network.body
        self.context = len(self._encoder.positions)
        self.vocabulary = self._encoder.embed.num_embeddings
        self.device, self.dtype = self._encoder.positions.device, self._encoder.positions.dtype

    def embed(self, tokens: Tensor) -> Tensor:
        count = tokens.shape[1]
        mask = None if self._encoder.mask is None else self._encoder.mask[:count, :count]
        states = self._encoder.embed(tokens) + self._encoder.positions[:count]
        states = self._encoder.layers(states, mask=mask, is_causal=mask is not None)
        answer: Tensor = self._encoder.head[0](states).float().mean(dim=1)
        return answer


class TransformerDecoder(TransformerReader):
    """Steps of the same Encoder where it learned a language and looks back only; positions are learned, norms first."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._scale, self._shift = network.scale, network.shift
        layers = self._encoder.blocks()
        self._heads = layers[0].self_attn.num_heads
        self.shape = CacheShape(len(layers), self._heads, layers[0].self_attn.embed_dim // self._heads)

    def logits(self, batch: StepBatch, pages: Pages) -> Tensor:
        states = self._encoder.embed(batch.tokens) + self._encoder.positions[batch.positions]
        for number, layer in enumerate(self._encoder.blocks()):
            attention = layer.self_attn
            normed = F.linear(layer.norm1(states), attention.in_proj_weight, attention.in_proj_bias)
            queries, keys, values = (part.unflatten(1, (self._heads, -1)) for part in normed.chunk(3, dim=1))
            states = states + attention.out_proj(pages.attend(batch, number, queries, keys, values))
            states = states + layer.linear2(layer.activation(layer.linear1(layer.norm2(states))))
        logits: Tensor = self._encoder.head(states[batch.last]).float()
        return logits * self._scale + self._shift


def reader_of(module: nn.Module, card: Any) -> Reader | None:
    """How to read tokens with an exported module; None where it is no model of text that this server reads.

    card: as load_exported gives it. The context is that of its training: no position beyond it was learned.
    """
    parameters = card["architecture"].get("parameters") or {}
    if isinstance(module, Llama):
        return LlamaDecoder(module, parameters["inputShape"][0])
    body = module.body if isinstance(module, Network) else None
    if isinstance(body, Encoder) and body.reads_text:
        return TransformerReader(module) if body.mask is None else TransformerDecoder(module)
    return None


def _turned(states: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """(tokens, heads, head) with each pair of values turned by its position's angle."""
    cosine, sine = turns
    first, second = states.float().chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), dim=-1).to(states.dtype)
