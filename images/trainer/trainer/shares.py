"""Who writes what of a checkpoint: each rectangle of a tensor once, by one of the workers that hold it.

Replicated weights are held by many, sharded ones by one each, a stage's by those of the stage, and a server's optimizer
state by that server alone. Rather than derive this for each way of sharing, the workers tell each other what they hold,
once, and all come to the same division. What is told are digests of names, added up as numbers: nothing is unpickled.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from torch import Tensor
from torch.distributed.tensor import DTensor

from trainer.group import WorkerGroup
from trainer.parallel.together import local

Key = tuple[int, int]
"""A rectangle's digest, in two numbers that a float holds exactly."""

_NUMBERS_A_PIECE: Final = 3
_BYTES_A_NUMBER: Final = 6


@dataclass(frozen=True)
class Piece:
    """A rectangle of a tensor that is in this process. offsets: where it begins in the whole tensor."""

    name: str
    offsets: tuple[int, ...]
    values: Tensor

    @property
    def key(self) -> Key:
        words = f"{self.name}|{self.offsets}|{tuple(self.values.shape)}".encode()
        digest = hashlib.sha256(words).digest()
        first, second = digest[:_BYTES_A_NUMBER], digest[_BYTES_A_NUMBER : 2 * _BYTES_A_NUMBER]
        return int.from_bytes(first), int.from_bytes(second)

    @property
    def size(self) -> int:
        """In bytes."""
        return int(self.values.numel() * self.values.element_size())


def pieces_of(tensors: Mapping[str, Tensor]) -> list[Piece]:
    """What this process holds of the tensors; of those that are divided, its own part."""
    pieces = (Piece(name, _offsets(value), local(value.detach())) for name, value in tensors.items())
    return [piece for piece in pieces if piece.values.numel()]


def _offsets(value: Tensor) -> tuple[int, ...]:
    if not isinstance(value, DTensor):
        return tuple(0 for _ in value.shape)
    # torch's own protocol for checkpoints of tensors that are divided: one rectangle for each process
    (chunk,) = value.__create_chunk_list__()
    return tuple(int(offset) for offset in chunk.offsets)


def owners(held: Sequence[Mapping[Key, int]]) -> dict[Key, int]:
    """Which worker writes each piece: of those that hold it the one that has least to write so far.

    held: of each worker, the pieces that it holds and their bytes. The largest pieces are given away first.
    """
    holders: dict[Key, list[int]] = {}
    for rank, keys in enumerate(held):
        for key in keys:
            holders.setdefault(key, []).append(rank)
    given: dict[Key, int] = {}
    load = [0] * len(held)
    for key in sorted(holders, key=lambda each: (-held[holders[each][0]][each], each)):
        given[key] = min(holders[key], key=lambda rank: (load[rank], rank))
        load[given[key]] += held[given[key]][key]
    return given


class Division:
    """The division agreed on; made anew when what some worker holds has changed, as when the optimizer gets its state."""

    def __init__(self, group: WorkerGroup) -> None:
        self._group = group
        self._held: dict[Key, int] = {}
        self._own: set[Key] = set()

    def own(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Those that this worker writes. All workers call it together."""
        held = {piece.key: piece.size for piece in pieces}
        (changed,) = self._group.sum([float(held != self._held)])
        if changed:
            mine = self._group.rank
            self._held, self._own = held, {key for key, rank in owners(self._told(held)).items() if rank == mine}
        return [piece for piece in pieces if piece.key in self._own]

    def _told(self, held: Mapping[Key, int]) -> list[dict[Key, int]]:
        """What every worker holds: each adds its numbers at its own place, where the others add nothing."""
        rank, workers = self._group.rank, self._group.world_size
        counts = [0.0] * workers
        counts[rank] = float(len(held))
        counts = self._group.sum(counts)
        starts = [_NUMBERS_A_PIECE * int(sum(counts[:worker])) for worker in range(workers + 1)]
        numbers = [0.0] * starts[-1]
        numbers[starts[rank] : starts[rank + 1]] = [float(each) for key, size in held.items() for each in (*key, size)]
        numbers = self._group.sum(numbers)
        parts = (numbers[start:end] for start, end in pairwise(starts))
        return [_pieces(part) for part in parts]


def _pieces(numbers: Sequence[float]) -> dict[Key, int]:
    triples = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    return {(int(first), int(second)): int(size) for first, second, size in triples}
