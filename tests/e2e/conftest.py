"""One cluster with real nodes for all tests here: kubelets, containerd and our images."""

import os
from collections.abc import Iterator

import pytest

from dev.cluster import Cluster, ClusterSpec, up

NODES = 2
GPUS_PER_NODE = 4


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes of four GPUs with all images of `dev.images`. Use a namespace of your own."""
    spec = ClusterSpec(name=f"e2e-{os.getpid()}", nodes=NODES, gpus_per_node=GPUS_PER_NODE)
    with up(spec) as running:
        yield running
