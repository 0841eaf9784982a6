"""Sick nodes at the level `act`, on a real cluster: a job that trains leaves one after a checkpoint, and it comes back; people have the last word.

The operator has the rights that the chart gives at that level. Signs are written as a monitor and as the adapter of DCGM's exporters
write them. Ten minutes of validation are not waited for: the node's record says since when it is quiet, and that time is moved.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dev.cluster import Cluster
from tests.e2e.faults import Rig
from tests.e2e.platform import Platform
from trainyard.api.names import GPU_ERRORS, NODE_HEALTH
from trainyard.cli.__main__ import main
from trainyard.nodes import errors
from trainyard.nodes.errors import ErrorKind, GpuError
from trainyard.nodes.states import VALIDATE_SECONDS
from trainyard.nodes.times import written

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
CHART = Path(__file__).parents[2] / "helm" / "trainyard"


class Node:
    """A node as monitors, people and the operator see it."""

    def __init__(self, platform: Platform, name: str) -> None:
        self.platform, self.name = platform, name

    def _patch(self, change: dict[str, Any], *options: str) -> None:
        self.platform.cluster.kubectl("patch", "node", self.name, "-p", json.dumps(change), *options)

    def says(self, status: str) -> None:
        """A monitor's condition that a GPU is off the bus, or is not any more."""
        now = written(datetime.now(UTC))
        told = {
            "type": "GpuXidError",
            "status": status,
            "reason": "NvidiaXID79Error",
            "message": "ErrorCode:79 gpu:0 Recommended Action=NODE_REBOOT;",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        self._patch({"status": {"conditions": [told]}}, "--subresource=status")

    def counts(self, *found: GpuError) -> None:
        """What the adapter of DCGM's exporters writes."""
        self._patch({"metadata": {"annotations": {GPU_ERRORS: errors.write(found)}}})

    def forget(self) -> None:
        """All that was said of it, and what the operator made of it."""
        self._patch({"metadata": {"annotations": {GPU_ERRORS: None, NODE_HEALTH: None}}})
        self.uncordon()

    def uncordon(self) -> None:
        self.platform.cluster.kubectl("uncordon", self.name)

    @property
    def _object(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.platform.cluster.kubectl("get", "node", self.name, "-o", "json"))
        return found

    def cordoned(self) -> bool:
        return bool(self._object["spec"].get("unschedulable"))

    def record(self) -> dict[str, Any]:
        """What the operator keeps of it."""
        found: dict[str, Any] = json.loads(self._object["metadata"].get("annotations", {}).get(NODE_HEALTH, "{}"))
        return found

    def state(self) -> str:
        return str(self.record().get("state", "healthy"))

    def was_quiet_for(self, seconds: float) -> None:
        """As if nothing had been said against it for so long already."""
        since = datetime.fromisoformat(self.record()["quietSince"]) - timedelta(seconds=seconds)
        record = json.dumps(self.record() | {"quietSince": written(since)})
        self._patch({"metadata": {"annotations": {NODE_HEALTH: record}}})

    def told(self) -> set[str]:
        """Reasons of the events about it."""
        words = ("get", "events", "-A", "--field-selector", f"involvedObject.name={self.name}", "-o", "json")
        return {each["reason"] for each in json.loads(self.platform.cluster.kubectl(*words))["items"]}


@pytest.fixture(scope="module")
def acting(installed: Cluster) -> Iterator[Cluster]:
    """The next module's installation takes it back."""
    words = ("--namespace", "trainyard-system", "--reset-then-reuse-values", "--set=nodeHealth.level=act")
    installed.helm("upgrade", "trainyard", str(CHART), *words, "--wait", "--timeout=180s")
    yield installed
    for each in installed.nodes:
        Node(Platform(installed, "default"), each.name).forget()


@pytest.fixture
def rig(acting: Cluster, platform: Platform) -> Iterator[Rig]:
    assert acting is platform.cluster
    rig = Rig(platform, "leaves").start(workers=1)
    yield rig
    rig.delete()


@pytest.mark.fault(48, 50)
def test_a_job_leaves_a_broken_node_with_its_last_step_and_the_node_comes_back_when_it_is_repaired(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    platform, before = rig.platform, rig.before()
    node = Node(platform, rig.pod(0)["spec"]["nodeName"])
    node.says("True")
    try:
        platform.until("the node being cordoned", node.cordoned, 150)
        said = rig.trains_again(before)
        assert rig.pod(0)["spec"]["nodeName"] != node.name
        assert said["restoredStep"] >= before.step, "the checkpoint is made when the node is to be left, not before"
        platform.until("the node being empty", lambda: node.state() == "validating")
    finally:
        node.says("False")
    platform.until("the repair being seen", lambda: node.record().get("quietSince"))
    assert node.cordoned(), "it is watched for a while"
    node.was_quiet_for(VALIDATE_SECONDS)
    platform.until("the node being used again", lambda: not node.cordoned() and node.state() == "healthy")
    assert {"NodeQuarantined", "NodeDraining", "NodeDrained", "NodeHealthy"} <= node.told()
    rig.productive(before.run)
    (incident,) = platform.until("the incident being over", lambda: _incidents(platform, capsys))
    assert (incident["node"], incident["cause"], incident["outcome"]) == (node.name, "Node", "Recovered")
    assert incident["restoredStep"] == said["restoredStep"] >= incident["step"]
    assert "XID 79" in incident["message"]


def _incidents(platform: Platform, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Those that are over, as `trainyard incidents` tells them."""
    capsys.readouterr()
    words = ("leaves", "-n", platform.namespace, "-o", "json", "--kubeconfig", str(platform.cluster.kubeconfig))
    assert main(["incidents", *words]) == 0
    found = json.loads(capsys.readouterr().out)["incidents"]
    return [each for each in found if each["outcome"] != "Open"]


@pytest.mark.fault(54)
def test_a_persons_uncordon_wins_over_what_the_exporters_count(acting: Cluster, platform: Platform) -> None:
    node = Node(platform, acting.nodes[-1].name)
    now = datetime.now(UTC)
    error = GpuError("1", ErrorKind.XID, 1, 1.0, now, code=119)
    node.counts(error)
    platform.until("the node being cordoned", node.cordoned, 150)
    assert "XID 119" in node.record()["why"]
    node.uncordon()
    platform.until("the operator giving way", lambda: node.record().get("settled") and node.state() == "healthy")
    assert not node.cordoned()
    node.counts(error.more(1, datetime.now(UTC) + timedelta(seconds=1), boot=""))
    platform.until("the next one being something new", lambda: node.state() == "quarantined")
