"""Which samples a worker sees in which step: a pure function of seed, step, worker and number of workers.

The order of samples and the cut into steps do not depend on the number of workers; they only divide each step's
samples among themselves. So a job that resumes with fewer workers goes on exactly where it stopped, no sample is
seen twice in an epoch, and none is left out.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Shard:
    """A worker's part of one step.

    rows: its samples. total: samples of the step over all workers. idle: there was none left for this worker; rows
    then holds one of the others', for a worker that takes part in the step without having a say.
    """

    rows: NDArray[np.int64]
    total: int
    idle: bool


@dataclass(frozen=True)
class Sharding:
    """How the samples of a job are dealt out. batch_size: samples of one step over all workers."""

    samples: int
    batch_size: int
    seed: int
    rank: int
    world_size: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every sample was seen once; the last one may be smaller."""
        return -(-self.samples // self.batch_size)

    def shard(self, step: int) -> Shard:
        """This worker's samples in the step (from 0)."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        rows = _order(self.samples, self.seed, epoch)[batch * self.batch_size : (batch + 1) * self.batch_size]
        own = rows[self.rank :: self.world_size]
        return Shard(own if len(own) else rows[:1], len(rows), idle=not len(own))

    def random_seed(self, step: int) -> int:
        """Seed of whatever is random in this worker's step, dropout say.

        As it is computed, no generator's state has to be saved, and a resumed step repeats the lost one exactly.
        """
        return int(np.random.SeedSequence([self.seed, step, self.rank]).generate_state(1, np.uint64)[0] >> 1)


@lru_cache(maxsize=2)
def _order(samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(samples)
