"""The first journey, for real: chart, training, serving, Prometheus, and the faults that must already be right.

One cluster and one installation for all; each test has a namespace of its own. Long waits end early on success, and a
failure shows pods and events.
"""

import json
import time
from functools import partial
from typing import Any

import pytest

from dev.demo import ask_all, operator_pod
from dev.prometheus import Target, prometheus
from tests.e2e.asking import IMAGE, IMAGE_BODY, Answer, Gateway, meanwhile
from tests.e2e.platform import GROUP, Platform

pytestmark = pytest.mark.e2e
LONG = 2000  # epochs that no test waits for


@pytest.fixture(scope="module")
def served(shared_platform: Platform) -> Platform:
    """A trained model behind two replicas, for the tests that only ask."""
    made = shared_platform
    made.apply(made.job("digits", workers=2, epochs=5), made.service("digits", {"trainingJob": "digits"}, replicas=2))
    made.phase("tyj", "digits", "Complete", 240)
    made.phase("tyi", "digits", "Ready")
    return made


def ready_message(status: dict[str, Any], kind: str = "Ready") -> str:
    return next(str(each["message"]) for each in status["conditions"] if each["type"] == kind)


def test_a_gang_trains_and_what_it_exports_is_served_as_it_predicts_offline(served: Platform) -> None:
    job = served.status("tyj", "digits")
    assert job["progress"]["metrics"]["accuracy"] >= 0.97
    assert job["result"]["digest"] == served.status("tyi", "digits")["model"]["digest"]
    assert len(served.pods("trainyard.dev/job=digits")) == 2
    found = ask_all(served.cluster, served.namespace, "digits", job["result"])
    assert found["served_images"] == 359
    assert found["served_as_offline"] == 1.0
    assert found["accuracy"] == pytest.approx(job["progress"]["metrics"]["accuracy"])


def test_kubectl_wait_and_scale_work_as_for_any_kind(served: Platform) -> None:
    served.cluster.kubectl("wait", "-n", served.namespace, "--for=condition=Complete", "tyj/digits", "--timeout=5s")
    served.cluster.kubectl("wait", "-n", served.namespace, "--for=condition=Ready", "tyi/digits", "--timeout=5s")


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"shape": [1, 1, 8, 9]}, 400, "shape"),
        ({"datatype": "INT8"}, 400, "datatype"),
        ({"name": "nonsense"}, 400, "nonsense"),
        ({"data": [1.0]}, 400, "data"),
    ],
)
def test_a_wrong_request_is_refused_through_the_gateway_with_the_field(
    served: Platform, change: dict[str, Any], code: int, word: str
) -> None:
    answer = Gateway(served, "digits").infer(body=json.dumps({"inputs": [IMAGE | change]}).encode())
    assert answer.status == code
    assert word in answer.body["error"]


def test_truncated_json_and_a_body_of_100_mb_are_refused_and_the_next_request_is_answered(served: Platform) -> None:
    gateway = Gateway(served, "digits")
    assert gateway.infer(body=IMAGE_BODY[:-7]).status == 400
    try:
        answer = gateway.infer(body=b" " * 100_000_000)
        assert (answer.status, "error" in answer.body) == (413, True)
    except ConnectionError:
        pass  # refused before the body was read: the connection is closed while we still send
    assert gateway.infer().status == 200


def test_prometheus_says_what_the_api_says(served: Platform) -> None:
    operator = operator_pod(served.cluster)
    labels = f'namespace="{served.namespace}"'
    with prometheus({"trainyard": Target(f"{operator['status']['podIP']}:8080")}) as server:
        server.wait_for("trainyard_operator_leader == 1")
        server.wait_for(f"trainyard_training_job_info{{{labels}}}")
        families = server.families("trainyard_")
        job, service = served.status("tyj", "digits"), served.status("tyi", "digits")
        assert server.value(f"sum(trainyard_training_job_restarts_total{{{labels}}})") == job["restarts"]
        ready = server.value(f'sum(trainyard_inference_service_replicas{{{labels},state="ready"}})')
        assert ready == service["readyReplicas"]
        nodes = json.loads(served.cluster.kubectl("get", "nodes", "-o", "json"))["items"]
        gpus = sum(int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)) for node in nodes)
        assert server.value("sum(trainyard_node_gpus)") == gpus
    assert len(families) >= 12, families


def test_no_request_fails_while_replicas_come_and_go(served: Platform) -> None:
    gateway = Gateway(served, "digits")
    with meanwhile(gateway.infer) as came, meanwhile(gateway.infer) as others:
        for replicas in (1, 2):
            served.cluster.kubectl("scale", "-n", served.namespace, "tyi/digits", f"--replicas={replicas}")
            served.until(f"{replicas} ready replicas", partial(_settled, served, replicas), 120)
    assert min(len(came), len(others)) > 25
    assert [each for each in came + others if not isinstance(each, Answer) or each.status != 200] == []


def _settled(platform: Platform, replicas: int) -> bool:
    status = platform.status("tyi", "digits")
    return (
        status["readyReplicas"] == replicas == len(status["admission"])
        and len(platform.pods("trainyard.dev/service=digits,trainyard.dev/role=replica")) == replicas
    )


@pytest.mark.fault(84)
def test_a_model_whose_digest_does_not_match_is_not_served_and_the_status_says_so(served: Platform) -> None:
    result = served.status("tyj", "digits")["result"]
    wrong = {"claimName": result["claimName"], "path": result["path"], "digest": "sha256:" + "0" * 64}
    served.apply(served.service("wrong", wrong))
    served.until("the refusal", lambda: served.status("tyi", "wrong").get("reason") == "ModelRefused", 120)
    status = served.status("tyi", "wrong")
    assert "digest" in ready_message(status)
    assert status["readyReplicas"] == 0
    served.cluster.kubectl("delete", "tyi", "wrong", "-n", served.namespace)


def test_an_unknown_data_set_fails_the_job_at_once_with_what_there_is(platform: Platform) -> None:
    platform.apply(platform.job("nope", dataset={"name": "imagenet22k"}))
    status = platform.phase("tyj", "nope", "Failed", 90)
    assert status["restarts"] == 0
    assert "imagenet22k" in ready_message(status, "Failed")
    assert "digits" in ready_message(status, "Failed")


def test_a_users_own_command_runs_under_torchrun(platform: Platform) -> None:
    script = "import os,torch.distributed as d; d.init_process_group('gloo'); print('rank', d.get_rank(), 'of', d.get_world_size()); d.destroy_process_group()"
    command = ["torchrun", "--no-python", "python", "-c", script]
    platform.apply(platform.job("own", workers=2, model=None, dataset=None, entrypoint={"command": command}))
    platform.phase("tyj", "own", "Complete", 180)
    logs = "".join(
        platform.cluster.kubectl("logs", "-n", platform.namespace, pod["metadata"]["name"])
        for pod in platform.pods("trainyard.dev/job=own")
    )
    assert {f"rank {rank} of 2" in logs for rank in (0, 1)} == {True}


def test_workers_find_a_pod_of_another_role_by_name_and_it_is_stopped_when_they_are_done(platform: Platform) -> None:
    ask = """
import json, os, time, urllib.request
assert json.loads(os.environ["TRAINYARD_ROLES"]) == {"worker": 2, "store": 1}
url = f"http://{os.environ['TRAINYARD_JOB']}-store-0.{os.environ['TRAINYARD_DOMAIN']}:8000/"
for attempt in range(120):
    try:
        print("store answers", urllib.request.urlopen(url, timeout=5).status)
        break
    except OSError:
        time.sleep(0.5)
else:
    raise SystemExit("no answer of the store")
"""
    store = {
        "name": "store",
        "entrypoint": {"command": ["python", "-m", "http.server", "8000", "--directory", "/tmp"]},
        "resources": {"requests": {"cpu": "50m"}},
    }
    program = {"command": ["python", "-c", ask]}
    job = platform.job("asks", workers=2, model=None, dataset=None, storage=None, entrypoint=program, roles=[store])
    platform.apply(job)
    platform.phase("tyj", "asks", "Complete", 120)
    for pod in platform.pods("trainyard.dev/job=asks,trainyard.dev/role=worker"):
        log = platform.cluster.kubectl("logs", "-n", platform.namespace, pod["metadata"]["name"])
        assert "store answers 200" in log
    platform.until(
        "the end of the store", lambda: not platform.pods("trainyard.dev/job=asks,trainyard.dev/role=store"), 90
    )


def _with_checkpoint(platform: Platform, name: str) -> dict[str, Any]:
    """The status once a checkpoint lies on the claim."""

    def look() -> dict[str, Any] | None:
        status = platform.status("tyj", name)
        return status if status.get("checkpoint") else None

    found: dict[str, Any] = platform.until("a checkpoint", look, 180)
    return found


@pytest.mark.fault(1, 55)
def test_a_killed_worker_restarts_the_gang_from_its_checkpoint_and_an_operator_that_dies_meanwhile_touches_no_pod(
    platform: Platform,
) -> None:
    platform.apply(platform.job("steady", workers=2, epochs=LONG))
    _with_checkpoint(platform, "steady")
    before = {pod["metadata"]["uid"] for pod in platform.pods("trainyard.dev/job=steady")}
    operator = operator_pod(platform.cluster)["metadata"]["name"]
    platform.cluster.kubectl("delete", "pod", operator, "-n", "trainyard-system", "--grace-period=0", "--force")
    platform.cluster.kubectl("rollout", "status", "-n", "trainyard-system", "deployment/trainyard", "--timeout=90s")
    assert {pod["metadata"]["uid"] for pod in platform.pods("trainyard.dev/job=steady")} == before
    victim = platform.pods("trainyard.dev/job=steady,trainyard.dev/index=1")[0]["metadata"]["name"]
    platform.in_worker(
        victim,
        "import os, signal, pathlib; [os.kill(int(p.name), signal.SIGKILL) for p in pathlib.Path('/proc').iterdir() if p.name.isdigit() and int(p.name) not in (1, os.getpid()) and b'trainer' in (p/'cmdline').read_bytes()]",
    )
    status = platform.until(
        "the restart",
        lambda: _restarted(platform, "steady"),
        150,
    )
    assert status["lastRestart"]["cause"]
    resumed = platform.until(
        "progress from the checkpoint", lambda: platform.status("tyj", "steady")["progress"].get("restoredStep"), 120
    )
    assert resumed > 0


def test_suspend_gives_the_gpus_back_after_a_checkpoint_and_resume_goes_on_from_there(platform: Platform) -> None:
    platform.apply(platform.job("pause", epochs=LONG))
    _with_checkpoint(platform, "pause")
    platform.patch("tyj", "pause", {"spec": {"suspend": True}})
    status = platform.phase("tyj", "pause", "Suspended", 90)
    assert status.get("admission") is None
    saved = status["checkpoint"]["step"]
    platform.patch("tyj", "pause", {"spec": {"suspend": False}})
    resumed = platform.until(
        "progress from the checkpoint", lambda: platform.status("tyj", "pause")["progress"].get("restoredStep"), 150
    )
    assert resumed >= saved


@pytest.mark.fault(42)
def test_the_gang_of_a_lost_node_goes_on_elsewhere(platform: Platform) -> None:
    platform.apply(platform.job("mover", workers=1, epochs=LONG))
    _with_checkpoint(platform, "mover")
    name = platform.pods("trainyard.dev/job=mover")[0]["spec"]["nodeName"]
    node = next(each for each in platform.cluster.nodes if each.name == name)
    node.kill()
    try:
        status = platform.until("a place on another node", lambda: _moved(platform, name), 180)
        assert status["restarts"] == status["disruptions"] == 1
        assert name in status["lastRestart"]["cause"]
        assert (
            platform.until("progress", lambda: platform.status("tyj", "mover")["progress"].get("restoredStep"), 120) > 0
        )
    finally:
        node.revive()
        platform.cluster.kubectl("wait", "--for=condition=Ready", f"node/{name}", "--timeout=90s")


def _restarted(platform: Platform, name: str) -> dict[str, Any] | None:
    status = platform.status("tyj", name)
    return status if status.get("restarts") == 1 and status.get("phase") == "Running" else None


def _moved(platform: Platform, lost: str) -> dict[str, Any] | None:
    status = platform.status("tyj", "mover")
    pods = [pod for pod in platform.pods("trainyard.dev/job=mover") if pod["spec"].get("nodeName") != lost]
    return status if status["phase"] == "Running" and pods and status["restarts"] == 1 else None


@pytest.mark.fault(29)
def test_a_running_job_survives_the_uninstallation_of_the_chart(platform: Platform) -> None:
    """The last test: it takes the operator away."""
    platform.apply(platform.job("stays", epochs=LONG))
    platform.phase("tyj", "stays", "Running")
    before = platform.pods("trainyard.dev/job=stays")[0]
    platform.cluster.helm("uninstall", "trainyard", "--namespace", "trainyard-system", "--wait", "--timeout=90s")
    time.sleep(5)
    after = platform.pods("trainyard.dev/job=stays")[0]
    assert (after["metadata"]["uid"], after["status"]["phase"]) == (before["metadata"]["uid"], "Running")
    assert platform.get("tyj", "stays")["apiVersion"] == GROUP
