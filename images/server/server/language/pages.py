"""The tensors of the key-value cache, and attention of a step over them.

Keys and values of every layer lie in blocks of fixed size; a sequence's table says which are its own, in order. For
attention they are gathered into one padded batch: sequences that decode together, and each that reads its prompt alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from server.language.sequences import Part


@dataclass(frozen=True)
class CacheShape:
    """What a model keeps of a token. layers, shared (heads of keys and values), head (values of each)."""

    layers: int
    shared: int
    head: int

    def block_bytes(self, block: int, dtype: torch.dtype) -> int:
        """Memory of one block of tokens."""
        return 2 * self.layers * block * self.shared * self.head * int(dtype.itemsize)


@dataclass(frozen=True)
class Group:
    """Sequences with equally many tokens in a step. tables: (sequences, blocks). seen: (sequences, 1, tokens, keys)."""

    rows: slice
    tables: Tensor
    seen: Tensor


@dataclass(frozen=True)
class StepBatch:
    """Tokens of a step, those of one sequence side by side. tokens, positions, slots: (tokens,).

    last: rows of the last tokens known of a sequence, after which its next one is wanted.
    """

    tokens: Tensor
    positions: Tensor
    slots: Tensor
    groups: tuple[Group, ...]
    last: Tensor


class Pages:
    """Preallocated blocks on a device. One block more than the pool has stays zero and fills tables up."""

    def __init__(self, shape: CacheShape, blocks: int, block: int, dtype: torch.dtype, device: torch.device) -> None:
        self.block = block
        self._filler = blocks
        size = (shape.layers, (blocks + 1), block, shape.shared, shape.head)
        self._keys = torch.zeros(size, dtype=dtype, device=device)
        self._values = torch.zeros(size, dtype=dtype, device=device)

    def step(self, parts: tuple[Part, ...]) -> StepBatch:
        """Tensors of a step. The order of its tokens is that of `ordered(parts)`."""
        parts = ordered(parts)
        device = self._keys.device
        tokens = [token for part in parts for token in part.sequence.tokens[part.start : part.start + part.count]]
        positions = [position for part in parts for position in range(part.start, part.start + part.count)]
        slots = [
            part.sequence.blocks[position // self.block] * self.block + position % self.block
            for part in parts
            for position in range(part.start, part.start + part.count)
        ]
        single = sum(part.count == 1 for part in parts)
        groups, last, row = [], [], 0
        for members in ([parts[:single]] if single else []) + [(part,) for part in parts[single:]]:
            groups.append(self._group(members, row))
            for part in members:
                row += part.count
                if part.ends:
                    last.append(row - 1)
        whole = torch.tensor([tokens, positions, slots], dtype=torch.int64, device=device)
        rows = torch.tensor(last, dtype=torch.int64, device=device)
        return StepBatch(whole[0], whole[1], whole[2], tuple(groups), rows)

    def attend(self, batch: StepBatch, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Store a step's keys and values, (tokens, shared, head), and answer its queries, (tokens, heads, head).

        Returns (tokens, heads * head).
        """
        stored = self._keys[layer], self._values[layer]
        for store, new in zip(stored, (keys, values), strict=True):
            store.flatten(0, 1).index_copy_(0, batch.slots, new.to(store.dtype))
        answers = [self._answer(group, queries[group.rows], *stored) for group in batch.groups]
        return answers[0] if len(answers) == 1 else torch.cat(answers)

    def clear(self, blocks: list[int]) -> None:
        """Make blocks zero: what is no number there would spoil whoever has them next, even where it is masked."""
        self._keys[:, blocks] = 0
        self._values[:, blocks] = 0

    def _group(self, members: tuple[Part, ...], row: int) -> Group:
        longest = max(len(part.sequence.blocks) for part in members)
        tables = [part.sequence.blocks + [self._filler] * (longest - len(part.sequence.blocks)) for part in members]
        count, device = members[0].count, self._keys.device
        starts = torch.tensor([part.start for part in members], device=device)
        ends = starts[:, None] + torch.arange(count, device=device)
        seen = torch.arange(longest * self.block, device=device) <= ends[:, None, :, None]
        rows = slice(row, row + len(members) * count)
        return Group(rows, torch.tensor(tables, dtype=torch.int64, device=device), seen)

    @staticmethod
    def _answer(group: Group, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        asked = queries.unflatten(0, (len(group.tables), -1)).transpose(1, 2)
        held, kept = (store[group.tables].flatten(1, 2).transpose(1, 2).to(queries.dtype) for store in (keys, values))
        shared = held.shape[1] != asked.shape[1]
        mixed = F.scaled_dot_product_attention(asked, held, kept, attn_mask=group.seen, enable_gqa=shared)
        return mixed.transpose(1, 2).flatten(2).flatten(0, 1)


def ordered(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Parts of one token first: they are computed as one group."""
    return tuple(sorted(parts, key=lambda part: part.count > 1))
