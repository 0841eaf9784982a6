"""The operator process from outside: killed, doubled, left alone, and what it leaves on objects."""

import time
from pathlib import Path

import pytest

from dev.cluster import Cluster
from dev.operator_process import OperatorProcess
from tests import builders as b
from tests.apiserver.operator_process import SYSTEM, audited, log_lines, operator_process
from tests.apiserver.yard import COLLECTED, FLAVOR, KWOK_COMPLETE_AFTER, Yard, completes_after

pytestmark = pytest.mark.apiserver

TAKEOVER = 40
"""A Lease of 15 s must run out, and the last writes of its holder be over."""
QUIET = 32.0
"""Longer than any status write is held back."""
LOOKS = 3


def uids(pods: list[dict[str, object]]) -> set[object]:
    return {pod["metadata"]["uid"] for pod in pods}  # type: ignore[index]


def test_children_belong_to_their_job_and_go_with_it(yard: Yard) -> None:
    yard.job("gone", b.workers(2), b.own_claim(reclaim="Delete"))
    yard.job("kept", b.own_claim(reclaim="Retain"))
    yard.until_phase("gone", "Running")
    yard.until_phase("kept", "Running")
    job = yard.get("TrainingJob", "gone")
    assert job is not None
    children = [*yard.pods("gone"), yard.get("Service", "gone-workers"), yard.get("PersistentVolumeClaim", "gone")]
    for child in children:
        assert child is not None
        owner = child["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("TrainingJob", "gone", job["metadata"]["uid"])
        assert owner["controller"]
        assert not owner.get("blockOwnerDeletion")
    yard.delete("TrainingJob", "gone")
    yard.delete("TrainingJob", "kept")
    yard.until(lambda: not yard.pods("gone") and not yard.pods("kept"), COLLECTED)
    yard.until(lambda: yard.get("PersistentVolumeClaim", "gone") or {"metadata": {"deletionTimestamp": ""}})
    yard.until(lambda: _going(yard, "gone"), COLLECTED)
    assert not _going(yard, "kept"), "results outlive their job"


def _going(yard: Yard, claim: str) -> bool:
    found = yard.get("PersistentVolumeClaim", claim)
    return found is None or "deletionTimestamp" in found["metadata"]


def test_a_finished_job_goes_after_its_time_to_live(yard: Yard) -> None:
    yard.job("brief", b.ttl(1), completes_after("0s"))
    yard.job("stays", completes_after("0s"))
    yard.until(lambda: yard.get("TrainingJob", "brief") is None)
    yard.until_phase("stays", "Complete")
    yard.patch("TrainingJob", "stays", {"spec": {"ttlSecondsAfterFinished": 0}})
    yard.until(lambda: yard.get("TrainingJob", "stays") is None)


def test_a_job_is_suspended_and_goes_on_with_a_new_attempt(yard: Yard) -> None:
    yard.job("paused", b.workers(2))
    yard.until_phase("paused", "Running")
    yard.patch("TrainingJob", "paused", {"spec": {"suspend": True}})
    yard.until_phase("paused", "Suspended")
    yard.until(lambda: not yard.pods("paused"))
    status = yard.status("paused")
    assert status.get("admission") is None
    assert yard.condition("paused", "Suspended")["status"] == "True"
    yard.patch("TrainingJob", "paused", {"spec": {"suspend": False}})
    yard.until_phase("paused", "Running")
    assert yard.status("paused")["attempt"] == 2
    assert yard.condition("paused", "Suspended")["status"] == "False"
    assert yard.condition("paused", "Admitted")["status"] == "True"


@pytest.mark.fault(61)
def test_a_worker_that_is_gone_is_replaced_alone_without_counting_as_a_failure(yard: Yard) -> None:
    yard.job("hurt", b.workers(2))
    yard.until_phase("hurt", "Running")
    before = uids(yard.pods("hurt"))
    yard.delete("Pod", "hurt-worker-1-1")
    yard.until(lambda: yard.status("hurt").get("restarts") == 1 and yard.phase("hurt") == "Running", about="hurt")
    assert len(before & uids(yard.pods("hurt"))) == 1
    assert yard.status("hurt")["attempt"] == 1
    assert (yard.status("hurt")["restarts"], yard.status("hurt")["disruptions"]) == (1, 1)


def test_failures_are_retried_so_often_and_no_more(yard: Yard) -> None:
    exits = b.annotated(**{"trainyard.dev/kwok-exit-code": "1"})
    yard.job("failing", b.max_restarts(2), completes_after("0s"), exits)
    yard.until_phase("failing", "Failed")
    assert yard.status("failing")["restarts"] == 2
    assert yard.condition("failing", "Failed")["reason"] == "RestartLimitExceeded"
    terminal = b.annotated(**{"trainyard.dev/kwok-exit-code": "64"})
    yard.job("hopeless", completes_after("0s"), terminal)
    yard.until_phase("hopeless", "Failed")
    assert yard.status("hopeless")["restarts"] == 0
    assert yard.condition("hopeless", "Failed")["reason"] == "TerminalExit"


@pytest.mark.fault(31)
def test_nothing_of_kopf_stays_on_objects(yard: Yard) -> None:
    yard.job("clean", completes_after("0s"))
    yard.until_phase("clean", "Complete")
    for kind, name in (("TrainingJob", "clean"), ("Queue", yard.queue), ("Flavor", FLAVOR)):
        meta = (yard.get(kind, name) or {})["metadata"]
        assert meta.get("finalizers") is None
        assert not [key for key in meta.get("annotations", {}) if "kopf" in key or "last-handled" in key]
        managers = {each["manager"] for each in meta["managedFields"] if each.get("subresource") == "status"}
        assert managers == {"trainyard"}


@pytest.fixture
def busy(yard: Yard, operator: OperatorProcess) -> Yard:
    """Twenty jobs that run, twenty that are over, and some that wait."""
    assert operator.running
    for number in range(20):
        yard.job(f"running-{number}")
        yard.job(f"finished-{number}", completes_after("0s"))
    yard.job("waiting", b.gpus(9))
    for number in range(20):
        yard.until_phase(f"running-{number}", "Running", 60)
        yard.until_phase(f"finished-{number}", "Complete", 60)
    return yard


def _raise_quota(yard: Yard) -> None:
    """A change of the queue has its numbers written at once instead of within 30 seconds."""
    quota = {"name": FLAVOR, "resources": [{"name": "nvidia.com/gpu", "guaranteed": "33"}]}
    yard.patch("Queue", yard.queue, {"spec": {"flavors": [quota]}})


def test_when_nothing_changes_only_the_lease_is_written(busy: Yard, installed: Cluster) -> None:
    def settled() -> bool:
        status = busy.status(busy.queue, "Queue")
        return (status["admitted"], status["pending"]) == (20, 1)

    _raise_quota(busy)
    busy.until(settled, 60, "waiting")
    assert busy.status(busy.queue, "Queue")["use"][0]["used"] == "20"
    seen = [_writes(installed, QUIET)]
    # A number that changed while jobs came and went may be held back for as long as one such look takes.
    while seen[-1] != LEASE and len(seen) < LOOKS:
        seen.append(_writes(installed, QUIET))
    assert seen[-1] == LEASE, seen


LEASE = {("patch", "leases")}


def _writes(cluster: Cluster, seconds: float) -> set[tuple[str, str]]:
    """What the operator writes within the next seconds: verb and resource."""
    before = sum(1 for _ in audited(cluster))
    time.sleep(seconds)
    since = list(audited(cluster))[before:]
    return {
        (line["verb"], line["objectRef"]["resource"]) for line in since if line["verb"] not in ("get", "list", "watch")
    }


@pytest.mark.fault(1)
def test_a_kill_touches_no_pod_and_what_happened_meanwhile_is_caught_up(
    yard: Yard, installed: Cluster, account: Path, operator: OperatorProcess, tmp_path: Path
) -> None:
    yard.job("through", b.workers(2))
    yard.job("ends")
    yard.until_phase("through", "Running")
    yard.until_phase("ends", "Running")
    before = uids(yard.pods("through"))
    operator.kill()
    try:
        yard.job("meanwhile", completes_after("0s"))
        yard.job("leaves")
        yard.delete("TrainingJob", "leaves")
        yard.patch("Pod", "ends-worker-0-1", {"metadata": {"annotations": {KWOK_COMPLETE_AFTER: "0s"}}})
        yard.until(lambda: yard.pods("ends")[0]["status"]["phase"] == "Succeeded")
        assert yard.phase("ends") == "Running", "nobody is there to tell"
        killed = time.monotonic()
    finally:
        operator.start()
    operator.wait_ready(TAKEOVER)
    yard.until_phase("ends", "Complete")
    yard.until_phase("meanwhile", "Complete")
    assert time.monotonic() - killed < TAKEOVER
    assert uids(yard.pods("through")) == before
    assert (yard.phase("through"), yard.status("through")["restarts"]) == ("Running", 0)
    assert yard.pods("leaves") == []


@pytest.mark.fault(3, 22)
def test_of_two_operators_one_leads_and_the_other_takes_over(
    yard: Yard, installed: Cluster, account: Path, operator: OperatorProcess, tmp_path: Path
) -> None:
    yard.job("through", b.workers(2))
    yard.until_phase("through", "Running")
    before = uids(yard.pods("through"))
    with operator_process(installed, account, tmp_path, "second", ready=False) as second:
        yard.until(lambda: second.log.exists() and second.running)
        time.sleep(4)
        assert not any(line["message"] == "leading" for line in log_lines(second))
        assert _leader(installed) == "shared"
        operator.stop()
        try:
            began = time.monotonic()
            second.wait_ready(TAKEOVER)
            assert time.monotonic() - began < 10, "a Lease that was given back is taken at once"
            assert _leader(installed) == "second"
            yard.job("under-the-second", completes_after("0s"))
            yard.until_phase("under-the-second", "Complete")
        finally:
            operator.start()
        second.stop()
        operator.wait_ready(TAKEOVER)
    assert uids(yard.pods("through")) == before
    assert yard.status("through")["restarts"] == 0


def _leader(cluster: Cluster) -> str:
    path = "jsonpath={.spec.holderIdentity}"
    return cluster.kubectl("get", "lease", "trainyard-operator", "-n", SYSTEM, "-o", path)
