"""What caches keep of an object is enough to understand the next change of it, and far less than the object."""

import json
from typing import Any

import pytest

from tests import builders as b
from tests.simulation.fake_nodes import node
from trainyard.admission.following import asks, node_gist, over
from trainyard.api.names import API_VERSION, RESTORING
from trainyard.metrics.of_operator import _unobserved
from trainyard.workloads.kept import KEPT, identity
from trainyard.workloads.keys import Key
from trainyard.workloads.world import World

OWNER = {"apiVersion": API_VERSION, "kind": "TrainingJob", "name": "a", "uid": "u-a", "controller": True}


def a_pod(phase: str = "Running", uid: str = "u1", **labels: str) -> b.Object:
    metadata = {
        "name": "a-worker-0-1",
        "namespace": "team",
        "uid": uid,
        "resourceVersion": "7",
        "creationTimestamp": "2026-11-23T00:00:00Z",
        "labels": {"trainyard.dev/job": "a", **labels},
        "annotations": {"note": "x" * 2000},
        "ownerReferences": [OWNER],
    }
    containers = [{"name": "trainer", "env": [{"name": "X", "value": "y" * 2000}]}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": "n0", "containers": containers},
        "status": {"phase": phase},
    }


def told(kind: str, states: list[b.Object | None], *, kept: bool) -> tuple[list[set[Key]], World]:
    """What a world says to a history, if it is given the state before whole, or as it is kept."""
    world, answers = World(), []
    before: b.Object | None = None
    for state in states:
        old = KEPT[kind](before) if kept and before else before
        answers.append(world.observe(kind, old, state))
        before = state
    return answers, world


JOB = b.training_job("a", b.meta(uid="u-a", resourceVersion="3", generation=1))
HISTORIES: dict[str, tuple[str, list[b.Object | None]]] = {
    "a pod ends and goes": ("Pod", [a_pod("Pending"), a_pod(), a_pod("Succeeded"), None]),
    "a pod is made anew": ("Pod", [a_pod(), a_pod(uid="u2"), None]),
    "a gateway goes": ("Pod", [a_pod(**{"trainyard.dev/role": "gateway", "trainyard.dev/service": "s"}), None]),
    "a TensorBoard goes": ("Pod", [a_pod(**{"trainyard.dev/tensorboard": "a"}), None]),
    "a job goes": ("TrainingJob", [JOB, b.training_job("a", b.meta(uid="u-a", generation=2)), None]),
    "a service goes": ("InferenceService", [b.inference_service("s", b.meta(uid="u-s")), None]),
    "a node goes": ("Node", [node("n0", 8), node("n0", 4), None]),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_the_world_understands_as_much_from_what_is_kept(name: str) -> None:
    kind, states = HISTORIES[name]
    whole, kept = told(kind, states, kept=False), told(kind, states, kept=True)
    assert kept[0] == whole[0]
    for each in (kept[1], whole[1]):
        assert each.pods.of("u-a") == ()
        assert list(each.snapshot(()).pods) == []
        assert each.pods.gateways("team", "s") == each.pods.boards("team", "a") == ()


def test_whether_a_change_matters_can_be_told_from_what_is_kept() -> None:
    for phase in ("Running", "Failed"):
        assert over(KEPT["Pod"](a_pod(phase))) == over(a_pod(phase))
    broken = node("n0", 8)
    broken["status"]["conditions"].append({"type": "GPUMissing", "status": "True"})
    for each in (node("n0", 8), broken):
        assert node_gist(KEPT["Node"](each)) == node_gist(each)
    restoring = b.training_job("a", b.meta(generation=2, annotations={RESTORING: "x", "other": "y"}))
    for each in (JOB, restoring, b.training_job("a", b.status(observedGeneration=1), b.meta(generation=1))):
        assert KEPT["TrainingJob"](each)["spec"]["queue"] == "research"
        assert asks(KEPT["TrainingJob"](each)) == asks(each)
        assert _unobserved(KEPT["TrainingJob"](each)) == _unobserved(each)


def test_an_event_and_a_write_need_no_more_than_the_identity() -> None:
    assert identity(JOB) == {
        "apiVersion": API_VERSION,
        "kind": "TrainingJob",
        "metadata": {"name": "a", "namespace": "team", "uid": "u-a", "resourceVersion": "3", "generation": 1},
    }


@pytest.mark.parametrize(
    ("kind", "obj"), [("Pod", a_pod()), ("TrainingJob", JOB | {"status": {"message": "x" * 4000}})]
)
def test_what_is_kept_is_small(kind: str, obj: dict[str, Any]) -> None:
    assert len(json.dumps(KEPT[kind](obj))) < len(json.dumps(obj)) / 4
