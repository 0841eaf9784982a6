"""An operator that is confined to some namespaces: no right of the cluster on what lives in one, and nothing else is missing.

A release of its own; the operator that other tests share is away meanwhile, since two of them would both write to every queue.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import pytest
import yaml

from dev.cluster import Cluster
from dev.operator_process import OperatorProcess
from tests import builders as b
from tests.apiserver.operator_process import (
    account_kubeconfig,
    audited,
    granted,
    operator_process,
    rendered,
    right,
)
from tests.apiserver.test_chart_rbac import SPARE, journey
from tests.apiserver.yard import Yard, completes_after

pytestmark = pytest.mark.apiserver

SYSTEM = f"confined-{uuid4().hex[:6]}"
ACCOUNT = "confined-trainyard"
USER = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
MISSING = f"missing-{uuid4().hex[:6]}"
RIGHTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
OF_THE_CLUSTER = {
    "trainyard.dev/flavors",
    "trainyard.dev/queues",
    "trainyard.dev/flavors/status",
    "trainyard.dev/queues/status",
    "/nodes",
    "/namespaces",
    "authentication.k8s.io/tokenreviews",
    "authorization.k8s.io/subjectaccessreviews",
}
READY = 180
"""Seconds, most of them spare: a process starts beside others."""


@pytest.fixture(scope="module")
def yards(installed: Cluster) -> Iterator[tuple[Yard, Yard, Yard]]:
    """Two that are looked after, and one that is not."""
    made = (Yard(installed).open(), Yard(installed).open(), Yard(installed).open())
    yield made
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def objects(installed: Cluster, yards: tuple[Yard, Yard, Yard]) -> list[dict[str, Any]]:
    """What the chart makes for the two."""
    names = ",".join(each.namespace for each in yards[:2])
    made = rendered(
        installed,
        f"operator.namespaces={{{names}}}",
        "crds.install=false",
        "priorityClass.create=false",
        release="confined",
        system=SYSTEM,
    )
    return [each for each in made if each["kind"] in RIGHTS and "-test" not in each["metadata"]["name"]]


@pytest.fixture(scope="module")
def confined(
    installed: Cluster,
    operator: OperatorProcess,
    yards: tuple[Yard, Yard, Yard],
    objects: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OperatorProcess]:
    """An operator with the rights of the chart for two namespaces, that is told of a third."""
    installed.kubectl("create", "namespace", SYSTEM)
    text = "---\n".join(yaml.safe_dump(each) for each in objects)
    installed.kubectl("apply", "--server-side", "-f", "-", input=text)
    folder = tmp_path_factory.mktemp("confined")
    kubeconfig = account_kubeconfig(installed, folder, ACCOUNT, SYSTEM)
    namespaces = json.dumps([*(each.namespace for each in yards[:2]), MISSING])
    operator.stop()
    try:
        with operator_process(
            installed, kubeconfig, folder, "confined", ready=False, namespace=SYSTEM, namespaces=namespaces
        ) as process:
            process.wait_ready(READY)
            yield process
            for each in yards:  # or the other operator would look after what is left, in namespaces that go
                each.kubectl("delete", "tyj,tyi", "--all", "--wait=true", "--timeout=90s")
    finally:
        operator.start()
        operator.wait_ready(READY)
        installed.kubectl("delete", "-f", "-", input=text)
        installed.kubectl("delete", "namespace", SYSTEM, "--wait=false")


def test_no_right_of_the_cluster_is_on_what_lives_in_a_namespace(objects: list[dict[str, Any]]) -> None:
    assert {each.split()[1] for each in granted(objects, ACCOUNT, "ClusterRole")} == OF_THE_CLUSTER


def test_its_rights_suffice_and_each_is_used(
    confined: OperatorProcess, yards: tuple[Yard, Yard, Yard], objects: list[dict[str, Any]]
) -> None:
    assert confined.running
    first, second, foreign = yards
    foreign.job("unseen", completes_after("1s"))
    second.job("digits", completes_after("1s"))
    journey(first)
    # Of the flavor that all tests share there is nothing new to be said.
    first.create(b.a_flavor(first.namespace))
    first.kubectl("wait", "--for=jsonpath={.status.conditions}", f"tyf/{first.namespace}", "--timeout=120s")
    first.delete("Flavor", first.namespace)
    second.until_phase("digits", "Complete", 120)
    assert foreign.status("unseen") == {}, "the operator does not know of it"
    calls = [each for each in audited(first.cluster, USER) if MISSING not in each["requestURI"]]
    refused = [(each["verb"], each["requestURI"]) for each in calls if each["responseStatus"].get("code") in (401, 403)]
    assert [each for each in refused if not each[1].split("?")[0].endswith(("/pods", "/events"))] == []
    namespaces = {each["objectRef"].get("namespace", "") for each in calls if each.get("objectRef")}
    assert namespaces - {"", SYSTEM, "default", first.namespace, second.namespace} == set()
    used = {right(each["verb"], each["objectRef"]) for each in calls if each.get("objectRef")}
    given = set(granted(objects, ACCOUNT))
    assert given - used - SPARE.keys() == set(), "granted and never used"
    assert {each for each in used if each.split()[1] != "/"} - given - {"list coordination.k8s.io/leases"} == set()


def test_a_namespace_that_is_missing_is_told_and_disturbs_nobody(confined: OperatorProcess) -> None:
    with urlopen(f"{confined.url}/readyz", timeout=5) as answer:
        told = json.load(answer)
    assert told["ok"], told
    assert told["checks"]["unseen"].startswith(f"namespace {MISSING}: ")
    assert "cannot" in told["checks"]["unseen"]
    with urlopen(f"{confined.url}/metrics", timeout=5) as answer:
        views = [line for line in answer.read().decode().splitlines() if line.startswith("trainyard_namespace_view{")]
    # No ClusterRole names it, so nobody knows whether it is there.
    assert f'trainyard_namespace_view{{namespace="{MISSING}",state="refused"}} 1.0' in views
    assert sum('state="seen"' in each for each in views) == 2
