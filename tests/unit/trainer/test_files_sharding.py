"""Files, prepared and dealt out: a restart in the middle of an epoch loses no sample and shows none twice."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainer.datasets.files import load
from trainer.datasets.preparation import prepare
from trainer.datasets.raw import RawData
from trainer.sharding import Sharding

SAMPLES = 103


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of unequal length; `number` tells samples apart."""
    folder: Path = tmp_path_factory.mktemp("data")
    numbers = np.random.default_rng(0).permutation(SAMPLES)
    for file, part in enumerate(np.split(numbers, (20, 75))):
        rows = "".join(f"{number},{'red' if number % 3 else 'blue'},{'pq'[number % 2]}\n" for number in part)
        (folder / f"part-{file}.csv").write_text("number,colour,y\n" + rows)
    return folder


def read(place: Path) -> RawData:
    """What every worker has to train on after reading the files for itself."""
    raw = load({"url": f"{place}/part-*.csv", "format": "csv", "target": "y"})
    return prepare(raw, held_out_fraction=0.2, seed=5).train


def seen(data: list[RawData], steps: range, *, batch_size: int, seed: int) -> list[int]:
    """The numbers of the samples that so many workers train on in these steps, each with data of its own."""
    found: list[int] = []
    for step in steps:
        for rank, own in enumerate(data):
            shard = Sharding(len(own), batch_size, seed, rank, len(data)).shard(step)
            if not shard.idle:
                found += own.inputs[shard.rows, 0].astype(int).tolist()
    return found


@given(
    before=st.integers(1, 5),
    after=st.integers(1, 5),
    batch_size=st.integers(1, 40),
    epoch=st.integers(0, 2),
    seed=st.integers(0, 1000),
    where=st.floats(0, 1),
)
def test_no_sample_is_lost_or_seen_twice_when_an_epoch_goes_on_with_another_number_of_workers(
    place: Path, before: int, after: int, batch_size: int, epoch: int, seed: int, where: float
) -> None:
    expected = sorted(read(place).inputs[:, 0].astype(int).tolist())
    steps = Sharding(len(expected), batch_size, seed, 0, 1).steps_per_epoch
    first, last = epoch * steps, (epoch + 1) * steps
    stopped = first + round(where * steps)
    until = seen([read(place) for _ in range(before)], range(first, stopped), batch_size=batch_size, seed=seed)
    since = seen([read(place) for _ in range(after)], range(stopped, last), batch_size=batch_size, seed=seed)
    assert sorted(until + since) == expected


def test_every_sample_of_the_files_is_trained_on_or_held_out(place: Path) -> None:
    raw = load({"url": str(place), "format": "csv", "target": "y"})
    data = prepare(raw, held_out_fraction=0.2, seed=5)
    numbers = np.concatenate([data.train.inputs[:, 0], data.held_out.inputs[:, 0]])
    assert sorted(numbers.tolist()) == list(range(SAMPLES))
    assert np.array_equal(read(place).inputs, data.train.inputs)
