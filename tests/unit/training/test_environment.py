"""What pods are told of their gang: how many there are, how many processes each has, and where they meet."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests import builders as b
from trainyard.api.names import GPU
from trainyard.api.training_job import TrainingJob
from trainyard.training import pods
from trainyard.training.observed import Observed
from trainyard.workloads.pod_template import Surroundings

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def a_pod(*modifiers: b.Modifier, count: int = 1, index: int = 0, role: str = "worker") -> dict[str, Any]:
    """A pod of a job that was admitted with so many workers."""
    roles = [{"name": "worker", "prefix": "n", "runs": [{"node": "0", "count": count}]}]
    if role != "worker":
        roles.append({"name": role, "prefix": "n", "runs": [{"node": "1", "count": 1}]})
    admission = {"epoch": 1, "queue": "research", "flavor": "h200", "time": NOW.isoformat(), "roles": roles}
    stamp = b.meta(uid="01234567-89", generation=1, creationTimestamp=NOW.isoformat())
    job = TrainingJob.model_validate(b.training_job("a", stamp, *modifiers, b.status(admission=admission)))
    (pod,) = pods.pods_of(Observed(job, surroundings=Surroundings("trainer", "server", "gateway")), role, [index])
    return pod


def told(pod: dict[str, Any], container: str = "trainer") -> dict[str, str]:
    parts = (*pod["spec"]["containers"], *pod["spec"].get("initContainers", ()))
    found = next(each for each in parts if each["name"] == container)
    return {each["name"]: each["value"] for each in found.get("env", ())}


@pytest.mark.parametrize(
    ("limits", "processes"),
    [
        ({GPU: "1"}, "1"),
        ({GPU: "8"}, "8"),
        ({GPU: "0"}, "1"),
        ({GPU: "500m"}, "1"),
        ({"cpu": "8"}, "1"),
        ({"cpu": "500m"}, "1"),
        ({"cpu": "64", GPU: "4"}, "4"),
        ({}, "1"),
    ],
)
def test_a_pod_has_a_process_for_each_gpu_and_one_at_least(limits: dict[str, str], processes: str) -> None:
    assert told(a_pod(b.resources(**limits)))["PET_NPROC_PER_NODE"] == processes


def test_one_pod_alone_meets_nobody() -> None:
    pod = a_pod()
    env = told(pod)
    assert (env["PET_NNODES"], env["PET_NODE_RANK"], env["PET_MASTER_ADDR"]) == ("1", "0", "127.0.0.1")
    assert "subdomain" not in pod["spec"]


@pytest.mark.parametrize("index", [0, 2])
def test_pods_of_a_gang_meet_at_the_first(index: int) -> None:
    pod = a_pod(b.workers(3), b.gpus(2), count=3, index=index)
    env = told(pod)
    assert (env["PET_NNODES"], env["PET_NODE_RANK"], env["PET_NPROC_PER_NODE"]) == ("3", str(index), "2")
    assert f"{env['PET_MASTER_ADDR']}:{env['PET_MASTER_PORT']}" == "a-worker-0.a-workers.team.svc:29500"
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == (f"a-worker-{index}", "a-workers")


def test_an_elastic_gang_is_told_how_many_it_is_and_not_how_many_it_may_be() -> None:
    assert told(a_pod(b.elastic(2, 8), count=5, index=4))["PET_NNODES"] == "5"


def test_spares_count_for_nobody() -> None:
    pod = a_pod(b.spares(1), role="spare")
    assert told(pod)["PET_NNODES"] == told(a_pod(b.spares(1)))["PET_NNODES"] == "1"


def test_only_the_main_container_is_told_and_others_stay_as_they_are() -> None:
    side = {"name": "side", "image": "x", "env": [{"name": "MINE", "value": "1"}]}
    first = {"name": "first", "image": "x"}
    pod = a_pod(b.template(spec={"containers": [side], "initContainers": [first]}))
    assert told(pod, "side") == {"MINE": "1"}
    assert told(pod, "first") == {}
    assert "PET_NNODES" in told(pod)


def test_what_makes_a_pod_itself_cannot_be_set_in_its_template() -> None:
    forged = [{"name": "PET_NODE_RANK", "value": "7"}, {"name": "TRAINYARD_JOB_UID", "value": "x"}]
    own = {"name": "NCCL_DEBUG", "value": "INFO"}
    env = told(a_pod(b.template(spec={"containers": [{"name": "trainer", "env": [*forged, own]}]})))
    assert (env["PET_NODE_RANK"], env["TRAINYARD_JOB_UID"], env["NCCL_DEBUG"]) == ("0", "01234567-89", "INFO")
