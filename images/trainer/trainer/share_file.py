"""A worker's share of a checkpoint: copied in memory while training stands still, written while it goes on.

The file is safetensors, with a note in its header that says where in the whole tensors its parts belong: what torch's
HuggingFaceStorageReader reads. It is written here rather than by safetensors' own writer, since that one says neither
which error of the system stopped it nor what it wrote: the digest is that of the bytes in memory, before any storage
could change them.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from trainer.checkpoint_store import FileDigest
from trainer.durable import sync_folder
from trainer.group import WorkerGroup
from trainer.shares import Piece

_TYPES: Final = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_BYTES_A_NUMBER: Final = 6  # which a float holds exactly
_DIGEST_BYTES: Final = 32
_BYTES_AT_ONCE: Final = 4 * 2**20
_ALIGNMENT: Final = 8


@dataclass(frozen=True)
class Told:
    """What a worker tells the others of its share. error: the system's number, 0 for none; digest: None without a file."""

    error: int = 0
    digest: FileDigest | None = None

    def numbers(self) -> list[float]:
        """For a sum over workers."""
        whole = bytes.fromhex(self.digest.sha256) if self.digest else bytes(_DIGEST_BYTES)
        parts = (whole[start : start + _BYTES_A_NUMBER] for start in range(0, _DIGEST_BYTES, _BYTES_A_NUMBER))
        head = (self.error, self.digest.size if self.digest else 0)
        return [float(number) for number in (*head, *map(int.from_bytes, parts))]

    @classmethod
    def of(cls, numbers: Sequence[float]) -> "Told":
        error, size, *parts = map(int, numbers)
        lengths = (min(_BYTES_A_NUMBER, _DIGEST_BYTES - _BYTES_A_NUMBER * index) for index in range(len(parts)))
        whole = b"".join(part.to_bytes(length) for part, length in zip(parts, lengths, strict=True))
        return cls(error, FileDigest(whole.hex(), size) if size else None)


def exchange(group: WorkerGroup, own: Told) -> list[Told]:
    """What every worker tells, by rank. All workers call it together."""
    numbers = own.numbers()
    every = [0.0] * (len(numbers) * group.world_size)
    every[len(numbers) * group.rank : len(numbers) * (group.rank + 1)] = numbers
    every = group.sum(every)
    return [Told.of(every[start : start + len(numbers)]) for start in range(0, len(every), len(numbers))]


class Buffers:
    """Memory on the CPU for one copy of a worker's share, kept from one save to the next; pinned where there is a GPU."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def copy(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces as they are now; what a copy before this one returned is overwritten."""
        copies = [Piece(piece.name, piece.offsets, self._place(piece)) for piece in pieces]
        for copy, piece in zip(copies, pieces, strict=True):
            copy.values.copy_(piece.values, non_blocking=True)
        if any(piece.values.is_cuda for piece in pieces):
            torch.cuda.current_stream().synchronize()
        return copies

    def _place(self, piece: Piece) -> Tensor:
        key, values = (piece.name, piece.offsets), piece.values
        place = self._places.get(key)
        if place is None or place.shape != values.shape or place.dtype != values.dtype:
            place = torch.empty(values.shape, dtype=values.dtype, pin_memory=values.is_cuda)
            self._places[key] = place
        return place


def write_share(path: Path, pieces: Sequence[Piece]) -> FileDigest:
    """Write the pieces, on the CPU, and make them durable; returns what was meant to be written. Raises OSError with the system's error number."""
    # Wide types first, so that each tensor begins where its type is aligned.
    ordered = sorted(pieces, key=lambda piece: (-piece.values.element_size(), piece.name))
    digest, size = hashlib.sha256(), 0
    with path.open("wb", buffering=0) as stream:
        for block in _blocks(ordered):
            # Both let other threads run meanwhile: training does.
            digest.update(block)
            size += len(block)
            _write(stream.fileno(), block)
        os.fsync(stream.fileno())
    sync_folder(path.parent)
    return FileDigest(digest.hexdigest(), size)


def _blocks(ordered: Sequence[Piece]) -> Iterator[memoryview]:
    yield memoryview(_header(ordered))
    for piece in ordered:
        content = memoryview(piece.values.reshape(-1).view(torch.uint8).numpy())
        for start in range(0, len(content), _BYTES_AT_ONCE):
            yield content[start : start + _BYTES_AT_ONCE]


def _header(ordered: Sequence[Piece]) -> bytes:
    places = {piece.name: {"saved_offsets": piece.offsets} for piece in ordered}
    header: dict[str, object] = {
        "__metadata__": {"DCP_SHARDING_INFO": json.dumps(places), "DCP_VERSION": "1.0", "format": "pt"}
    }
    end = 0
    for piece in ordered:
        start, end = end, end + piece.size
        entry = {"dtype": _TYPES[piece.values.dtype], "shape": tuple(piece.values.shape), "data_offsets": (start, end)}
        header[piece.name] = entry
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _write(descriptor: int, block: memoryview) -> None:
    while block:
        block = block[os.write(descriptor, block) :]
