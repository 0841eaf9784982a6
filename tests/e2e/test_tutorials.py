"""The tutorials whose programs run, followed line by line on the real cluster."""

from pathlib import Path

import pytest

from dev.cluster import Cluster
from dev.demo import NAMESPACE
from tests.e2e.release import Release
from tests.walkthrough.reader import ROOT, reader_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
TUTORIALS = ROOT / "docs" / "tutorials"


@pytest.fixture
def fresh(cluster: Cluster, release: Release, pytestconfig: pytest.Config) -> Cluster:
    """With Trainyard for all namespaces, and without what other tests, and readers who gave up, made of what a reader makes."""
    if pytestconfig.getoption("namespaced"):
        pytest.skip(
            "a reader makes a namespace, and a confined operator has rights in none that it was not installed for"
        )
    release.install()
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
    cluster.kubectl("delete", "tyq,tyf", "--all")
    return cluster


@pytest.mark.parametrize("page", ["train", "serve"])
def test_a_tutorial_goes_as_it_says(fresh: Cluster, tmp_path: Path, page: str) -> None:
    with reader_of(fresh, tmp_path) as reader:
        reader.follow(TUTORIALS / f"{page}.md")
