"""One cluster with real nodes for all tests here: kubelets, containerd and our images."""

import os
from collections.abc import Iterator

import pytest

from dev.cluster import Cluster, ClusterSpec, up
from tests.e2e.models import Models, make_models
from tests.e2e.platform import Platform, quota
from tests.e2e.release import Release

NODES = 2
GPUS_PER_NODE = 4


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes of four GPUs with all images of `dev.images`, made from the code as it is now."""
    spec = ClusterSpec(name=f"e2e-{os.getpid()}", nodes=NODES, gpus_per_node=GPUS_PER_NODE)
    with up(spec) as running:
        yield running


@pytest.fixture(scope="session")
def release(cluster: Cluster, pytestconfig: pytest.Config) -> Release:
    """How Trainyard is installed there."""
    return Release(cluster, confined=pytestconfig.getoption("namespaced"))


@pytest.fixture(scope="module")
def installed(cluster: Cluster, release: Release, request: pytest.FixtureRequest) -> Cluster:
    """The same with Trainyard, and a queue `research` for all its GPUs. The module's last test may take it away again."""
    tests = [each for each in request.session.items if each.path == request.path]
    release.install(namespaces=len(tests) + 2)
    Platform(cluster, "default").apply(*quota(NODES * GPUS_PER_NODE))
    return cluster


@pytest.fixture
def platform(installed: Cluster, release: Release) -> Iterator[Platform]:
    """A namespace of the test's own, and what the tests do in it."""
    with release.namespace_of_its_own() as made:
        yield made


@pytest.fixture(scope="module")
def shared_platform(installed: Cluster, release: Release) -> Iterator[Platform]:
    """One namespace for all tests of a module."""
    with release.namespace_of_its_own() as made:
        yield made


@pytest.fixture(scope="session")
def models(release: Release) -> Models:
    """Models that services can serve, in one namespace for all tests."""
    return make_models(release.new_platform())
