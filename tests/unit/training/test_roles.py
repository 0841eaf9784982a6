"""Which roles wait for which, and whose end makes a job complete."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests import builders as b
from trainyard.api.training_job import TrainingJob
from trainyard.training.roles import cycle, success, unknown_role, waiting_roles
from trainyard.workloads.pod_state import PodState

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def a_job(*, policy: dict[str, Any] | None = None, **waits: list[tuple[str, str]]) -> TrainingJob:
    """Two workers, two ps and one eval. waits: what each of them waits for."""
    stamp = b.meta(uid="u", generation=1, creationTimestamp="2026-11-23T00:00:00Z")
    found = b.training_job("a", stamp, b.workers(2), b.role("ps", 2), b.role("eval"))
    for role in (found["spec"]["workers"] | {"name": "worker"}, *found["spec"]["roles"]):
        role["dependsOn"] = [{"role": each, "status": status} for each, status in waits.get(role["name"], ())]
        if role["name"] == "worker":
            found["spec"]["workers"] = role
    if policy:
        found["spec"]["successPolicy"] = policy
    return TrainingJob.model_validate(found)


def pods(**phases: str) -> list[PodState]:
    """A letter for each pod of a role: p for pending, n for running and not ready, r for ready, s for succeeded, f for failed."""
    words = {"p": "Pending", "n": "Running", "r": "Running", "s": "Succeeded", "f": "Failed"}
    return [
        PodState(f"{role}-{index}", f"{role}{index}", role, index, 1, "n0", words[each], each == "r", NOW)
        for role, letters in phases.items()
        for index, each in enumerate(letters)
    ]


@pytest.mark.parametrize(
    ("there", "wait"),
    [
        ({}, {"worker", "eval"}),
        ({"ps": "rp"}, {"worker", "eval"}),
        ({"ps": "rn"}, {"worker", "eval"}),
        ({"ps": "rr"}, {"eval"}),
        ({"ps": "rs"}, {"eval"}),
        ({"ps": "rn", "worker": "rr"}, {"eval"}),  # what was started stays
        ({"ps": "rr", "worker": "ss"}, set()),
        ({"ps": "rr", "worker": "sf"}, {"eval"}),
    ],
)
def test_roles_are_started_in_the_order_that_they_ask_for(there: dict[str, str], wait: set[str]) -> None:
    job = a_job(worker=[("ps", "Ready")], eval=[("worker", "Complete")])
    assert waiting_roles(job, pods(**there)).keys() == wait


@pytest.mark.parametrize(
    ("policy", "there", "complete"),
    [
        (None, {"worker": "ss", "ps": "rr"}, True),
        (None, {"worker": "sr", "ps": "ss"}, False),
        ({"operator": "Any"}, {"worker": "sr"}, True),
        ({"operator": "Any"}, {"worker": "rr", "eval": "s"}, False),
        ({"roles": ["eval"]}, {"worker": "rr", "eval": "s"}, True),
        ({"roles": ["worker", "eval"]}, {"worker": "ss", "eval": "r"}, False),
        ({"operator": "Any", "roles": ["ps", "eval"]}, {"ps": "rs"}, True),
        ({"operator": "Any", "roles": ["ps"]}, {}, False),
        ({"roles": ["worker", "worker"]}, {"worker": "ss"}, True),
    ],
)
def test_a_job_is_complete_when_its_policy_says_so(
    policy: dict[str, Any] | None, there: dict[str, str], complete: bool
) -> None:
    assert (success(a_job(policy=policy), pods(**there)) is not None) is complete


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (
            a_job(worker=[("pss", "Ready")]),
            "spec.workers.dependsOn: there is no role 'pss'; there are: worker, ps, eval",
        ),
        (a_job(eval=[("spare", "Ready")]), "spec.roles[eval].dependsOn: there is no role 'spare'"),
        (a_job(policy={"roles": ["evil"]}), "spec.successPolicy.roles: there is no role 'evil'"),
    ],
)
def test_a_role_that_is_not_there_is_named_with_those_that_are(job: TrainingJob, said: str) -> None:
    assert (unknown_role(job.spec) or "").startswith(said)


def test_roles_that_wait_for_each_other_are_found() -> None:
    ring = a_job(worker=[("ps", "Ready")], ps=[("eval", "Ready")], eval=[("worker", "Ready")])
    assert cycle(ring.spec) == (
        "dependsOn: worker waits for ps waits for eval waits for worker; none of them would ever start"
    )
    assert "eval waits for eval" in (cycle(a_job(eval=[("eval", "Complete")]).spec) or "")
    assert cycle(a_job(worker=[("ps", "Ready"), ("eval", "Ready")], ps=[("eval", "Ready")]).spec) is None
