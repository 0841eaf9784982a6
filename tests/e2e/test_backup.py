"""All of Trainyard's objects are lost, the claim stays: what comes back goes on from its checkpoint, and the others wait in their order."""

import json
import time
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.faults import Rig
from tests.e2e.platform import Platform
from trainyard.api.names import INCIDENTS, LEARNED, OUTCOMES
from trainyard.cli.__main__ import main

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
WAITING = ("zebra", "apple")
"""In the order in which they came, which is not that of their names."""


def test_a_lost_yard_comes_back_in_its_order_and_training_goes_on_from_its_checkpoint(
    platform: Platform, tmp_path: Path
) -> None:
    rig = Rig(platform, "trains").start(workers=2)
    _let_others_wait(platform)
    file = tmp_path / "yard.jsonl.gz"
    _run(platform, "backup", "-o", str(file))
    before = rig.before()
    _lose_everything(platform)
    assert platform.get("pvc", "results")["status"]["phase"] == "Bound"

    _run(platform, "restore", str(file))
    said = rig.trains_again(before)
    assert said["restoredStep"] >= before.checkpoint, "also a checkpoint that is later than the backup counts"
    told = platform.until("the status telling it", lambda: rig.status()["progress"].get("restoredStep"))
    assert told == said["restoredStep"]
    platform.until("steps beyond", lambda: rig.progress().get("step", 0) > said["restoredStep"])
    platform.until("the queue", lambda: _positions(platform) == [1, 2])
    assert rig.status()["phase"] == "Running"


def _let_others_wait(platform: Platform) -> None:
    for position, name in enumerate(WAITING, 1):
        platform.apply(platform.job(name, workers=2, gpus=4, storage=None))
        platform.until(f"{name} waiting", partial(_waits_at, platform, name, position))
        time.sleep(1)  # of those that came in one second the names decide


def _waits_at(platform: Platform, name: str, position: int) -> bool:
    return bool(platform.status("tyj", name).get("queuePosition") == position)


def _positions(platform: Platform) -> list[int | None]:
    return [platform.status("tyj", name).get("queuePosition") for name in WAITING]


def _lose_everything(platform: Platform) -> None:
    """Jobs, queue, flavor and what the operator learned."""
    cluster, namespace = platform.cluster, platform.namespace
    cluster.kubectl("delete", "tyj", "--all", "-n", namespace, "--wait=true", "--timeout=90s")
    cluster.kubectl("delete", "tyq,tyf", "--all", "--wait=true", "--timeout=90s")
    maps = ("configmap", LEARNED, INCIDENTS, OUTCOMES)
    cluster.kubectl("delete", *maps, "-n", "trainyard-system", "--ignore-not-found")
    platform.until("all pods being gone", lambda: not platform.pods("trainyard.dev/job"))
    left = json.loads(cluster.kubectl("get", "tyq,tyf,tyj", "-A", "-o", "json"))["items"]
    assert left == []


def _run(platform: Platform, *words: str) -> None:
    assert main([*words, "--kubeconfig", str(platform.cluster.kubeconfig)]) == 0
