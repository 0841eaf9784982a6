"""Every alert that a cluster without kubelets can be brought to: fault, alert, runbook."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, wait
from datetime import UTC, datetime

import pytest

from dev.alerting.documents import RULES
from dev.cluster import ClusterSpec, up
from dev.cluster.local_provider import LocalCluster
from dev.operator_process import OperatorProcess
from dev.prometheus import Target, prometheus
from tests.apiserver.operator_process import SYSTEM, account_kubeconfig, install, operator_process
from tests.drills.catalogue import ALONE, API_SERVER, Tier
from tests.drills.drill import Drill
from tests.drills.hurry import SCRAPE_SECONDS, hurried
from tests.drills.of_operator import old_authority
from tests.drills.of_operator_alone import OLD_RELEASE
from tests.drills.operator_pod import operator_pod
from tests.drills.stage import Played, Shell, Stage, kept_running, know_monitors

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]
AT_A_TIME = 8


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A cluster of its own: what is broken here stays broken."""
    folder = tmp_path_factory.mktemp("drills")
    with up(ClusterSpec(name=f"drills-{os.getpid()}", kwok_nodes=1, kwok_gpus=0, provider="local")) as cluster:
        assert isinstance(cluster, LocalCluster)
        install(cluster)
        know_monitors(cluster)
        cluster.api.create(f"/api/v1/namespaces/{SYSTEM}/secrets", old_authority(datetime.now(UTC)))
        account = account_kubeconfig(cluster, folder)
        (folder / "audit").mkdir()
        audit_file = folder / "audit" / "records"
        with (
            operator_process(cluster, account, folder, "drilled", audit_file=str(audit_file)) as operator,
            operator_pod(cluster, operator.log),
        ):
            second = OperatorProcess(cluster, env={"TRAINYARD_NAMESPACE": OLD_RELEASE})
            targets = [Target(f"127.0.0.1:{each.http_port}") for each in (operator, second)]
            with prometheus({"operator": targets}, interval=SCRAPE_SECONDS, rules=hurried(RULES.read_text())) as server:
                yield Stage(cluster, operator, second, server, Shell(cluster, folder), audit_file, Tier.API_SERVER)


@pytest.fixture(scope="module")
def played(stage: Stage, request: pytest.FixtureRequest) -> dict[str, Future[Played]]:
    """Those that were chosen, beside each other, until all are through."""
    with kept_running(stage.operator), stage.playing(_chosen(request, API_SERVER), AT_A_TIME) as played:
        wait(played.values())
    return played


@pytest.fixture(scope="module")
def played_alone(
    stage: Stage, played: dict[str, Future[Played]], request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[Played]]]:
    """One after the other, when all others are through."""
    with stage.playing(_chosen(request, ALONE), 1) as alone:
        yield alone


def _chosen(request: pytest.FixtureRequest, drills: tuple[Drill, ...]) -> tuple[Drill, ...]:
    asked = {
        id(item.callspec.params["drill"])
        for item in request.session.items
        if hasattr(item, "callspec") and "drill" in item.callspec.params
    }
    return tuple(each for each in drills if id(each) in asked)


@pytest.mark.parametrize("drill", API_SERVER, ids=lambda drill: drill.name)
def test_a_fault_fires_its_alert_and_the_runbook_shows_the_cause(
    drill: Drill, played: dict[str, Future[Played]]
) -> None:
    _judge(drill, played[drill.alert].result())


@pytest.mark.parametrize("drill", ALONE, ids=lambda drill: drill.name)
def test_a_fault_of_the_operator_fires_its_alert_and_the_runbook_shows_the_cause(
    drill: Drill, played_alone: dict[str, Future[Played]]
) -> None:
    _judge(drill, played_alone[drill.alert].result())


def _judge(drill: Drill, done: Played) -> None:
    assert [each for each in done.ran if each.code] == []
    assert done.unseen == set(), done.output
    assert [text for text in drill.shows if not done.shows(text)] == [], done.output
