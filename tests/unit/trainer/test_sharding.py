"""How samples are dealt out: each once in an epoch, whatever the number of workers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from trainer.sharding import Sharding

samples = st.integers(1, 200)
batch_sizes = st.integers(1, 64)
worlds = st.integers(1, 9)
seeds = st.integers(0, 2**63 - 1)


def rows_of(step: int, world: int, **how: int) -> list[list[int]]:
    shards = [Sharding(rank=rank, world_size=world, **how).shard(step) for rank in range(world)]
    assert len({shard.total for shard in shards}) == 1
    return [[] if shard.idle else shard.rows.tolist() for shard in shards]


@given(samples, batch_sizes, worlds, seeds, st.integers(0, 3))
def test_an_epoch_shows_every_sample_exactly_once(count: int, batch: int, world: int, seed: int, epoch: int) -> None:
    steps = Sharding(count, batch, seed, 0, world).steps_per_epoch
    seen = [
        row
        for step in range(epoch * steps, (epoch + 1) * steps)
        for part in rows_of(step, world, samples=count, batch_size=batch, seed=seed)
        for row in part
    ]
    assert sorted(seen) == list(range(count))


@given(samples, batch_sizes, worlds, seeds, st.integers(0, 500))
def test_a_step_has_the_same_samples_for_any_number_of_workers(
    count: int, batch: int, world: int, seed: int, step: int
) -> None:
    divided = rows_of(step, world, samples=count, batch_size=batch, seed=seed)
    alone = rows_of(step, 1, samples=count, batch_size=batch, seed=seed)
    assert sorted(row for part in divided for row in part) == sorted(alone[0])
    sizes = [len(part) for part in divided]
    assert max(sizes) - min(sizes) <= 1


def test_epochs_differ_in_order_and_seeds_too() -> None:
    def order(seed: int, step: int) -> list[int]:
        found: list[int] = Sharding(100, 100, seed, 0, 1).shard(step).rows.tolist()
        return found

    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) == order(0, 0)


def test_a_worker_without_a_sample_gets_one_that_does_not_count() -> None:
    shard = Sharding(samples=1, batch_size=4, seed=0, rank=1, world_size=2).shard(0)
    assert shard.idle
    assert np.array_equal(shard.rows, [0])


def test_random_seeds_differ_by_step_and_worker() -> None:
    seeds_found = {Sharding(10, 2, 0, rank, 4).random_seed(step) for rank in range(4) for step in range(50)}
    assert len(seeds_found) == 200
