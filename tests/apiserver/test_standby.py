"""Two replicas of the operator: both are ready, the Service finds the one that leads, and a drain may take one at a time.

The operators are processes here; the pods of the chart's Deployment, which kwok plays, stand for them in the API.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dev.cluster import Cluster
from dev.cluster.api import ApiError
from dev.operator_process import OperatorProcess
from tests.apiserver.operator_process import SYSTEM, operator_process, rendered
from tests.apiserver.yard import Yard

pytestmark = pytest.mark.apiserver

TAKEOVER = 180
"""Seconds, of which most are spare: a Lease of 15 s must run out, and a process start beside others."""
_HOME = "standby-test"
_TOO_MANY = 429


@pytest.fixture
def release(installed: Cluster) -> Iterator[Yard]:
    """The chart's Deployment with two replicas on a node of a label, its Services and its budget."""
    yard = Yard(installed, SYSTEM)
    node = yard.items("Node")[0]["metadata"]["name"]
    yard.kubectl("label", "node", node, f"{_HOME}=yes")
    objects = [
        each
        for each in rendered(installed, "operator.replicas=2", f"operator.nodeSelector.{_HOME}=yes")
        if each["kind"] in ("Deployment", "Service", "PodDisruptionBudget")
    ]
    text = "---\n".join(yaml.safe_dump(each) for each in objects)
    yard.kubectl("apply", "-f", "-", stdin=text)
    yard.kubectl("rollout", "status", "deployment/trainyard", "--timeout=180s")
    yield yard
    yard.kubectl("delete", "--ignore-not-found", "--cascade=foreground", "-f", "-", stdin=text)
    yard.kubectl("label", "node", node, f"{_HOME}-")


@pytest.fixture
def free_lease(operator: OperatorProcess) -> Iterator[None]:
    """The operator that other tests share is away."""
    operator.stop()
    yield
    operator.start()
    operator.wait_ready(TAKEOVER)


def _replicas(yard: Yard) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in yard.items("Pod"))


def _asked(yard: Yard, service: str) -> list[str]:
    """Pods that a Service sends requests to."""
    answer = yard.kubectl("get", "endpointslices", "-l", f"kubernetes.io/service-name={service}", "-o", "json")
    ends = [end for each in json.loads(answer)["items"] for end in each.get("endpoints") or ()]
    return sorted(end["targetRef"]["name"] for end in ends if end["conditions"]["ready"])


def test_both_are_ready_and_the_service_follows_the_leader(
    release: Yard, installed: Cluster, account: Path, tmp_path: Path, free_lease: None
) -> None:
    first, second = _replicas(release)
    with operator_process(installed, account, tmp_path, first, ready=False, pod=first) as leader:
        leader.wait_ready(TAKEOVER)
        with operator_process(installed, account, tmp_path, second, ready=False, pod=second):
            _follows(release, leader, first, second)


def _follows(release: Yard, leader: OperatorProcess, first: str, second: str) -> None:
    release.until(lambda: _asked(release, "trainyard") == [first], seconds=TAKEOVER)
    assert _asked(release, "trainyard-metrics") == [first, second]
    leader.kill()  # so its label stays
    release.until(lambda: _asked(release, "trainyard") == [first, second], seconds=TAKEOVER)
    leader.start()
    leader.wait_ready(TAKEOVER)
    release.until(lambda: _asked(release, "trainyard") == [second], seconds=TAKEOVER)


def test_a_drain_takes_one_and_waits_for_the_next(release: Yard) -> None:
    first, second = _replicas(release)
    budget = "jsonpath={.status.disruptionsAllowed}"
    release.until(lambda: release.kubectl("get", "pdb", "trainyard", "-o", budget) == "1", seconds=60)
    release.kubectl("label", "nodes", "--all", f"{_HOME}-")  # a new one finds no place
    _evict(release, first)
    with pytest.raises(ApiError, match="disruption budget") as refusal:
        _evict(release, second)
    assert refusal.value.code == _TOO_MANY


def _evict(yard: Yard, name: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": SYSTEM}}
    yard.api.request("POST", f"{yard.path('Pod')}/{name}/eviction", eviction)
