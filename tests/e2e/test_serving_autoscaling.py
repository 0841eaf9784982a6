"""The number of replicas on a real cluster: from zero and back with the demand, and by kubectl and HorizontalPodAutoscalers."""

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.e2e.asking import Gateway, Unfinished
from tests.e2e.callers import Callers
from tests.e2e.models import Models
from tests.e2e.platform import GROUP, Platform

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("installed"), pytest.mark.timeout(600)]
SERVICE, MOST = "following", 3
AUTOSCALING = {
    "minReplicas": 0,
    "maxReplicas": MOST,
    "metric": "Rate",
    "target": 5,
    "stableWindowSeconds": 6,
    "panicWindowSeconds": 2,
    "scaleToZeroAfterSeconds": 5,
}


class Following:
    """A service whose replicas follow its callers."""

    def __init__(self, models: Models) -> None:
        self.platform = models.platform
        source = models.source("digits/v1")
        spec: dict[str, Any] = {"autoscaling": AUTOSCALING, "gateway": {"replicas": 1}}
        self.platform.apply(self.platform.service(SERVICE, source, replicas=0, **spec))
        self.gateway = Gateway(self.platform, SERVICE)

    def status(self) -> dict[str, Any]:
        return self.platform.status("tyi", SERVICE)

    def replicas(self) -> dict[str, str]:
        """Address of each, by name."""
        pods = self.platform.pods(f"trainyard.dev/service={SERVICE},trainyard.dev/role=replica")
        return {pod["metadata"]["name"]: pod["status"].get("podIP", "") for pod in pods}

    def ready(self, replicas: int) -> None:
        self.platform.until(
            f"{replicas} ready replicas",
            lambda: self.status()["readyReplicas"] == replicas == len(self.replicas()),
            240,
        )

    def rests(self) -> None:
        self.platform.phase("tyi", SERVICE, "ScaledToZero", 240)
        self.platform.until("all replicas being gone", lambda: not self.replicas(), 90)

    @contextmanager
    def load(self) -> Iterator[Callers]:
        """More requests than three replicas should take, with ease for one."""
        callers = Callers(self.platform, SERVICE, callers=8, think_seconds=0.2)
        callers.start()
        try:
            yield callers
        finally:
            callers.stop()

    def busy(self) -> list[str]:
        """Replicas that have a request to answer."""
        return [name for name, address in self.replicas().items() if address and _in_flight(address)]

    def a_busy_one(self, requests: ExitStack) -> tuple[str, Unfinished]:
        """A replica that has a request to answer, and this request. It is not the oldest, who would stay anyway."""
        request = requests.enter_context(self.gateway.slowly())
        (busy,) = self.platform.until("a busy replica", self.busy)
        if busy != min(self.replicas(), key=lambda name: int(name.rpartition("-")[2])):
            return busy, request
        another = requests.enter_context(self.gateway.slowly())
        self.platform.until("a second busy replica", lambda: len(self.busy()) == 2)
        request.finish()
        self.platform.until("the first having answered", lambda: len(self.busy()) == 1)
        return self.busy()[0], another


def _in_flight(address: str) -> bool:
    """As the model server says."""
    with urllib.request.urlopen(f"http://{address}:8080/metrics", timeout=10) as answer:
        return b"trainyard_server_in_flight_requests 0.0" not in answer.read()


@pytest.fixture(scope="module")
def following(models: Models) -> Iterator[Following]:
    made = Following(models)
    yield made
    made.platform.delete("tyi", SERVICE)


@pytest.mark.fault(90)
def test_a_request_to_a_service_without_replicas_is_held_and_answered_after_the_start(following: Following) -> None:
    following.rests()
    began = time.monotonic()
    answer = following.gateway.infer(seconds=240)
    assert answer.status == 200, answer
    assert time.monotonic() - began > 1
    following.platform.until("the start being learned", lambda: following.status()["scaling"]["coldStart"]["starts"])
    assert any(each.startswith("0 to 1 replicas (FromZero)") for each in following.platform.events(SERVICE, "ScaledUp"))


def test_load_brings_more_replicas_and_the_status_explains_why_no_more(following: Following) -> None:
    with following.load() as callers:
        following.ready(MOST)
        scaling = following.status()["scaling"]
        failures = callers.failures()
    assert scaling["desired"] == MOST
    (limit,) = scaling["limits"]
    assert limit.startswith("wanted ")
    assert limit.endswith(f"spec.autoscaling.maxReplicas is {MOST}")
    assert scaling["message"].startswith(f"{MOST}: ")
    assert "requests a second" in scaling["message"]
    assert "one replica takes 5" in scaling["message"]
    assert scaling["demand"] > 4 * MOST
    assert any(f"to {MOST} replicas" in each for each in following.platform.events(SERVICE, "ScaledUp"))
    assert failures == []


def test_when_it_gets_quiet_the_idle_replicas_go_and_the_busy_one_answers(following: Following) -> None:
    with following.load():
        following.ready(MOST)
    with ExitStack() as requests:
        busy, request = following.a_busy_one(requests)
        following.platform.until("one replica being left", lambda: len(following.replicas()) == 1, 240)
        assert list(following.replicas()) == [busy]
        assert request.finish().status == 200
    assert following.platform.events(SERVICE, "ScaledDown")


def test_after_a_while_without_a_request_no_replica_is_left(following: Following) -> None:
    following.gateway.infer(seconds=240)
    following.rests()
    status = following.status()
    assert (status["desiredReplicas"], status["scaling"]["reason"], status["admission"]) == (0, "Idle", [])


@pytest.fixture
def plain(models: Models) -> Iterator[Platform]:
    """A service `counted` without autoscaling of ours, and without replicas."""
    source = models.source("digits/v1")
    models.platform.apply(models.platform.service("counted", source, replicas=0, gateway={"replicas": 1}))
    yield models.platform
    models.platform.delete("hpa", "counted")
    models.platform.delete("tyi", "counted")


def test_kubectl_scale_and_a_horizontal_pod_autoscaler_set_the_replicas(plain: Platform) -> None:
    plain.phase("tyi", "counted", "ScaledToZero")
    plain.cluster.kubectl("scale", "-n", plain.namespace, "tyi/counted", "--replicas=1")
    plain.phase("tyi", "counted", "Ready", 240)
    path = f"/apis/trainyard.dev/v1alpha1/namespaces/{plain.namespace}/inferenceservices/counted/scale"
    scale = json.loads(plain.cluster.kubectl("get", "--raw", path))
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (1, 1)
    assert [pod["metadata"]["name"] for pod in plain.pods(scale["status"]["selector"])] == ["counted-1"]
    # No metrics are served here: what it does without any is to keep to its limits, through the same call.
    target = {"apiVersion": GROUP, "kind": "InferenceService", "name": "counted"}
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "counted", "namespace": plain.namespace},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3},
    }
    plain.apply(hpa)
    plain.until("two ready replicas", lambda: plain.status("tyi", "counted")["readyReplicas"] == 2, 240)
    assert plain.get("tyi", "counted")["spec"]["replicas"] == 2
