"""Restarts that keep pods, as the operator sees them: counted once, explained, and bounded."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import builders as b
from trainyard.api.admission import compact
from trainyard.api.training_job import TrainingJob
from trainyard.training.observed import Observed, Report
from trainyard.training.plan import plan_training_job
from trainyard.training.pods import in_place
from trainyard.training.restart_limit import restarts_left
from trainyard.workloads.plan import Plan
from trainyard.workloads.pod_state import Exit, PodState

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)
TRUE = {"status": "True", "reason": "Running", "message": "", "lastTransitionTime": "2026-11-23T00:10:00Z"}


def a_job(*, replicas: int = 3, status: dict[str, Any] | None = None, **spec: Any) -> TrainingJob:
    """A job that runs."""
    stamp = b.meta(uid="u", generation=1, creationTimestamp="2026-11-23T00:00:00Z")
    found = b.training_job("a", stamp, b.workers(replicas), b.spec(**spec))
    role = compact("worker", [f"n{index}" for index in range(replicas)]).model_dump(by_alias=True, mode="json")
    place = {"epoch": 1, "queue": "research", "flavor": "h200", "time": "2026-11-23T00:09:00Z", "roles": [role]}
    conditions = [{"type": "Admitted", **TRUE}, {"type": "Ready", **TRUE}]
    found["status"] = {
        "phase": "Running",
        "reason": "Running",
        "admission": place,
        "conditions": conditions,
        "startTime": "2026-11-23T00:10:00Z",
        **(status or {}),
    }
    return TrainingJob.model_validate(found)


def pod(index: int, phase: str = "Running", *, exit_: Exit | None = None, node: str = "") -> PodState:
    name = f"a-worker-{index}-1"
    began = NOW - timedelta(minutes=50)
    return PodState(
        name, f"uid-{index}", "worker", index, 1, node or f"n{index}", phase, True, began, started=began, exit=exit_
    )


def told(round_: int, *, step: int = 40, **more: Any) -> Report:
    restarted = {"round": round_, "index": 1, "exitCode": 137, "cause": "a process died of signal 9", "step": step}
    restarted |= more
    body = {"jobUid": "u", "attempt": 1, "phase": "starting", "step": 0, "restarted": restarted}
    return Report(1, NOW, body)


def planned(job: TrainingJob, pods: list[PodState], **more: Any) -> Plan:
    return plan_training_job(Observed(job, tuple(pods), service_exists=True, **more), NOW)


def test_a_start_in_the_pods_is_counted_once_and_says_why() -> None:
    job = a_job()
    plan = planned(job, [pod(0), pod(1), pod(2)], report=told(2))
    assert plan.status is not None
    assert plan.status["restarts"] == 1
    assert plan.status["lastRestart"]["round"] == 2
    assert (plan.status["lastFailure"]["index"], plan.status["lastFailure"]["step"]) == (1, 40)
    assert [note.reason for note in plan.notes] == ["RestartedInPlace"]
    assert "a process died of signal 9" in plan.notes[0].message
    again = a_job(status={name: plan.status[name] for name in ("restarts", "lastRestart", "lastFailure")})
    after = planned(again, [pod(0), pod(1), pod(2)], report=told(2))
    assert after.notes == ()


def test_starts_that_no_report_told_of_are_counted_too() -> None:
    plan = planned(a_job(), [pod(0), pod(1), pod(2)], report=told(3))
    assert plan.status is not None
    assert plan.status["restarts"] == 2


def test_the_same_failure_three_times_in_a_row_ends_the_job() -> None:
    before = {"attempt": 1, "class": "UserError", "role": "worker", "index": 1, "exitCode": 137, "step": 40}
    failure = {**before, "times": 2, "time": "2026-11-23T00:50:00Z"}
    restart = {"attempt": 1, "round": 3, "cause": "x", "time": "2026-11-23T00:50:00Z"}
    job = a_job(status={"restarts": 2, "lastFailure": failure, "lastRestart": restart})
    plan = planned(job, [pod(0), pod(1), pod(2)], report=told(4))
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Failed", "RepeatedFailure")


def test_a_start_that_followed_the_loss_of_a_pod_does_not_count_against_the_limit() -> None:
    plan = planned(a_job(), [pod(0), pod(1), pod(2)], report=told(2, exitCode=1, cause="no answer", counts=False))
    assert plan.status is not None
    assert (plan.status["restarts"], plan.status["disruptions"]) == (1, 1)
    assert plan.status["lastFailure"]["class"] == "Infrastructure"


KILLED = Exit(137, "Error", "", NOW)
SAID = Exit(137, "Error", '{"cause": "a process died of signal 9", "exitCode": 137}', NOW)


def test_a_pod_that_died_with_its_agent_is_replaced_alone() -> None:
    pods = [pod(0), pod(1, "Failed", exit_=KILLED), pod(2)]
    plan = planned(a_job(), pods)
    assert plan.status is not None
    assert plan.status["replacing"] == ["uid-1"]
    assert (plan.delete, plan.create) == ((), ())  # the decision is durable before it acts
    decided = a_job(status={name: plan.status[name] for name in ("replacing", "restarts", "lastRestart", "conditions")})
    assert [each.uid for each in planned(decided, pods).delete] == ["uid-1"]
    gone = planned(decided, [pod(0), pod(2)])
    assert gone.status is not None
    assert gone.status["replacing"] == []
    free = decided.model_copy(update={"status": decided.status.model_copy(update={"replacing": []})})
    created = planned(free, [pod(0), pod(2)]).create
    assert [each["metadata"]["name"] for each in created] == ["a-worker-1-1"]


LEAVES = Exit(75, "Error", '{"cause": "asked to stop, stopped after step 40", "exitCode": 75}', NOW)


@pytest.mark.parametrize("taken", [replace(pod(1), deleting_since=NOW), pod(1, "Failed", exit_=LEAVES)])
def test_a_pod_that_somebody_takes_away_in_order_is_replaced_alone_and_counted_once(taken: PodState) -> None:
    plan = planned(a_job(), [pod(0), taken, pod(2)])
    assert plan.status is not None
    assert plan.status["replacing"] == ["uid-1"]
    assert (plan.status["restarts"], plan.status["disruptions"]) == (1, 1)
    news = {name: plan.status[name] for name in ("restarts", "disruptions", "lastRestart")}
    after = planned(a_job(status=news), [pod(0), pod(1), pod(2)], report=told(2, exitCode=75, counts=False))
    assert after.notes == ()


def test_when_pod_0_goes_while_another_is_replaced_the_whole_gang_restarts() -> None:
    restart = {"attempt": 1, "round": 2, "cause": "x", "time": "2026-11-23T00:50:00Z"}
    waits = [{"type": "Admitted", **TRUE}, {"type": "Ready", **TRUE, "status": "False"}]
    status = {"replacing": ["uid-1"], "lastRestart": restart, "conditions": waits}
    first = planned(a_job(status=status), [pod(1), pod(2)])
    assert first.status is not None
    assert (first.status["replacing"], first.create) == ([], ())
    then = planned(a_job(status={**status, "replacing": []}), [pod(2)])
    assert then.status is not None
    assert then.status["attempt"] == 2


def test_of_a_gang_that_is_being_made_no_pod_is_missed() -> None:
    waits = [{"type": "Admitted", **TRUE}, {"type": "Ready", **TRUE, "status": "False"}]
    job = a_job(status={"conditions": waits}, startDeadlineSeconds=86_400)
    assert len(planned(job, [pod(2)]).create) == 2


@pytest.mark.parametrize(
    ("job", "pods"),
    [
        (a_job(), [replace(pod(0), deleting_since=NOW), pod(1), pod(2)]),
        (a_job(), [pod(0, "Failed", exit_=KILLED), pod(1), pod(2)]),  # keeps the rounds
        (a_job(), [pod(0), pod(1, "Failed", exit_=SAID), pod(2)]),  # its agent knew of no next round
        (a_job(restart={"inPlace": False}), [pod(0), pod(1, "Failed", exit_=KILLED), pod(2)]),
        (a_job(restart={"maxRestarts": 1}, status={"restarts": 1}), [pod(0), pod(1, "Failed", exit_=KILLED), pod(2)]),
    ],
)
def test_what_is_not_simple_restarts_the_whole_gang(job: TrainingJob, pods: list[PodState]) -> None:
    plan = planned(job, pods)
    assert plan.status is not None
    assert "replacing" not in plan.status
    assert plan.status["phase"] in ("Restarting", "Failed")


@pytest.mark.parametrize(
    ("spec", "may"),
    [
        ({}, True),
        ({"restart": {"inPlace": False}}, False),
        ({"restart": {"rules": [{"action": "Fail", "exitCodes": [3]}]}}, False),
        ({"roles": [{"name": "store", "entrypoint": {"command": ["sleep", "1"]}}]}, False),
        ({"model": None, "dataset": None, "entrypoint": {"command": ["x"], "image": "mine"}}, False),
    ],
)
def test_which_jobs_start_again_in_their_pods(spec: dict[str, Any], may: bool) -> None:
    assert in_place(a_job(**spec)) is may


def test_with_a_window_old_restarts_do_not_count_any_more() -> None:
    times = [(NOW - timedelta(seconds=ago)).isoformat() for ago in (700, 500, 100)]
    status = {"restarts": 9, "disruptions": 1, "countedRestarts": times}
    job = a_job(restart={"maxRestarts": 3, "windowSeconds": 600}, status=status)
    assert restarts_left(job, NOW) == 1
    assert restarts_left(job) == 0
    assert restarts_left(job, NOW + timedelta(seconds=600)) == 3


def test_the_restarts_that_are_left_leave_out_disruptions() -> None:
    assert restarts_left(a_job(restart={"maxRestarts": 3}, status={"restarts": 4, "disruptions": 2})) == 1
