"""An elastic job on a real cluster that gets more and fewer workers: those that stay keep their pods, and no step is lost."""

import json
from typing import Any

import pytest

from dev.cluster import ClusterError
from tests.e2e.platform import Platform

pytestmark = pytest.mark.e2e
PROGRESS = "print(open('/tmp/trainyard/progress.json').read())"
TRAINING = {"epochs": 100_000, "batchSize": 64, "checkpointEverySteps": 40}


def _size(platform: Platform, workers: int) -> None:
    platform.patch("tyj", "wide", {"spec": {"workers": {"replicas": workers}}})


def _progress(platform: Platform, workers: int) -> dict[str, Any] | None:
    """What rank 0 says, once so many train and have made a step."""
    try:
        said: dict[str, Any] = json.loads(platform.in_worker("wide-worker-0-1", PROGRESS))
    except (ClusterError, ValueError):  # it is not there yet
        return None
    trains = (said["worldSize"], said["phase"]) == (workers, "training")
    return said if trains and said["step"] > (said["restoredStep"] or 0) else None


def test_workers_come_and_go_while_the_others_keep_their_pods(platform: Platform) -> None:
    job = platform.job("wide", training=TRAINING)
    job["spec"]["workers"]["minReplicas"] = 1
    platform.apply(job)
    before = platform.until("a step", lambda: _progress(platform, 1), 120)
    uid = platform.get("pod", "wide-worker-0-1")["metadata"]["uid"]
    _size(platform, 2)
    grown = platform.until("two that train", lambda: _progress(platform, 2), 240)
    assert grown["restoredStep"] >= before["step"]
    platform.until("the end of growing", lambda: not platform.status("tyj", "wide").get("resizing"))
    at = _progress(platform, 2) or grown
    _size(platform, 1)
    shrunk = platform.until("one that trains", lambda: _progress(platform, 1), 120)
    assert shrunk["restoredStep"] >= at["step"]
    status = platform.until(
        "the end of shrinking", lambda: s if not (s := platform.status("tyj", "wide")).get("resizing") else None
    )
    assert (status["attempt"], status["restarts"], status["gpus"]) == (1, 0, 1)
    assert platform.get("pod", "wide-worker-0-1")["metadata"]["uid"] == uid
