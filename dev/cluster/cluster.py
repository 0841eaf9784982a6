"""The one interface to a running cluster, whoever provides it.

Tests and tools see a `Cluster` and its `Node`s. Neighbours: `local`, `kind` and `current` are the three kinds of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from dev.cluster.api import Api
from dev.cluster.binaries import Binaries
from dev.cluster.kwok import KwokNodes
from dev.cluster.processes import run


class Node(ABC):
    """A real node, and the ways in which a machine fails."""

    name: str

    @abstractmethod
    def kill(self) -> None:
        """Power off: everything on the node dies at once, and nothing is told to anybody."""

    @abstractmethod
    def revive(self) -> None:
        """Power on again after `kill`: the node comes back with its images and without its containers."""

    @abstractmethod
    def freeze(self) -> None:
        """Stop the node's clock: no process of it runs, connections stay open."""

    @abstractmethod
    def thaw(self) -> None:
        """Let the node run on after `freeze`."""

    @abstractmethod
    def cut_network(self) -> None:
        """Pull the network cable: all runs on, nobody is reached."""

    @abstractmethod
    def restore_network(self) -> None:
        """Plug the network cable in again."""


class Cluster(ABC):
    """A running cluster. As a context manager it goes down at the end of the block."""

    provider: str

    def __init__(self, name: str, kubeconfig: Path, programs: Binaries) -> None:
        self.name = name
        self.kubeconfig = kubeconfig
        self.programs = programs

    @property
    @abstractmethod
    def nodes(self) -> list[Node]:
        """The real nodes."""

    @property
    @abstractmethod
    def host_address(self) -> str:
        """The address of this machine that pods can reach."""

    @property
    @abstractmethod
    def api(self) -> Api:
        """A small client with the admin's rights."""

    @property
    @abstractmethod
    def audit_log(self) -> Path:
        """Where the API server writes a line for each request; only there when ClusterSpec.audit was set."""

    @abstractmethod
    def add_kwok(self, nodes: KwokNodes, *, wait: float = 60.0) -> list[str]:
        """Add a batch of simulated nodes and wait until they are Ready; returns their names."""

    @abstractmethod
    def load(self, images: Sequence[str]) -> None:
        """Bring images of this machine's image builder to every real node that lacks them."""

    @abstractmethod
    def down(self) -> list[str]:
        """Remove everything; returns what is left behind, which should be nothing."""

    def kubectl(self, *args: str, input: str | None = None, timeout: float = 120) -> str:  # noqa: A002 - as in subprocess
        """Run kubectl as admin and return what it printed; CommandError when it fails."""
        argv = [str(self.programs.path("kubectl")), f"--kubeconfig={self.kubeconfig}", *args]
        return run(argv, stdin=input, timeout=timeout)

    def helm(self, *args: str, timeout: float = 300) -> str:
        """Run helm as admin and return what it printed; CommandError when it fails."""
        argv = [str(self.programs.path("helm")), *args]
        return run(argv, env={"KUBECONFIG": str(self.kubeconfig)}, timeout=timeout)

    def add_kwok_nodes(
        self, count: int, *, gpus: int = 8, gpu_model: str = "H200", prefix: str = "kwok", first: int = 1
    ) -> list[str]:
        """Add simulated nodes of the usual shape; `add_kwok` takes every detail."""
        batch = KwokNodes(count, gpus=gpus, gpu_model=gpu_model, prefix=prefix, first=first, taint=bool(self.nodes))
        return self.add_kwok(batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = self.down()
        if left and error is None:
            raise RuntimeError(f"cluster {self.name} left behind:\n" + "\n".join(left))
