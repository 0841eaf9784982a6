"""What pods of ours are made of, and what is read from them."""

from typing import Any

import pytest

from trainyard.api.flavor import FlavorSpec
from trainyard.api.meta import ResourceRequirements, Toleration
from trainyard.api.names import GPU
from trainyard.nodes.times import parse
from trainyard.workloads.pod_requests import pod_requests
from trainyard.workloads.pod_state import pod_state
from trainyard.workloads.pod_template import build_pod, metadata, owner_reference, pod_set, restricted_container

OWNER = owner_reference("TrainingJob", "a", "u")
CONTAINER = {"name": "trainer", "image": "ours", "command": ["agent"], "env": [{"name": "HOME", "value": "/tmp"}]}


def built(template: dict[str, Any], flavor: FlavorSpec | None = None) -> dict[str, Any]:
    meta = metadata("a-worker-0-1", "team", OWNER, {"trainyard.dev/job": "a"})
    return build_pod(template, meta, dict(CONTAINER), [{"name": "ours"}], node="n1", flavor=flavor, restart="Never")


def test_a_pod_is_pinned_restricted_and_ours() -> None:
    pod = built({})
    term = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["nodeSelectorTerms"][0]["matchFields"][0]["values"] == ["n1"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert pod["spec"]["priorityClassName"] == "trainyard-gang"
    assert pod["metadata"]["ownerReferences"] == [OWNER]
    assert restricted_container()["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.fault(79)
def test_a_template_adds_and_never_takes_what_makes_the_pod_ours() -> None:
    theirs = {
        "metadata": {"labels": {"x": "y", "trainyard.dev/job": "forged"}, "name": "mine"},
        "spec": {
            "nodeName": "n9",
            "priorityClassName": "evicts-others",
            "preemptionPolicy": "PreemptLowerPriority",
            "containers": [
                {"name": "trainer", "command": ["sh"], "env": [{"name": "HOME"}, {"name": "MINE"}], "workingDir": "/w"},
                {"name": "sidecar"},
            ],
            "volumes": [{"name": "theirs"}],
            "tolerations": [{"key": "mine"}],
        },
    }
    pod = built(theirs, FlavorSpec(tolerations=[Toleration(key="gpu", operator="Exists")]))
    main, sidecar = pod["spec"]["containers"]
    assert pod["metadata"]["labels"]["trainyard.dev/job"] == "a"
    assert pod["metadata"]["labels"]["x"] == "y"
    assert (pod["metadata"]["name"], main["command"], main["workingDir"]) == ("a-worker-0-1", ["agent"], "/w")
    assert main["env"] == [{"name": "HOME", "value": "/tmp"}, {"name": "MINE"}]
    assert sidecar["name"] == "sidecar"
    assert {"nodeName", "preemptionPolicy"}.isdisjoint(pod["spec"])
    assert pod["spec"]["priorityClassName"] == "trainyard-gang"
    assert [each["name"] for each in pod["spec"]["volumes"]] == ["ours", "theirs"]
    assert pod["spec"]["tolerations"] == [{"key": "mine"}, {"key": "gpu", "operator": "Exists"}]


def test_sidecars_and_init_containers_are_counted_as_the_scheduler_counts_them() -> None:
    spec = {
        "initContainers": [
            {"resources": {"limits": {"cpu": "4"}}},
            {"restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
        ],
        "containers": [{"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}}}, {}],
        "overhead": {"cpu": "100m"},
    }
    assert pod_requests(spec) == {"cpu": 4100}


def test_what_is_asked_for_the_pod_as_a_whole_is_counted_and_not_what_its_containers_ask_for() -> None:
    container = {"resources": {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": 1}}}
    whole = {"requests": {"cpu": "64"}, "limits": {"memory": "1Ki"}}
    spec = {"containers": [container], "resources": whole, "overhead": {"cpu": "1"}}
    assert pod_requests(spec) == {"cpu": 65_000, "nvidia.com/gpu": 1000, "memory": 1_024_000}


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"name": "x", "resources": {"limits": {"cpu": "lots"}}}]},
        {"containers": None},
        {"containers": ["x"]},
        {"tolerations": [{"operator": "Sometimes"}]},
        {"affinity": {"nodeAffinity": {"x": 1}}},
        {"nodeSelector": []},
    ],
)
def test_a_template_that_makes_no_sense_is_a_value_error(spec: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        pod_set("worker", 1, ResourceRequirements(limits={GPU: "1"}), {"spec": spec})


def test_a_pods_state_is_read() -> None:
    state = pod_state(
        {
            "metadata": {
                "name": "p",
                "uid": "u",
                "labels": {"trainyard.dev/attempt": "2", "trainyard.dev/index": "x"},
                "creationTimestamp": "2026-11-23T00:00:00Z",
            },
            "spec": {"nodeName": "n"},
            "status": {
                "phase": "Failed",
                "containerStatuses": [
                    {"name": "other"},
                    {
                        "name": "trainer",
                        "restartCount": 2,
                        "state": {"terminated": {"exitCode": 64, "message": '{"cause": "x"}'}},
                    },
                ],
            },
        },
        "trainer",
    )
    assert (state.attempt, state.index, state.finished, state.bound, state.running) == (2, 0, True, True, False)
    assert state.exit is not None
    assert (state.exit.code, state.exit.report, state.restarts) == (64, {"cause": "x"}, 2)
    assert parse(None) is None


@pytest.mark.fault(66)
def test_a_waiting_pod_says_what_for() -> None:
    status = {
        "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}],
        "containerStatuses": [
            {"name": "trainer", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such"}}}
        ],
    }
    state = pod_state({"metadata": {"name": "p", "uid": "u"}, "status": status}, "trainer")
    assert (state.waiting, state.unschedulable, state.phase) == ("ErrImagePull: no such", "0/3 nodes", "Pending")


def test_a_kubelets_refusal_is_told_from_a_failure() -> None:
    def refused(reason: str) -> bool:
        pod = {"metadata": {"name": "p", "uid": "u"}, "status": {"phase": "Failed", "reason": reason}}
        return pod_state(pod, "trainer").refused_by_node

    assert refused("OutOfnvidia.com/gpu")
    assert not refused("Evicted")
