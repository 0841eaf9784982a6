"""Who does what among the worker processes; imports no torch, so that the agent judges it in milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from trainer.errors import ConfigurationError

DATA: Final = ("replicated", "sharded")


@dataclass(frozen=True)
class Parallelism:
    """What was asked for.

    data: whether each data-parallel worker holds all weights (DDP) or a share of them (FSDP). tensor: workers that
    share each matrix. pipeline: stages that share the row of layers; a step passes through them in microbatches.
    servers: workers that hold the weights for the others; staleness: how many steps a worker may be ahead of another.
    """

    data: str = "replicated"
    tensor: int = 1
    pipeline: int = 1
    microbatches: int = 4
    servers: int = 0
    staleness: int = 0

    @property
    def splits(self) -> bool:
        """Whether layers are cut, which the model must know how to do."""
        return self.tensor > 1 or self.pipeline > 1


@dataclass(frozen=True)
class Layout:
    """The place of one process: data-parallel workers, each of `pipeline` stages of `tensor` processes."""

    parallelism: Parallelism
    rank: int
    world_size: int

    @property
    def data_size(self) -> int:
        """Workers among which a step's samples are divided."""
        asked = self.parallelism
        return (self.world_size - asked.servers) // (asked.tensor * asked.pipeline)

    @property
    def data_rank(self) -> int:
        """Which of them this one is, or belongs to; 0 for a server, which sees no samples."""
        asked = self.parallelism
        if asked.servers:
            return max(0, self.rank - asked.servers)
        return self.rank // asked.tensor % self.data_size

    @property
    def serves(self) -> bool:
        """Whether this process holds weights for the others."""
        return self.rank < self.parallelism.servers

    @property
    def mesh(self) -> tuple[int, int, int]:
        """Shape over (pipeline, data, tensor): those that talk most are next to each other."""
        return self.parallelism.pipeline, self.data_size, self.parallelism.tensor


def check_parallelism(asked: Parallelism, *, model: str, splits: bool, sizes: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for what cannot be together. splits: whether the model can be cut; sizes: its parameters."""
    where = "training.parallelism"
    for name in ("tensor", "pipeline"):
        value = getattr(asked, name)
        if value > 1 and not splits:
            raise ConfigurationError(f"{where}.{name}", value, f"1, as {model} cannot be cut", ("llama can",))
        if value > 1 and asked.servers:
            raise ConfigurationError(f"{where}.{name}", value, "1 where there are servers")
    if asked.pipeline > 1 and asked.data == "sharded":
        raise ConfigurationError(f"{where}.data", asked.data, "replicated where there are stages")
    if asked.servers and asked.data == "sharded":
        raise ConfigurationError(f"{where}.data", asked.data, "replicated where there are servers")
    if asked.staleness and not asked.servers:
        raise ConfigurationError(f"{where}.staleness", asked.staleness, "0 where there are no servers")
    if asked.pipeline > 1 and asked.microbatches < asked.pipeline:
        raise ConfigurationError(
            f"{where}.microbatches", asked.microbatches, f"at least {asked.pipeline}, one for each stage"
        )
    for name in ("heads", "keyValueHeads", "hidden"):
        if asked.tensor > 1 and sizes.get(name, 0) % asked.tensor:
            raise ConfigurationError(f"{where}.tensor", asked.tensor, f"a divisor of {name}={sizes[name]}")
    if asked.pipeline > 1 and sizes.get("layers", 1) < asked.pipeline:
        raise ConfigurationError(f"{where}.pipeline", asked.pipeline, f"at most layers={sizes['layers']}")


def check_workers(asked: Parallelism, workers: int, *, batch_size: int | None) -> None:
    """Raise ConfigurationError unless so many processes can share the work so. batch_size: None for all samples at once."""
    where, unit = "training.parallelism", asked.tensor * asked.pipeline
    if workers % unit:
        raise ConfigurationError(
            f"{where}.tensor x pipeline", unit, f"a divisor of the number of worker processes, {workers}"
        )
    if asked.servers >= workers and asked.servers:
        raise ConfigurationError(f"{where}.servers", asked.servers, f"fewer than the {workers} worker processes")
    data = Layout(asked, 0, workers).data_size
    if batch_size is not None and batch_size < data:
        raise ConfigurationError("training.batchSize", batch_size, f"at least 1 for each of the {data} workers")
