"""One control plane with a few simulated nodes for all tests here, and one operator: real API semantics, no kubelet."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cluster import Cluster, ClusterSpec, up
from dev.operator_process import OperatorProcess
from tests import builders as b
from tests.apiserver.operator_process import LOGS, account_kubeconfig, install, operator_process
from tests.apiserver.yard import FLAVOR, Yard

KWOK_NODES = 4
GPUS_PER_NODE = 8


@pytest.fixture(scope="session")
def api_cluster() -> Iterator[Cluster]:
    """A cluster whose nodes are simulated and whose API server writes an audit log. Use a namespace of your own."""
    spec = ClusterSpec(
        name=f"apiserver-{os.getpid()}",
        kwok_nodes=KWOK_NODES,
        kwok_gpus=GPUS_PER_NODE,
        provider="local",
        audit=True,
    )
    with up(spec) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def installed(api_cluster: Cluster) -> Cluster:
    """The cluster with our kinds, rights and PriorityClass, and one flavor for all nodes."""
    install(api_cluster)
    Yard(api_cluster).create(b.a_flavor(FLAVOR))
    return api_cluster


@pytest.fixture(scope="session")
def account(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kubeconfig of the chart's ServiceAccount."""
    return account_kubeconfig(installed, tmp_path_factory.mktemp("account"))


@pytest.fixture(scope="session")
def operator(installed: Cluster, account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """The operator that most tests share."""
    with operator_process(installed, account, tmp_path_factory.mktemp("operator"), "shared") as process:
        yield process


@pytest.fixture
def bare_yard(installed: Cluster) -> Iterator[Yard]:
    """A yard for what the API server alone answers."""
    yard = Yard(installed).open()
    yield yard
    yard.close()


@pytest.fixture
def yard(operator: OperatorProcess, installed: Cluster) -> Iterator[Yard]:
    """A yard that the operator looks after."""
    assert operator.running
    yard = Yard(installed).open()
    yield yard
    yard.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Show the end of each operator's log with a failure."""
    report = yield
    if report.failed:
        report.sections += [(f"log of operator {log.stem}", log.read_text()[-6000:]) for log in LOGS if log.exists()]
    return report
