"""No user can make the number of series grow without end."""

from datetime import timedelta

from prometheus_client import CollectorRegistry

from tests.unit.metrics.scripted_world import (
    NOW,
    collector_of,
    full_registry,
    running_job,
    scripted_world,
    training_job,
    value,
    values,
)
from trainyard.metrics.definitions import ALL, SERIES_DROPPED
from trainyard.metrics.instruments import OTHER, Metrics
from trainyard.metrics.of_queues import UNKNOWN_QUEUE
from trainyard.training.reports import MOST_MEASURES, ReportBoard


async def test_a_label_with_known_values_has_no_others() -> None:
    found = {family.name: family for family in full_registry().collect()}
    for metric in ALL:
        for label, allowed in metric.values.items():
            family = found[metric.family]
            seen = {sample.labels[label] for sample in family.samples if label in sample.labels}
            assert seen <= set(allowed), (metric.name, label)


async def test_queues_that_do_not_exist_share_one_series() -> None:
    world = scripted_world()
    for number in range(20):
        world.observe("TrainingJob", None, training_job(f"job-{number}", queue=f"made-up-{number}"))
    registry = CollectorRegistry()
    registry.register(collector_of(world))
    name = "trainyard_queue_pending_workloads"
    assert value(registry, name, queue=UNKNOWN_QUEUE, reason="PendingEvaluation") == 20
    queues = {dict(labels)["queue"] for series, labels in values(registry) if series == name}
    assert queues == {"research", UNKNOWN_QUEUE}


async def test_ledgers_of_made_up_queues_share_series_and_unknown_causes_too() -> None:
    world = scripted_world()
    for number in range(20):
        job = running_job()
        job["metadata"] |= {"name": f"job-{number}", "uid": f"uid-{number}"}
        job["spec"]["queue"] = f"made-up-{number}"
        job["status"]["ledger"]["causes"] = [{"cause": f"cause-{number}", "seconds": 1, "gpuHours": 1}]
        world.observe("TrainingJob", None, job)
    registry = full_registry(world)
    name = "trainyard_training_job_unproductive_gpu_seconds"
    assert value(registry, name, queue=UNKNOWN_QUEUE, cause="other") == 20 * 3600
    found = [dict(labels) for series, labels in values(registry) if series == "trainyard_training_job_ledger_seconds"]
    assert {each["queue"] for each in found} == {"research", UNKNOWN_QUEUE}


def test_counters_stop_telling_queues_apart_when_there_were_too_many() -> None:
    metrics = Metrics(CollectorRegistry())
    for number in range(1500):
        metrics.completed(f"queue-{number}", "failed")
    metrics.completed("queue-7", "failed")
    name = "trainyard_training_job_completions_total"
    assert value(metrics.registry, name, queue=OTHER, result="failed") == 500
    assert value(metrics.registry, name, queue="queue-7", result="failed") == 2


def test_an_event_with_a_reason_of_somebody_else_is_counted_as_other() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.event("Warning", "NodeLost")
    metrics.event("Warning", "made up")
    name = "trainyard_events_emitted_total"
    assert value(metrics.registry, name, type="Warning", reason="NodeLost") == 1
    assert value(metrics.registry, name, type="Warning", reason=OTHER) == 1


async def test_a_job_shows_a_bounded_number_of_measures() -> None:
    world, job = scripted_world(), running_job()
    job["status"]["progress"]["metrics"] = {f"m{number:02}": float(number) for number in range(32)}
    world.observe("TrainingJob", job, job)
    registry = full_registry(world)
    found = [name for name, _ in values(registry) if name == "trainyard_training_job_metric"]
    assert len(found) == 16
    assert value(registry, "trainyard_training_job_measures_left_out", namespace="team", training_job="digits") == 16


async def test_a_job_that_invents_names_of_measures_has_no_more_series_in_its_life() -> None:
    world, job, board = scripted_world(), running_job(), ReportBoard()
    world.observe("TrainingJob", job, job)
    seen: set[str] = set()
    for number in range(60):
        measures = {"accuracy": 0.9, f"invented-{number}": 1.0}
        attempt = 2 + number // 30
        body = {"jobUid": "uid-digits", "attempt": attempt, "step": number + 200, "metrics": measures}
        board.put(body, NOW + timedelta(seconds=number))
        job = running_job()
        job["status"]["attempt"] = attempt
        world.observe("TrainingJob", job, job)
        registry = full_registry(world, report=board.of("uid-digits"))
        shown = [dict(labels)["name"] for name, labels in values(registry) if name == "trainyard_training_job_metric"]
        assert "accuracy" in shown
        seen |= set(shown)
    assert len(seen) == MOST_MEASURES
    assert value(registry, "trainyard_training_job_measures_left_out", namespace="team", training_job="digits") == 1
    board.forget("uid-digits")
    board.put({"jobUid": "uid-digits", "attempt": 1, "metrics": {"mse": 1.0}}, NOW)
    assert (again := board.of("uid-digits")) is not None
    assert again.measures == ("mse",)


async def test_a_family_at_its_cap_says_how_many_series_it_left_out() -> None:
    world = scripted_world()
    for number in range(30):
        world.observe("TrainingJob", None, training_job(f"job-{number}"))
    registry = full_registry(world, cap=20)
    name = "trainyard_training_job_info"
    assert len([series for series, _ in values(registry) if series == name]) == 20
    assert value(registry, SERIES_DROPPED.name, family=name) == 12


async def test_a_long_label_value_is_cut() -> None:
    world = scripted_world()
    job = training_job("own", entrypoint={"command": ["x"], "image": "i" * 1000})
    job["spec"].pop("model")
    world.observe("TrainingJob", None, job)
    info = [dict(labels) for name, labels in values(full_registry(world)) if name == "trainyard_training_job_info"]
    assert max(len(labels["model"]) for labels in info) == 256
