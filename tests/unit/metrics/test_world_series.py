"""Series of objects: what they say, and that they end with the object."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.unit.metrics.scripted_world import (
    NOW,
    ago,
    collector_of,
    flavor,
    full_registry,
    inference_service,
    node,
    pod,
    queue,
    running_job,
    scripted_world,
    training_job,
    value,
    values,
    waiting,
)
from trainyard.api.names import GPU
from trainyard.metrics.of_training_jobs import seconds_of
from trainyard.training.observed import Report
from trainyard.workloads.world import World

JOB = {"namespace": "team", "training_job": "digits"}
SERVICE = {"namespace": "team", "inference_service": "digits"}


@pytest.fixture
def world() -> World:
    return scripted_world()


def read(world: World, name: str, /, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(collector_of(world))
    return value(registry, f"trainyard_{name}", **labels)


async def test_a_deleted_job_leaves_no_series_behind(world: World) -> None:
    world.observe("TrainingJob", running_job(), None)
    left = [name for name, labels in values(full_registry(world)) if ("training_job", "digits") in labels]
    assert left == []


@pytest.mark.fault(69)
async def test_a_deleted_service_node_and_queue_leave_no_series_of_theirs_behind(world: World) -> None:
    world.observe("InferenceService", inference_service(), None)
    world.observe("Node", node("node-2", 8), None)
    world.observe("Queue", queue(), None)
    gone = {("inference_service", "digits"), ("node", "node-2"), ("queue", "research")}
    registry = CollectorRegistry()
    registry.register(collector_of(world))
    assert [name for name, labels in values(registry) if labels & gone and "info" not in name] == []


async def test_quota_is_counted_as_the_scheduler_counts_it(world: World) -> None:
    labels = {"queue": "research", "flavor": "h200", "resource": GPU}
    assert read(world, "quota_guaranteed", **labels) == 8
    assert read(world, "quota_used", **labels) == 3


async def test_pods_of_a_deleted_job_use_quota_until_they_are_gone(world: World) -> None:
    labels = {"queue": "research", "flavor": "h200", "resource": GPU}
    world.observe("TrainingJob", running_job(), None)
    assert read(world, "quota_used", **labels) == 3
    for name in ("digits-2-0", "digits-2-1"):
        world.observe("Pod", pod(name, running_job(), "node-1", "worker"), None)
    assert read(world, "quota_used", **labels) == 1


async def test_a_job_and_a_replica_wait_by_reason_and_the_longest_wait_is_told(world: World) -> None:
    assert read(world, "queue_pending_workloads", queue="research", reason="WaitingForQuota") == 2
    assert read(world, "queue_pending_workloads", queue="research", reason="OnHold") == 0
    assert read(world, "queue_admitted_workloads", queue="research") == 2
    assert read(world, "queue_oldest_pending_seconds", queue="research") == 3600


async def test_a_replica_without_a_model_to_serve_waits_for_no_place(world: World) -> None:
    service = inference_service()
    service["status"].pop("model")
    service["status"].pop("rollout")
    world.observe("InferenceService", service, service)
    world.observe("TrainingJob", running_job(), None)
    assert read(world, "queue_pending_workloads", queue="research", reason="WaitingForQuota") == 1


async def test_a_job_that_lost_its_place_waits_since_then(world: World) -> None:
    status = {"attempt": 2, "conditions": [waiting("AttemptUndone", minutes=2)]}
    job = training_job("waits", status=status)
    world.observe("TrainingJob", job, job)
    assert read(world, "queue_pending_workloads", queue="research", reason="PendingEvaluation") == 1
    assert read(world, "queue_oldest_pending_seconds", queue="research") == 120


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({"suspend": True}, {}),
        ({}, {"conditions": [{**waiting("Complete"), "type": "Complete", "status": "True"}]}),
        ({}, {"conditions": [{**waiting("TerminalExit"), "type": "Failed", "status": "True"}]}),
    ],
    ids=["suspended", "complete", "failed"],
)
async def test_a_job_that_wants_no_place_does_not_wait(
    world: World, spec: dict[str, Any], status: dict[str, Any]
) -> None:
    job = training_job("waits", status=status, **spec)
    world.observe("TrainingJob", job, job)
    assert read(world, "queue_oldest_pending_seconds", queue="research") == 60  # the service's second replica


async def test_a_job_that_lost_its_pods_has_none_that_are_ready_and_no_throughput(world: World) -> None:
    assert read(world, "training_job_samples_per_second", **JOB) is not None
    job = running_job()
    job["status"] |= {"phase": "Pending", "workers": {"active": 2, "ready": 2, "succeeded": 1}}
    for name in ("digits-2-0", "digits-2-1"):
        world.observe("Pod", pod(name, running_job(), "node-1", "worker"), None)
    world.observe("TrainingJob", job, job)
    states = {
        state: read(world, "training_job_workers", **JOB, state=state) for state in ("active", "ready", "succeeded")
    }
    assert states == {"active": 0, "ready": 0, "succeeded": 1}
    assert read(world, "training_job_samples_per_second", **JOB) is None


async def test_a_job_that_waits_tells_how_many_workers_it_wants_and_no_zeros(world: World) -> None:
    world.observe("TrainingJob", None, training_job("later"))
    labels = {**JOB, "training_job": "later"}
    found = {state: read(world, "training_job_workers", **labels, state=state) for state in ("desired", "active")}
    assert found == {"desired": 2, "active": None}


async def test_who_holds_a_job_up_is_told_with_the_node_while_it_does(world: World) -> None:
    assert read(world, "training_job_straggler_factor", **JOB, node="node-1") == 1.6
    assert read(world, "training_job_straggler_factor", **JOB, node="gone") is None, "that is over"
    assert read(world, "node_slowness", node="node-1") == 3
    assert read(world, "node_slowness", node="node-2") is None


async def test_gpus_of_a_node_are_each_in_one_state(world: World) -> None:
    def states(name: str, of: str) -> dict[str, float | None]:
        wanted = ("allocated", "free", "cordoned", "unhealthy")
        return {state: read(world, "node_gpus", node=name, flavor=of, state=state) for state in wanted}

    assert states("node-1", "h200") == {"allocated": 5, "free": 3, "cordoned": 0, "unhealthy": 0}
    assert states("node-2", "h200") == {"allocated": 0, "free": 0, "cordoned": 8, "unhealthy": 0}
    assert states("node-3", "h200") == {"allocated": 0, "free": 0, "cordoned": 0, "unhealthy": 8}
    assert states("node-4", "none") == {"allocated": 0, "free": 0, "cordoned": 4, "unhealthy": 0}


async def test_a_node_of_two_flavors_is_counted_with_the_narrower(world: World) -> None:
    world.observe("Flavor", None, {**flavor("any"), "spec": {}})
    assert read(world, "node_gpus", node="node-1", flavor="h200", state="free") == 3
    assert read(world, "node_gpus", node="node-1", flavor="any", state="free") is None


async def test_a_job_tells_its_life(world: World) -> None:
    phases = {"Running": 1, "Pending": None, "Complete": None}
    assert {phase: read(world, "training_job_phase", **JOB, phase=phase) for phase in phases} == phases
    workers = {"desired": 2, "active": 2, "ready": 1, "succeeded": 0, "failed": 0}
    assert {state: read(world, "training_job_workers", **JOB, state=state) for state in workers} == workers
    assert read(world, "training_job_restarts_total", **JOB, cause="failure") == 2
    assert read(world, "training_job_restarts_total", **JOB, cause="disruption") == 1
    assert read(world, "training_job_first_step_seconds", **JOB) == 11 * 60
    assert read(world, "training_job_checkpoint_step", **JOB) == 90
    info = {"uid": "uid-digits", "queue": "research", "flavor": "h200", "model": "cnn", "dataset": "digits"}
    assert read(world, "training_job_info", **JOB, **info) == 1


async def test_a_job_tells_its_progress(world: World) -> None:
    assert read(world, "training_job_step", **JOB) == 100
    assert read(world, "training_job_total_steps", **JOB) == 1000
    assert read(world, "training_job_loss", **JOB) == 0.5
    assert read(world, "training_job_samples_per_second", **JOB) == 640
    assert read(world, "training_job_metric", **JOB, name="accuracy") == 0.9
    assert read(world, "training_job_last_progress_timestamp_seconds", **JOB) == NOW.timestamp() - 20


async def test_the_eta_counts_down_between_reports(world: World) -> None:
    assert read(world, "training_job_eta_seconds", **JOB) == 180


async def test_a_report_newer_than_the_status_is_shown_at_once(world: World) -> None:
    report = Report(2, NOW - timedelta(seconds=1), {"step": 119, "totalSteps": 1000, "loss": 0.4})
    registry = full_registry(world, report=report)
    assert value(registry, "trainyard_training_job_step", **JOB) == 119
    assert value(registry, "trainyard_training_job_loss", **JOB) == 0.4
    assert value(registry, "trainyard_training_job_metric", **JOB, name="accuracy") == 0.9
    assert value(registry, "trainyard_training_job_eta_seconds", **JOB) == 880


async def test_a_report_of_an_earlier_attempt_is_not_shown(world: World) -> None:
    registry = full_registry(world, report=Report(1, NOW, {"step": 900}))
    assert value(registry, "trainyard_training_job_step", **JOB) == 100


async def test_workers_are_told_from_the_status_once_their_pods_are_gone(world: World) -> None:
    job = training_job("waits", status={"phase": "Complete", "workers": {"succeeded": 2}})
    world.observe("TrainingJob", job, job)
    labels = {"namespace": "team", "training_job": "waits"}
    assert read(world, "training_job_workers", **labels, state="succeeded") == 2


async def test_what_the_time_of_a_queues_jobs_was_spent_on_is_told_until_now(world: World) -> None:
    ledger = {
        each: read(world, "training_job_ledger_seconds", queue="research", category=each)
        for each in ("queued", "productive", "lostWork", "dataWait")
    }
    waits = 3600
    assert ledger == {"queued": 600 + waits, "productive": 2640 + 60, "lostWork": 240, "dataWait": 0}
    assert read(world, "training_job_unproductive_gpu_seconds", queue="research", cause="Node") == 480
    assert read(world, "training_job_unproductive_gpu_seconds", queue="research", cause="WaitingForQuota") is None
    assert read(world, "training_job_goodput_ratio", queue="research") == pytest.approx(1 - 600 / 6000)


async def test_a_job_that_ended_before_there_were_ledgers_is_left_out(world: World) -> None:
    done = {"type": "Complete", "status": "True", "reason": "Completed", "lastTransitionTime": ago(minutes=9)}
    job = training_job("waits", status={"phase": "Complete", "conditions": [done]})
    world.observe("TrainingJob", job, job)
    assert read(world, "training_job_ledger_seconds", queue="research", category="queued") == 600


async def test_a_service_tells_replicas_and_gateways(world: World) -> None:
    replicas = {"desired": 2, "admitted": 1, "ready": 1}
    assert {state: read(world, "inference_service_replicas", **SERVICE, state=state) for state in replicas} == replicas
    assert read(world, "inference_service_gateways", **SERVICE, state="desired") == 3
    assert read(world, "inference_service_gateways", **SERVICE, state="ready") == 2
    assert read(world, "inference_service_ready", **SERVICE) == 1
    assert read(world, "inference_service_start_seconds", **SERVICE) == 120
    assert read(world, "inference_service_slo_objective_ratio", **SERVICE) == 0.99


async def test_a_rollout_tells_its_phase(world: World) -> None:
    assert read(world, "inference_service_rollout_phase", **SERVICE, phase="RolledBack") == 1
    assert read(world, "inference_service_rollout_phase", **SERVICE, phase="Progressing") == 0


async def test_the_age_of_a_watch_is_absent_before_its_first_list(world: World) -> None:
    assert read(world, "watch_last_activity_age_seconds", resource="pods") == 3
    assert read(world, "watch_last_activity_age_seconds", resource="nodes") is None
    assert read(world, "cache_objects", resource="nodes") == 3


async def test_a_node_is_in_one_state(world: World) -> None:
    broken = node("node-5", 8, unschedulable=True)
    broken["status"]["conditions"].append({"type": "GPUMissing", "status": "True"})
    world.observe("Node", None, broken)
    found = {
        dict(labels)["node"]: dict(labels)["state"]
        for name, labels in values(full_registry(world))
        if name == "trainyard_node_state"
    }
    assert found == {
        "node-1": "ready",
        "node-2": "cordoned",
        "node-3": "not_ready",
        "node-4": "ready",
        "node-5": "broken",
    }


async def test_a_status_that_describes_an_older_spec_is_counted_and_one_of_what_is_deleted_is_not(world: World) -> None:
    assert read(world, "objects_unobserved", kind="Queue") == 1
    assert read(world, "objects_unobserved", kind="TrainingJob") == 2
    assert read(world, "objects_unobserved", kind="Flavor") == 0
    seen = training_job("waits", status={"observedGeneration": 1})
    going = training_job("going")
    going["metadata"]["deletionTimestamp"] = ago(seconds=1)
    for job in (seen, going):
        world.observe("TrainingJob", None, job)
    assert read(world, "objects_unobserved", kind="TrainingJob") == 1


async def test_budgets_are_told_in_seconds_of_gpus(world: World) -> None:
    assert read(world, "queue_budget_gpu_seconds", queue="research") == 8 * 3600
    assert read(world, "queue_budget_used_gpu_seconds", queue="research") == 2 * 3600
    assert read(world, "training_job_budget_gpu_seconds", **JOB) == 10 * 3600
    assert read(world, "training_job_budget_used_gpu_seconds", **JOB) == 5880 + 2 * 60, "two GPUs, a minute ago"


async def test_a_period_that_began_since_the_status_was_written_has_used_nothing(world: World) -> None:
    old = queue()
    old["status"]["budget"]["periodStart"] = ago(hours=36)
    world.observe("Queue", queue(), old)
    assert read(world, "queue_budget_used_gpu_seconds", queue="research") == 0


async def test_checkpoints_have_a_time_and_an_interval_in_steps(world: World) -> None:
    assert read(world, "training_job_checkpoint_timestamp_seconds", **JOB) == NOW.timestamp() - 180
    assert read(world, "training_job_checkpoint_interval_steps", **JOB) == 250, "a quarter of 1000 steps in 4 epochs"
    job = running_job()
    job["spec"]["training"]["checkpointEverySteps"] = 30
    world.observe("TrainingJob", running_job(), job)
    assert read(world, "training_job_checkpoint_interval_steps", **JOB) == 30


async def test_an_interval_that_the_trainer_decides_is_told_with_what_it_goes_by(world: World) -> None:
    job = running_job()
    job["spec"]["training"]["checkpointEverySteps"] = "auto"
    decided = job["status"]["progress"].pop("checkpointing")
    world.observe("TrainingJob", running_job(), job)
    assert read(world, "training_job_checkpoint_interval_steps", **JOB) is None, "it has measured none yet"
    job["status"]["progress"]["checkpointing"] = decided
    world.observe("TrainingJob", running_job(), job)
    assert read(world, "training_job_checkpoint_interval_steps", **JOB) == 420
    assert read(world, "training_job_checkpoint_interval_seconds", **JOB) == 661
    assert read(world, "training_job_checkpoint_stall_seconds", **JOB) == 1.3
    assert read(world, "training_job_expected_interruption_seconds", **JOB) == 32_760


@pytest.mark.parametrize("without", ["storage", "model"])
async def test_who_writes_no_checkpoints_of_ours_has_no_interval(world: World, without: str) -> None:
    job = running_job()
    del job["spec"][without]
    job["spec"] |= {"entrypoint": {"command": ["x"]}} if without == "model" else {}
    world.observe("TrainingJob", running_job(), job)
    assert read(world, "training_job_checkpoint_interval_steps", **JOB) is None


async def test_leadership_backlog_and_lost_events_are_told(world: World) -> None:
    assert read(world, "operator_leader", pod="trainyard-0") == 1
    assert read(world, "reconcile_queue_depth", kind="TrainingJob") == 4
    assert read(world, "reconcile_oldest_age_seconds", kind="TrainingJob") == 1.5
    assert read(world, "reconcile_queue_depth", kind="Queue") == 0
    assert read(world, "reconcile_oldest_age_seconds", kind="Node") == 0.5
    assert read(world, "events_dropped_total") == 7


async def test_a_job_that_cannot_be_rendered_does_not_hide_the_rest(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    broken = full_registry(world, report=Report(2, NOW, {"step": "many"}))
    assert value(broken, "trainyard_node_gpus", node="node-1", flavor="h200", state="free") == 3
    assert value(broken, "trainyard_inference_service_ready", **SERVICE) == 1
    assert "could not be rendered" in caplog.text


@pytest.mark.parametrize(("text", "seconds"), [("45s", 45), ("3m20s", 200), ("5h12m", 18720), ("soon", 0)])
def test_a_duration_as_people_read_it_becomes_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


def test_the_script_is_about_now() -> None:
    assert ago(seconds=0) == "2026-11-23T12:00:00Z"


@pytest.mark.fault(48)
async def test_a_node_that_a_monitor_calls_broken_has_no_free_gpus(world: World) -> None:
    sick = {"type": "GPUMissing", "status": "True"}
    thing = node("node-2", 8)
    thing["status"]["conditions"].append(sick)
    world.observe("Node", None, thing)
    assert read(world, "node_gpus", node="node-2", flavor="h200", state="unhealthy") == 8
    assert read(world, "node_gpus", node="node-2", flavor="h200", state="free") == 0


async def test_the_health_of_flavors_and_what_became_of_kept_places_are_told(world: World) -> None:
    assert read(world, "flavor_sick_nodes", flavor="h200", state="broken") == 1
    assert read(world, "flavor_sick_nodes", flavor="h200", state="suspect") == 0
    assert read(world, "flavor_breaker_open", flavor="h200") == 0
    assert read(world, "flavor_fragmented_gpus", flavor="h200") == 0.5
    assert read(world, "kept_places_total", result="made") == 3
    assert read(world, "kept_places_total", result="moved_later") == 1


async def test_limits_and_borrowed_shares_are_told(world: World) -> None:
    assert read(world, "quota_limit", queue="research", flavor="h200", resource=GPU) == 16
    assert read(world, "queue_borrowed_share", queue="research") == 0
