"""A real TensorBoard on a real cluster: what its server answers through the Service, across restarts, ends and switches."""

import json
from typing import Any

import pytest

from tests.e2e.platform import Platform

pytestmark = pytest.mark.e2e
LONG = 2000  # epochs that no test waits for
RUN = "worker"

GET = "import sys, urllib.request; print(urllib.request.urlopen('http://{service}{path}', timeout=10).read().decode())"
KILL = "import os, pathlib; os.kill(int(pathlib.Path('/tmp/trainyard/worker-0.pid').read_text()), 9)"


def shown(platform: Platform, name: str) -> dict[str, Any]:
    """The status, once the TensorBoard is ready."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = platform.status("tyj", name).get("tensorboard") or {}
        return found if found.get("state") == "Ready" else None

    found: dict[str, Any] = platform.until(f"TensorBoard of {name} becoming ready", look, 120)
    return found


def pod_of(platform: Platform, name: str) -> dict[str, Any]:
    return platform.pods(f"trainyard.dev/tensorboard={name}")[0]


def asked(platform: Platform, name: str, path: str) -> Any:
    """What the server answers through its Service."""
    script = GET.format(service=platform.status("tyj", name)["tensorboard"]["service"], path=path)
    return json.loads(platform.in_worker(pod_of(platform, name)["metadata"]["name"], script))


def tags(platform: Platform, name: str) -> dict[str, Any]:
    found: dict[str, Any] = asked(platform, name, "/data/plugin/scalars/tags").get(RUN, {})
    return found


def steps(platform: Platform, name: str, tag: str) -> list[int]:
    points = asked(platform, name, f"/data/plugin/scalars/scalars?run={RUN}&tag={tag}")
    return [step for _, step, _ in points]


def switch(platform: Platform, name: str, *, on: bool) -> None:
    platform.patch("tyj", name, {"spec": {"tensorboard": on}})


def left(platform: Platform, name: str) -> list[str]:
    """What there is of it."""
    both = (f"deployment/{name}-tensorboard", f"service/{name}-tensorboard")
    found = platform.cluster.kubectl("get", *both, "-n", platform.namespace, "-o", "name", "--ignore-not-found")
    return [*found.split(), *(pod["metadata"]["name"] for pod in platform.pods(f"trainyard.dev/tensorboard={name}"))]


def test_curves_are_seen_through_the_service_and_go_on_after_a_restart(platform: Platform) -> None:
    training = {"epochs": LONG, "batchSize": 64, "checkpointEverySteps": 20}
    platform.apply(platform.job("live", tensorboard=True, training=training))
    shown(platform, "live")
    platform.until("the loss being shown", lambda: "train/loss" in tags(platform, "live"))
    assert {"train/loss", "train/learning_rate"} <= tags(platform, "live").keys()
    platform.until("forty steps", lambda: steps(platform, "live", "train/loss")[-1] > 40)
    before = steps(platform, "live", "train/loss")
    platform.in_worker("live-worker-0-1", KILL)
    platform.until("a restart", lambda: platform.status("tyj", "live").get("restarts"))
    after = platform.until(
        "further steps", lambda: (now := steps(platform, "live", "train/loss"))[-1] > before[-1] + 20 and now
    )
    assert after == sorted(set(after))
    assert "held_out/accuracy" in platform.until("measures", lambda: tags(platform, "live"))


def test_it_outlives_the_job_until_it_is_switched_off_and_comes_back_when_asked(platform: Platform) -> None:
    platform.apply(platform.job("done", tensorboard=True))
    platform.phase("tyj", "done", "Complete")
    shown(platform, "done")
    platform.until("the loss being shown", lambda: "train/loss" in tags(platform, "done"))
    switch(platform, "done", on=False)
    platform.until("all of it going", lambda: not left(platform, "done"), 60)
    assert "tensorboard" not in platform.status("tyj", "done")
    switch(platform, "done", on=True)
    shown(platform, "done")
    platform.until("the measures being shown", lambda: "held_out/accuracy" in tags(platform, "done"))
    platform.cluster.kubectl("delete", "tyj", "done", "-n", platform.namespace, "--wait=true", "--timeout=60s")
    platform.until("all of it going with the job", lambda: not left(platform, "done"), 90)


def test_with_a_claim_of_one_node_it_runs_beside_the_worker(platform: Platform) -> None:
    platform.apply(
        platform.claim("mine", "ReadWriteOnce"), platform.job("alone", epochs=LONG, storage="mine", tensorboard=True)
    )
    assert "on the worker's node" in shown(platform, "alone")["message"]
    worker = platform.pods("trainyard.dev/job=alone")[0]
    assert pod_of(platform, "alone")["spec"]["nodeName"] == worker["spec"]["nodeName"]
    platform.patch("tyj", "alone", {"spec": {"suspend": True}})
    platform.phase("tyj", "alone", "Suspended")
    platform.until("it letting go of the volume", lambda: not platform.pods("trainyard.dev/tensorboard=alone"), 60)
    assert platform.status("tyj", "alone")["tensorboard"]["state"] == "Waiting"
