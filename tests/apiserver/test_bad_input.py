"""What users get wrong, against the real API server and the real operator: each mistake is told, and hurts nobody else."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from dev.cluster import Cluster
from dev.operator_process import OperatorProcess
from tests import builders as b
from tests.apiserver.operator_process import log_lines
from tests.apiserver.yard import FLAVOR, Yard, completes_after

pytestmark = pytest.mark.apiserver

CONTENDED = "kwok-0003"


@pytest.fixture(scope="module", autouse=True)
def contended(operator: OperatorProcess, installed: Cluster) -> Iterator[Yard]:
    """A job on a node where somebody else was quicker; begun first, since giving a place up takes 30 seconds.

    Between the decision and the binding others may take what was counted as free. A host port is what we never count.
    """
    assert operator.running
    yard = Yard(installed).open()
    port = {"ports": [{"containerPort": 7000, "hostPort": 7000}]}
    quicker = _foreign("quicker", CONTENDED, 5)
    quicker["spec"]["containers"][0] |= port
    yard.create(quicker)
    time.sleep(1)
    yard.job("late", b.gpus(3), b.template(spec={"containers": [{"name": "trainer", **port}]}))
    yard.until(lambda: yard.status("late").get("admission"), about="late")
    assert yard.status("late")["admission"]["roles"][0]["prefix"] == CONTENDED, "the tightest node comes first"
    yield yard
    yard.close()


NONSENSE: dict[str, tuple[b.Modifier, str]] = {
    "bogus-toleration": (
        b.template(spec={"tolerations": [{"operator": "Bogus"}]}),
        "spec.workers.template: spec.tolerations: operator is 'Bogus'",
    ),
    "half-a-gpu": (b.resources(**{"nvidia.com/gpu": "500m"}), "limits[nvidia.com/gpu]: 500m is not a whole number"),
    "fraction": (b.resources(**{"nvidia.com/gpu": "0.5"}), "limits[nvidia.com/gpu]: 0.5 is not a whole number of GPUs"),
    "negative": (b.resources(**{"nvidia.com/gpu": "-1"}), "limits[nvidia.com/gpu]: -1 is negative"),
    "astronomic": (b.resources(**{"nvidia.com/gpu": "1e30"}), "limits[nvidia.com/gpu]: 1e30 is more than any node"),
    "uncomputable": (b.resources(cpu="1e99999999"), "limits[cpu]: 1e99999999 is more than any node can offer"),
    "ten-pebibytes": (b.resources(memory="10Pi"), "limits[memory]: 10Pi is more than any node can offer"),
    "node-affinity": (
        b.template(spec={"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}}),
        "spec.affinity.nodeAffinity: nodes are chosen by Trainyard",
    ),
    "bad-label": (b.template(metadata={"labels": {"a": "not a label!"}}), 'Invalid value: "not a label!"'),
    "number-in-env": (
        b.template(spec={"containers": [{"name": "trainer", "env": [{"name": "A", "value": 5}]}]}),
        "cannot unmarshal number",
    ),
    "request-above-limit": (
        b.template(
            spec={
                "containers": [
                    {"name": "side", "image": "x", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}
                ]
            }
        ),
        "must be less than or equal to cpu limit",
    ),
}


def test_pods_of_others_are_counted_and_named(yard: Yard) -> None:
    for number in range(4):
        yard.create(_foreign(f"foreign-{number}", f"kwok-000{number + 1}", 6))
    yard.job("squeezed", b.gpus(8))
    message = yard.waits("squeezed", "TopologyPlacementFailed")
    assert "pods outside Trainyard hold " in message
    assert f"{yard.namespace}/foreign-0 (nvidia.com/gpu=6 on kwok-0001)" in message
    yard.delete("Pod", "foreign-3")
    yard.until_phase("squeezed", "Running")
    assert yard.pods("squeezed")[0]["spec"]["nodeName"] == "kwok-0004"


@pytest.mark.fault(38, 81)
def test_nonsense_of_one_user_is_told_and_stops_nobody_else(yard: Yard, operator: OperatorProcess) -> None:
    for name, (modifier, _) in NONSENSE.items():
        yard.job(name, modifier)
    yard.job("gang-of-nonsense", b.workers(2), b.template(spec={"securityContext": 5}))
    yard.job("sane", completes_after("0s"))
    yard.until_phase("sane", "Complete")
    for name, (_, words) in NONSENSE.items():
        assert words in yard.waits(name, "Misconfigured")
    assert "PodSecurityContext" in yard.waits("gang-of-nonsense", "Misconfigured")
    assert {pod["metadata"]["labels"]["trainyard.dev/job"] for pod in yard.items("Pod")} == {"sane"}
    broken = [line for line in log_lines(operator) if "exc_info" in line]
    assert broken == []


def test_a_pod_that_only_looks_like_ours_confuses_nobody(yard: Yard) -> None:
    labels = {"trainyard.dev/role": "gateway", "trainyard.dev/index": "abc", "trainyard.dev/attempt": "x"}
    pod = {"containers": [{"name": "haproxy", "image": "x"}]}
    yard.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "fake", "labels": labels}, "spec": pod})
    yard.job("sane", completes_after("0s"))
    yard.until_phase("sane", "Complete")


def test_last_words_in_a_programs_own_format_do_not_hold_up_its_job(yard: Yard) -> None:
    yard.job("own-words", b.spec(restart={"maxRestarts": 0}))
    yard.until_phase("own-words", "Running")
    words = '{"level": "error", "step": "loading", "metrics": [1], "result": {}, "checkpoint": {"path": "x"}}'
    ended = {"exitCode": 1, "reason": "Error", "message": words}
    state = [{"name": "trainer", "image": "x", "imageID": "", "ready": False, "restartCount": 0}]
    state[0]["state"] = {"terminated": ended}
    yard.patch("Pod", "own-words-worker-0-1", {"status": {"phase": "Failed", "containerStatuses": state}}, "/status")
    yard.until_phase("own-words", "Failed")
    assert words in yard.condition("own-words", "Failed")["message"]


def test_an_unknown_queue_is_named_beside_those_there_are(yard: Yard) -> None:
    yard.job("lost", b.queue("reserch"))
    message = yard.waits("lost", "Misconfigured")
    assert "spec.queue: there is no Queue 'reserch'" in message
    assert yard.queue in message
    assert yard.pods("lost") == []


def test_a_queue_that_does_not_admit_the_namespace_says_so_until_it_does(yard: Yard) -> None:
    closed = f"{yard.queue}-closed"
    yard.create(b.a_queue(closed, b.open_to(team="nobody"), flavor=FLAVOR))
    yard.job("outside", b.queue(closed))
    message = yard.waits("outside", "Misconfigured")
    assert f"Queue '{closed}' does not admit namespace '{yard.namespace}'" in message
    yard.patch("Namespace", yard.namespace, {"metadata": {"labels": {"team": "nobody"}}})
    yard.until_phase("outside", "Running")
    yard.delete("Queue", closed)


def test_a_held_queue_admits_nothing_until_released(yard: Yard) -> None:
    yard.patch("Queue", yard.queue, {"spec": {"stopPolicy": "Hold"}})
    yard.job("held")
    assert "stopPolicy Hold" in yard.waits("held", "OnHold")
    yard.patch("Queue", yard.queue, {"spec": {"stopPolicy": "None"}})
    yard.until_phase("held", "Running")


@pytest.mark.fault(76)
def test_more_gpus_than_the_queue_could_ever_hold_is_said_with_both_numbers(yard: Yard) -> None:
    yard.job("thousand", b.gpus(1000))
    message = yard.waits("thousand", "ExceedsMaxQuota")
    assert "asks 1000, the queue can hold at most 32" in message
    yard.job("gang", b.gpus(8), b.workers(5))
    assert "asks 40, the queue can hold at most 32" in yard.waits("gang", "ExceedsMaxQuota")


def test_a_pod_larger_than_every_node_is_said_with_the_largest(yard: Yard) -> None:
    yard.job("wide", b.gpus(9))
    message = yard.waits("wide", "TopologyPlacementFailed")
    assert "the largest of them offers 8 nvidia.com/gpu, and one pod asks 9" in message


def test_waiting_for_quota_names_who_holds_it_and_goes_on_when_they_end(yard: Yard) -> None:
    yard.patch("Queue", yard.queue, {"spec": {"flavors": [_quota("2")]}})
    yard.job("holder", b.workers(2))
    yard.until_phase("holder", "Running")
    yard.job("next")
    message = yard.waits("next", "WaitingForQuota")
    assert "asks 1, 2 of 2 are used" in message
    assert f"{yard.namespace}/holder 2" in message
    assert yard.status("next")["queuePosition"] == 1
    yard.patch("TrainingJob", "holder", {"spec": {"suspend": True}})
    yard.until_phase("next", "Running")


def _quota(gpus: str) -> dict[str, Any]:
    return {"name": FLAVOR, "resources": [{"name": "nvidia.com/gpu", "guaranteed": gpus}]}


def test_init_containers_count_against_the_quota(yard: Yard) -> None:
    yard.patch("Queue", yard.queue, {"spec": {"flavors": [_quota("2")]}})
    greedy = {"name": "greedy", "image": "x", "resources": {"limits": {"nvidia.com/gpu": "3"}}}
    yard.job("smuggler", b.template(spec={"initContainers": [greedy]}))
    assert "asks 3, the queue can hold at most 2" in yard.waits("smuggler", "ExceedsMaxQuota")


@pytest.mark.fault(79)
def test_a_template_cannot_choose_its_node(yard: Yard) -> None:
    yard.job("chooser", b.template(spec={"nodeName": "no-such-node"}))
    yard.until_phase("chooser", "Running")
    assert yard.pods("chooser")[0]["spec"]["nodeName"].startswith("kwok-")


@pytest.mark.fault(18, 79)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, "restricted volume types"),
        (
            {"containers": [{"name": "trainer", "securityContext": {"privileged": True}}]},
            "must not set securityContext.privileged=true",
        ),
    ],
    ids=["hostPath", "privileged"],
)
def test_pod_security_of_the_namespace_refuses_a_template(
    yard: Yard, spec: dict[str, Any], words: str, workers: int
) -> None:
    _restrict(yard)
    yard.job("bold", b.workers(workers), b.template(spec=spec))
    message = yard.waits("bold", "Misconfigured")
    assert "spec.workers.template: the API server refuses such a pod" in message
    assert 'violates PodSecurity "restricted:latest"' in message
    assert words in message
    assert yard.pods("bold") == []
    yard.job("modest", b.workers(workers), completes_after("0s"))
    yard.until_phase("modest", "Complete")


def _restrict(yard: Yard) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    yard.patch("Namespace", yard.namespace, {"metadata": {"labels": labels}})


def test_two_workers_on_a_claim_for_one_are_refused_with_the_word(yard: Yard) -> None:
    yard.create(_claim(yard, "narrow", "ReadWriteOnce"))
    yard.job("pair", b.workers(2), b.storage("narrow"))
    message = yard.waits("pair", "Misconfigured")
    assert "2 workers need a claim with ReadWriteMany; this one has ReadWriteOnce" in message
    yard.job("single", b.storage("narrow"))
    yard.until_phase("single", "Running")


@pytest.mark.fault(67)
def test_a_missing_claim_is_named_and_the_job_goes_on_when_it_is_there(yard: Yard) -> None:
    yard.job("early", b.workers(2), b.storage("later"))
    assert "there is no PersistentVolumeClaim 'later'" in yard.waits("early", "Misconfigured")
    yard.create(_claim(yard, "later", "ReadWriteMany"))
    yard.until_phase("early", "Running", 40)  # the volume is made first


def _claim(yard: Yard, name: str, mode: str) -> dict[str, Any]:
    claim = b.a_claim(name, mode, namespace=yard.namespace)
    claim["spec"]["resources"] = {"requests": {"storage": "1Gi"}}
    return claim


def test_one_name_in_two_namespaces_is_two_jobs(yard: Yard, installed: Cluster) -> None:
    other = Yard(installed).open()
    yard.job("twin", b.workers(2))
    other.job("twin", b.workers(2))
    other.until_phase("twin", "Running")
    yard.until_phase("twin", "Running")
    assert len(yard.pods("twin")) == len(other.pods("twin")) == 2
    other.patch("TrainingJob", "twin", {"spec": {"suspend": True}})
    other.until_phase("twin", "Suspended")
    assert other.pods("twin") == []
    assert yard.phase("twin") == "Running"
    other.close()


@pytest.mark.fault(18)
def test_a_full_resource_quota_undoes_the_attempt_and_is_said(yard: Yard) -> None:
    hard = {"spec": {"hard": {"pods": "1"}}}
    yard.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one-pod"}, **hard})
    yard.until(lambda: (yard.get("ResourceQuota", "one-pod") or {}).get("status", {}).get("used"))
    yard.job("pair", b.workers(2))
    message = yard.waits("pair", "Misconfigured")
    assert "exceeded quota: one-pod" in message
    yard.until(lambda: not yard.pods("pair"))
    assert yard.status("pair")["attempt"] == 2
    assert yard.status("pair").get("admission") is None


def _foreign(name: str, node: str, gpus: int) -> dict[str, Any]:
    """A pod that its owner put on a node past kube-scheduler."""
    container = {"name": "x", "image": "x", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [container]},
    }


@pytest.mark.fault(54)
def test_a_cordoned_node_takes_no_new_pods_and_keeps_those_it_has(yard: Yard) -> None:
    yard.job("before", b.gpus(2))
    yard.until_phase("before", "Running")
    node = yard.pods("before")[0]["spec"]["nodeName"]
    yard.patch("Node", node, {"spec": {"unschedulable": True}})
    try:
        time.sleep(0.5)
        yard.job("after", b.gpus(2))
        yard.until_phase("after", "Running")
        assert yard.pods("after")[0]["spec"]["nodeName"] != node
        assert yard.phase("before") == "Running"
    finally:
        yard.patch("Node", node, {"spec": {"unschedulable": None}})


@pytest.mark.fault(43)
def test_a_place_that_kube_scheduler_refuses_is_given_up_and_another_one_found(contended: Yard) -> None:
    contended.until(lambda: contended.status("late")["attempt"] == 2, 60, "late")
    contended.until_phase("late", "Running")
    assert contended.pods("late")[0]["spec"]["nodeName"] != CONTENDED
    assert contended.status("late")["avoid"][0]["name"] == CONTENDED
    undone = next(message for reason, message in contended.events("late") if reason == "AttemptUndone")
    assert f"was not bound to {CONTENDED} within 30 s" in undone
    assert "didn't have free ports" in undone
    assert "the place in the queue is kept" in undone
