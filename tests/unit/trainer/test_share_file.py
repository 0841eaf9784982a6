"""A share is a safetensors file with the digest of what was meant; what goes wrong has the system's number."""

import errno
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch.distributed.checkpoint import HuggingFaceStorageReader
from trainer.checkpoint_store import FileDigest
from trainer.durable import sha256_of
from trainer.group import WorkerGroup
from trainer.share_file import Buffers, Told, exchange, write_share
from trainer.shares import Piece

TENSORS = {
    "model.weight": torch.arange(12, dtype=torch.float32).view(3, 4),
    "model.half": torch.tensor([1.5, -2.0, 3.25]).to(torch.bfloat16),
    "model.counted": torch.tensor(7),
    "model.mask": torch.tensor([True, False, True]),
    "optimizer.weight/step": torch.tensor(3.0),
}


def pieces() -> list[Piece]:
    return [Piece(name, (0,) * value.dim(), value) for name, value in TENSORS.items()]


def test_a_share_is_read_back_as_it_was_by_the_formats_own_library(tmp_path: Path) -> None:
    digest = write_share(tmp_path / "share.safetensors", pieces())
    assert digest == FileDigest(
        sha256_of(tmp_path / "share.safetensors"), (tmp_path / "share.safetensors").stat().st_size
    )
    with safe_open(tmp_path / "share.safetensors", framework="pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in TENSORS.items())


def test_shares_of_a_tensor_are_read_as_one_by_torch(tmp_path: Path) -> None:
    whole = torch.arange(20.0).view(5, 4)
    write_share(tmp_path / "share-0.safetensors", [Piece("w", (0, 0), whole[:3])])
    write_share(tmp_path / "share-1.safetensors", [Piece("w", (3, 0), whole[3:])])
    stored = HuggingFaceStorageReader(str(tmp_path)).read_metadata().state_dict_metadata["w"]
    assert stored.size == whole.shape
    assert sorted(tuple(chunk.offsets) for chunk in stored.chunks) == [(0, 0), (3, 0)]


def test_tensors_larger_than_one_write_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.share_file._BYTES_AT_ONCE", 5)
    write_share(tmp_path / "share.safetensors", pieces())
    with safe_open(tmp_path / "share.safetensors", framework="pt") as file:
        assert torch.equal(file.get_tensor("model.weight"), TENSORS["model.weight"])


def test_data_begin_where_their_type_is_aligned(tmp_path: Path) -> None:
    write_share(tmp_path / "share.safetensors", pieces())
    content = (tmp_path / "share.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0
    assert all(header[name]["data_offsets"][0] % value.element_size() == 0 for name, value in TENSORS.items())


def test_a_full_volume_is_an_error_with_its_number() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        write_share(Path("/dev/full"), pieces())
    assert caught.value.errno == errno.ENOSPC


def test_a_copy_is_of_the_moment_and_its_memory_is_used_again() -> None:
    weight, buffers = torch.ones(3), Buffers()
    (copy,) = buffers.copy([Piece("w", (0,), weight)])
    weight.add_(1)
    assert torch.equal(copy.values, torch.ones(3))
    (again,) = buffers.copy([Piece("w", (0,), weight)])
    assert again.values.data_ptr() == copy.values.data_ptr()
    (grown,) = buffers.copy([Piece("w", (0,), torch.zeros(4))])
    assert torch.equal(grown.values, torch.zeros(4))


@given(
    st.integers(0, 200),
    st.none() | st.builds(FileDigest, st.binary(min_size=32, max_size=32).map(bytes.hex), st.integers(1, 2**50)),
)
def test_what_a_worker_tells_survives_being_numbers(error: int, digest: FileDigest | None) -> None:
    told = Told(error, digest)
    assert Told.of(told.numbers()) == told
    assert exchange(WorkerGroup(0, 1, torch.device("cpu")), told) == [told]
