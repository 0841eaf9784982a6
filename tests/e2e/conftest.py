"""One cluster with real nodes for all tests here: kubelets, containerd and our images."""

import os
from collections.abc import Iterator

import pytest

from dev.cluster import Cluster, ClusterSpec, up
from dev.demo import install
from tests.e2e.models import Models, make_models
from tests.e2e.platform import Platform, namespace_of_its_own, quota

NODES = 2
GPUS_PER_NODE = 4


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes of four GPUs with all images of `dev.images`, made from the code as it is now."""
    spec = ClusterSpec(name=f"e2e-{os.getpid()}", nodes=NODES, gpus_per_node=GPUS_PER_NODE)
    with up(spec) as running:
        yield running


@pytest.fixture(scope="module")
def installed(cluster: Cluster) -> Cluster:
    """The same with Trainyard, and a queue `research` for all its GPUs. The module's last test may take it away again."""
    install(cluster)
    Platform(cluster, "default").apply(*quota(NODES * GPUS_PER_NODE))
    return cluster


@pytest.fixture
def platform(installed: Cluster) -> Iterator[Platform]:
    """A namespace of the test's own, and what the tests do in it."""
    with namespace_of_its_own(installed) as made:
        yield made


@pytest.fixture(scope="module")
def shared_platform(installed: Cluster) -> Iterator[Platform]:
    """One namespace for all tests of a module."""
    with namespace_of_its_own(installed) as made:
        yield made


@pytest.fixture(scope="session")
def models(cluster: Cluster) -> Models:
    """Models that services can serve, in one namespace for all tests."""
    return make_models(cluster)
