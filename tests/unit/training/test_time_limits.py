"""When a job that is over goes, when one has run long enough, and what counts as over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import builders as b
from trainyard.api.training_job import TrainingJob
from trainyard.training.observed import Observed
from trainyard.training.plan import plan_training_job
from trainyard.training.workload import finished
from trainyard.workloads.pod_state import PodState

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def condition(kind: str, status: str = "True", since: float = 0) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": "x", "lastTransitionTime": ago(since)}


def over(kind: str = "Complete", since: float | None = 0) -> b.Modifier:
    """A job that ended so many seconds ago."""
    ended = {} if since is None else {"completionTime": ago(since)}
    return b.status(phase=kind, observedGeneration=1, conditions=[condition(kind)], **ended)


def a_job(*modifiers: b.Modifier) -> TrainingJob:
    stamp = b.meta(uid="u", generation=1, creationTimestamp=ago(10_000))
    return TrainingJob.model_validate(b.training_job("a", stamp, *modifiers))


def a_pod(phase: str = "Running") -> PodState:
    return PodState("a-worker-0-1", "u", "worker", 0, 1, "n0", phase, phase == "Running", NOW - timedelta(seconds=900))


@pytest.mark.parametrize(
    ("modifiers", "goes", "again"),
    [
        ((over(),), False, None),  # by default never
        ((over(since=10**7),), False, None),
        ((over(since=9), b.ttl(10)), False, 1.0),
        ((over(since=10), b.ttl(10)), True, None),
        ((over(since=0), b.ttl(0)), True, None),
        ((over("Failed", since=11), b.ttl(10)), True, None),
        ((over("Failed", since=-5), b.ttl(10)), False, 15.0),  # our clock is behind that of another
        ((over(since=None), b.ttl(0)), False, None),  # nobody knows since when
        ((b.status(phase="Suspended"), b.suspended(), b.ttl(0)), False, None),
    ],
)
def test_a_job_goes_when_its_time_to_live_is_over(
    modifiers: tuple[b.Modifier, ...], goes: bool, again: float | None
) -> None:
    plan = plan_training_job(Observed(a_job(*modifiers)), NOW)
    assert (plan.delete_self, plan.again) == (goes, again)
    assert plan.create == ()


def test_what_still_runs_is_stopped_before_the_job_goes() -> None:
    plan = plan_training_job(Observed(a_job(over(), b.ttl(0)), pods=(a_pod(),)), NOW)
    assert ([each.name for each in plan.delete], plan.delete_self) == (["a-worker-0-1"], False)
    assert plan_training_job(Observed(a_job(over(), b.ttl(0)), pods=(a_pod("Succeeded"),)), NOW).delete_self


@pytest.mark.parametrize(
    ("conditions", "is_over"),
    [
        ([], False),
        ([condition("Complete", "False")], False),
        ([condition("Failed", "Unknown")], False),
        ([condition("Complete", "False"), condition("Failed")], True),
        ([condition("Complete"), condition("Failed")], True),
        ([condition("Suspended")], False),
    ],
)
def test_a_job_is_over_when_a_condition_says_so_and_not_when_one_denies_it(
    conditions: list[dict[str, Any]], is_over: bool
) -> None:
    assert finished(a_job(b.status(conditions=conditions))) is is_over


def running(admitted: float, placed: float, began: float) -> b.Modifier:
    """Admitted, placed where it is, and running for the first time, so many seconds ago."""
    roles = [{"name": "worker", "prefix": "n", "runs": [{"node": "0", "count": 1}]}]
    admission = {"epoch": 1, "queue": "research", "flavor": "h200", "time": ago(placed), "roles": roles}
    said = [condition("Admitted", since=admitted), condition("Ready", since=began)]
    return b.status(phase="Running", admission=admission, startTime=ago(began), conditions=said, observedGeneration=1)


@pytest.mark.parametrize(
    ("held", "stops"),
    [
        (running(99, 99, 99), False),
        (running(100, 100, 100), True),
        (running(500, 500, 99), False),  # pods were pulled for long
        (running(500, 10, 400), True),  # it was resized, or nodes of its place are others
        (running(50, 50, 5000), False),  # it was suspended or preempted meanwhile
    ],
)
def test_the_time_to_run_begins_when_a_job_is_admitted_and_runs(held: b.Modifier, stops: bool) -> None:
    observed = Observed(a_job(held), pods=(a_pod(),), max_run_seconds=100)
    plan = plan_training_job(observed, NOW)
    assert ((plan.status or {}).get("reason") == "RunTimeExceeded") is stops
    assert plan.delete == (), "the decision is durable before it acts"


def test_a_job_whose_pods_end_well_when_they_are_asked_to_stop_is_complete() -> None:
    stopping = running(200, 200, 200)
    job = a_job(stopping)
    ready = {**condition("Ready", "False"), "reason": "RunTimeExceeded"}
    late = a_job(stopping, b.status(phase="Suspending", conditions=[condition("Admitted", since=200), ready]))
    assert plan_training_job(Observed(job, pods=(a_pod(),), max_run_seconds=100), NOW).status is not None
    plan = plan_training_job(Observed(late, pods=(a_pod("Succeeded"),), max_run_seconds=100), NOW)
    assert (plan.status or {})["phase"] == "Complete"
