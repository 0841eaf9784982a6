"""A namespace that is deleted with all that is in it, and one name that is deleted and created at once, on the real API server."""

import pytest

from dev.cluster import Cluster
from dev.cluster.api import ApiError
from dev.operator_process import OperatorProcess
from tests import builders as b
from tests.apiserver.operator_process import audited, log_lines
from tests.apiserver.yard import Yard, completes_after

pytestmark = pytest.mark.apiserver

GANGS, ALONE, WAITING, NEIGHBOURS = 4, 6, 8, 3
LOOKS = GANGS + ALONE + 1
DELETED = 90


@pytest.fixture
def doomed(yard: Yard, installed: Cluster) -> Yard:
    """A second namespace in the same queue, where jobs run and wait and a model is served; it holds all but a few GPUs."""
    made = Yard(installed)
    made.create(b.a_namespace(made.namespace, yard=yard.namespace))
    mine = (b.namespace(made.namespace), b.queue(yard.queue))
    for number in range(GANGS):
        made.create(b.training_job(f"gang-{number}", *mine, b.workers(2), b.gpus(2), b.own_claim(reclaim="Delete")))
    for number in range(ALONE):
        made.create(b.training_job(f"alone-{number}", *mine, b.gpus(2)))
    claim = b.a_claim("models", namespace=made.namespace)
    claim["spec"]["resources"] = {"requests": {"storage": "1Gi"}}
    made.create(claim)
    made.create(b.inference_service("served", *mine, b.replicas(2)))
    for name in [*(f"gang-{each}" for each in range(GANGS)), *(f"alone-{each}" for each in range(ALONE))]:
        made.until_phase(name, "Running", 90)
    made.until(lambda: made.status("served", "InferenceService").get("phase") == "Ready", 90)
    for number in range(WAITING):
        made.create(b.training_job(f"waiting-{number}", *mine, b.gpus(8)))
    made.until(lambda: made.status(f"waiting-{WAITING - 1}").get("reason") == "WaitingForQuota")
    return made


@pytest.mark.fault(17)
def test_a_namespace_ends_with_all_that_is_in_it_and_its_neighbours_start(
    yard: Yard, doomed: Yard, installed: Cluster, operator: OperatorProcess
) -> None:
    for number in range(NEIGHBOURS):
        yard.job(f"neighbour-{number}", b.gpus(8))
        yard.waits(f"neighbour-{number}", "WaitingForQuota")
    asked, logged = sum(1 for _ in audited(installed)), len(log_lines(operator))
    doomed.delete("Namespace", doomed.namespace)
    with pytest.raises(ApiError, match="is being terminated"):
        doomed.create(b.training_job("late", b.namespace(doomed.namespace), b.queue(yard.queue)))
    for number in range(NEIGHBOURS):
        yard.until_phase(f"neighbour-{number}", "Running", DELETED)
    yard.until(lambda: doomed.get("Namespace", doomed.namespace) is None, DELETED)
    yard.until(lambda: yard.status(yard.queue, "Queue")["use"][0]["used"] == str(8 * NEIGHBOURS), 60)
    refused = [
        f"{line['verb']} {line['objectRef']['resource']} {line['objectRef'].get('name', '')}"
        for line in list(audited(installed))[asked:]
        if line.get("objectRef", {}).get("namespace") == doomed.namespace and line["responseStatus"]["code"] >= 400
    ]
    # One look may have begun when the deletion did; that each job is tried again and again is another thing.
    assert len(refused) <= LOOKS, refused
    told = [line["message"] for line in log_lines(operator)[logged:] if line["level"] in ("warning", "error")]
    assert len([text for text in told if "terminated" in text]) <= LOOKS, told


@pytest.mark.fault(33)
def test_a_name_that_is_deleted_and_created_at_once_is_another_job_each_time(yard: Yard) -> None:
    for _ in range(5):
        yard.job("twin", b.workers(2))
        yard.until(lambda: yard.status("twin").get("admission"), about="twin")
        yard.delete("TrainingJob", "twin")
    made = yard.job("twin", b.workers(2), completes_after("1s"))
    yard.until_phase("twin", "Complete", 90)
    owners = {owner["uid"] for pod in yard.pods("twin") for owner in pod["metadata"]["ownerReferences"]}
    assert (owners, yard.status("twin")["attempt"]) == ({made["metadata"]["uid"]}, 1)
