"""The tutorials that need nobody's program to run, followed line by line on a cluster of their own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster import Cluster, ClusterSpec, up
from tests.apiserver.operator_process import account_kubeconfig, operator_process
from tests.walkthrough.reader import ROOT, reader_of

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]
TUTORIALS = ROOT / "docs" / "tutorials"


@pytest.fixture
def four_nodes() -> Iterator[Cluster]:
    """As `python -m dev.cluster up NAME --kwok 4` makes it: four simulated nodes of eight GPUs, and nothing on them."""
    with up(ClusterSpec(name=f"tutorial-{os.getpid()}", kwok_nodes=4, provider="local")) as cluster:
        yield cluster


@pytest.fixture
def installed(four_nodes: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """The same with the chart, whose operator's pod is simulated; the operator itself is a process of that pod's name here."""
    chart = ("helm/trainyard", "--namespace", "trainyard-system", "--create-namespace", "--wait")
    four_nodes.helm("install", "trainyard", str(ROOT / chart[0]), *chart[1:])
    pods = ("get", "pods", "-n", "trainyard-system", "-l", "app.kubernetes.io/component=operator", "-o", "name")
    name = four_nodes.kubectl(*pods).strip().removeprefix("pod/")
    with operator_process(four_nodes, account_kubeconfig(four_nodes, tmp_path), tmp_path, name):
        yield four_nodes


@pytest.mark.parametrize("page", ["queues", "operate"])
def test_a_tutorial_goes_as_it_says(installed: Cluster, tmp_path: Path, page: str) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    with reader_of(installed, folder) as reader:
        reader.follow(TUTORIALS / f"{page}.md")
