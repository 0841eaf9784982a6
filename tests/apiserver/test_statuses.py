"""Statuses on a real API server: what the operator decides is stored as it was written, and printed."""

from typing import Any

import pytest

from tests import builders as b
from tests.apiserver.yard import Yard
from trainyard.api.names import GPU
from trainyard.api.training_job import TrainingJobStatus

pytestmark = pytest.mark.apiserver

PLACE = {
    "epoch": 1,
    "flavor": "h200",
    "time": "2026-11-23T00:00:00.000000Z",
    "deadline": "2026-11-23T00:01:00.000000Z",
    "victims": [{"kind": "TrainingJob", "namespace": "team", "name": "victim", "uid": "u", "serial": 0}],
    "roles": [{"name": "worker", "prefix": "n", "runs": [{"node": "0", "count": 2}]}],
}
LASTING = {
    "rank": 3,
    "pod": "a-worker-1-2",
    "node": "n1",
    "attempt": 2,
    "factor": 1.6,
    "since": "2026-11-23T00:00:00.000000Z",
}
WAITING = {
    "nomination": PLACE,
    "preemption": {
        "by": {"kind": "InferenceService", "namespace": "team", "name": "s", "uid": "u", "serial": 4},
        "requestedAt": "2026-11-23T00:00:00.000000Z",
        "deadline": "2026-11-23T00:01:00.000000Z",
    },
    "preemptions": 2,
    "eta": {
        "earliest": "2026-11-23T14:00:00Z",
        "likely": "2026-11-23T14:10:00Z",
        "latest": "2026-11-23T15:00:00Z",
    },
    "remedies": [{"change": "spec.workers.replicas=4", "message": "4 workers would start now on flavor h200"}],
    "checkpoint": {"step": 7, "path": "checkpoints/7", "time": "2026-11-23T00:00:00.000000Z"},
    "stragglers": [{**LASTING, "until": "2026-11-23T01:00:00.000000Z"}],
}


def test_what_is_decided_about_a_job_is_stored_as_it_is_written(bare_yard: Yard) -> None:
    # An operator may run beside this test: it leaves alone what is being deleted.
    bare_yard.job("decided", b.meta(finalizers=["example.com/held-for-a-test"]))
    bare_yard.delete("TrainingJob", "decided")
    try:
        stored = bare_yard.patch("TrainingJob", "decided", {"status": WAITING}, "/status")["status"]
        assert {name: stored[name] for name in WAITING} == WAITING
        read = TrainingJobStatus.model_validate(stored).model_dump(by_alias=True, mode="json")
        assert read.items() >= WAITING.items()
        assert "2026-11-23T14:10:00Z" in bare_yard.kubectl("get", "tyj", "decided", "-o", "wide")
        lasting = {"status": {"stragglers": [{**LASTING, "until": None}]}}
        stored = bare_yard.patch("TrainingJob", "decided", lasting, "/status")["status"]
        assert stored["stragglers"] == [LASTING], "what is not said is left out, also within a list"
    finally:
        bare_yard.patch("TrainingJob", "decided", {"metadata": {"finalizers": None}})


def test_a_replica_may_be_nominated_and_preempted(bare_yard: Yard) -> None:
    bare_yard.create(b.inference_service("s", b.namespace(bare_yard.namespace), b.queue(bare_yard.queue)))
    status: dict[str, Any] = {
        "nominations": [{**PLACE, "serial": 7}],
        "admission": [
            {
                "serial": 6,
                "node": "n",
                "flavor": "h200",
                "admittedAt": "2026-11-23T00:00:00.000000Z",
                "preemption": WAITING["preemption"],
            }
        ],
        "eta": WAITING["eta"],
        "remedies": WAITING["remedies"],
    }
    stored = bare_yard.patch("InferenceService", "s", {"status": status}, "/status")["status"]
    assert stored["nominations"] == status["nominations"]
    assert stored["admission"][0].items() >= status["admission"][0].items()
    assert (stored["eta"], stored["remedies"]) == (status["eta"], status["remedies"])


def test_a_queue_keeps_what_its_use_comes_from(bare_yard: Yard) -> None:
    status = {
        "summary": "nvidia.com/gpu 6/8",
        "use": [
            {"flavor": "h200", "resource": GPU, "used": "6", "guaranteed": "8", "borrowed": "0", "lent": "2"},
            {"flavor": "l40s", "resource": GPU, "used": "3", "guaranteed": "2", "borrowed": "1", "lent": "0"},
        ],
        "budget": {"periodStart": "2026-11-01T00:00:00Z", "gpuHours": 12.5, "updatedAt": "2026-11-23T00:00:00.000000Z"},
        "recentShare": {"share": 0.25, "updatedAt": "2026-11-23T00:00:00.000000Z"},
    }
    stored = bare_yard.patch("Queue", bare_yard.queue, {"status": status}, "/status")["status"]
    assert {name: stored[name] for name in status} == status

    def is_printed() -> bool:
        """An operator that runs beside this test writes its own numbers over these, but seldom."""
        bare_yard.patch("Queue", bare_yard.queue, {"status": status}, "/status")
        return "nvidia.com/gpu 6/8" in bare_yard.kubectl("get", "tyq", bare_yard.queue)

    bare_yard.until(is_printed)
