"""One record for each interruption: what struck when, how far the remedy went, what was lost, and when steps were made again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests import builders as b
from tests.unit.training.life import KEY, PLACE, Life, at, trains
from trainyard.api.incident import MAX_INCIDENTS, Incident, Outcome, Scope
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.snapshot import Evict, WorkloadKey
from trainyard.training.incidents import closed_since, of_deleted

OTHER = WorkloadKey("TrainingJob", b.NAMESPACE, "other")


def moments(incident: Incident) -> dict[str, float]:
    """Seconds of the job's life, without what never happened."""
    names = ("fault_at", "detected_at", "decided_at", "replaced_at", "recovered_at", "ended_at")
    found = {name: getattr(incident, name) for name in names}
    return {name: (each - at(0)).total_seconds() for name, each in found.items() if each is not None}


def only(life: Life) -> Incident:
    (incident,) = life.job.status.incidents
    return incident


def restored(life: Life, seconds: float, step: int, from_step: int) -> Life:
    """Its pod of the next attempt runs at once, and made its first step five seconds before."""
    life.starts(created=seconds - 12, bound=seconds - 12, started=seconds - 10).look(seconds - 8)
    first = at(seconds - 5).isoformat()
    return life.says(seconds, step, restoredStep=from_step, firstStepAt=first).look(seconds)


def in_pods(round_: int, seconds: float, **more: Any) -> dict[str, Any]:
    told = {"round": round_, "index": 0, "exitCode": 1, "cause": "boom", "step": 118, "at": at(seconds).timestamp()}
    return {"restarted": {**told, **more}}


def test_a_job_that_trains_has_none_and_nothing_is_written_for_one() -> None:
    assert trains().job.status.incidents == []


def test_a_failed_pod_is_followed_from_its_end_to_the_first_new_step() -> None:
    life = trains().fails(137, 128, step=110).look(130)
    incident = only(life)
    assert (incident.outcome, incident.scope, incident.cause) == (Outcome.OPEN, Scope.GANG, "UserError")
    assert (incident.pod, incident.node, incident.planned) == ("a-worker-0-1", "n0", False)
    restored(life, 150, 85, 80)
    incident = only(life)
    assert incident.outcome is Outcome.RECOVERED
    assert moments(incident) == {
        "fault_at": 128,
        "detected_at": 130,
        "decided_at": 130,
        "replaced_at": 140,
        "recovered_at": 145,
        "ended_at": 145,
    }
    assert (incident.step, incident.restored_step, incident.lost_steps) == (110, 80, 30)
    lost = life.causes()["UserError"][1]
    assert incident.lost_gpu_seconds == pytest.approx(lost, abs=1e-3), "what the ledger blames it for"


def test_what_agents_start_again_themselves_is_told_with_the_times_they_saw() -> None:
    life = trains().says(142, 0, phase="starting", **in_pods(2, 140)).look(142)
    incident = only(life)
    assert (incident.scope, incident.attempt, incident.round) == (Scope.PROGRAM, 1, 1)
    life.says(160, 90, restoredStep=80, firstStepAt=at(150).isoformat(), **in_pods(2, 140)).look(160)
    assert moments(only(life)) == {
        "fault_at": 140,
        "detected_at": 140,
        "decided_at": 140,
        "recovered_at": 150,
        "ended_at": 150,
    }
    assert only(life).lost_steps == 38


def test_a_restart_of_which_one_report_tells_all_is_one_record() -> None:
    life = trains()
    life.says(160, 90, restoredStep=80, firstStepAt=at(150).isoformat(), **in_pods(2, 140)).look(160)
    incident = only(life)
    assert (incident.outcome, incident.lost_steps) == (Outcome.RECOVERED, 38)
    assert incident.lost_gpu_seconds > 0


def test_a_hang_began_with_the_last_step_and_points_to_the_stacks() -> None:
    life = trains(b.storage()).says(200, 0, phase="starting", spent={"hang": 45.0}, **in_pods(2, 190, exitCode=77))
    incident = only(life.look(200))
    assert (incident.cause, incident.stacks) == ("Hang", "a-01234567/stacks/attempt-1-round-1")
    assert moments(incident)["fault_at"] == pytest.approx(190 - 45)
    assert moments(incident)["detected_at"] == 190


def test_the_same_failure_before_a_new_step_counts_up_and_another_one_takes_over() -> None:
    life = trains().fails(137, 130, cause="boom").look(130).starts(created=131, bound=131, started=133).look(135)
    life.fails(137, 140, cause="boom").look(140)
    assert only(life).times == 2
    life.starts(created=141, bound=141, started=143).look(145).fails(1, 150, cause="NCCL error").look(150)
    first, second = life.job.status.incidents
    assert (first.outcome, first.times, first.ended_at) == (Outcome.SUPERSEDED, 2, at(150))
    assert (second.cause, second.number, second.outcome) == ("Network", 2, Outcome.OPEN)


def test_a_failure_that_ends_the_job_is_a_record_without_a_recovery() -> None:
    life = trains(b.max_restarts(0)).fails(1, 130).look(130)
    incident = only(life)
    assert (incident.outcome, incident.recovered_at, incident.ended_at) == (Outcome.FAILED, None, at(130))


def test_a_preemption_is_planned_and_lasts_until_the_job_trains_elsewhere() -> None:
    life = trains()
    life.look(130, Evict(KEY, "u", at(190), 1.0, OTHER, "v"))
    incident = only(life)
    assert (incident.cause, incident.planned, incident.outcome) == ("Preempted", True, Outcome.OPEN)
    life.fails(75, 134, step=118).look(135)
    assert (only(life).scope, only(life).decided_at) == (Scope.PLACE, None), "it waits for a place"
    life.pod = None
    life.report = None
    life.look(500, PLACE)
    restored(life, 530, 120, 118)
    incident = only(life)
    assert moments(incident)["decided_at"] == 500
    assert (incident.outcome, incident.lost_steps) == (Outcome.RECOVERED, 0)


def test_a_stop_that_does_not_happen_after_all_is_no_interruption() -> None:
    life = trains().edit(suspend=True).look(130)
    assert only(life).cause == "Suspended"
    life.edit(suspend=False).look(131)
    assert life.job.status.phase == "Running"
    assert life.job.status.incidents == []


def test_a_place_in_which_nothing_ever_ran_is_no_interruption() -> None:
    life = Life().look(5, PLACE).look(6)
    life.pod = replace(life.starts(created=5, bound=6, started=6).pod, phase="Failed", reason="OutOfcpu", exit=None)  # type: ignore[type-var]
    life.look(10)
    assert life.job.status.reason == "AttemptUndone"
    assert life.job.status.incidents == []


def test_only_the_last_ones_are_kept_and_their_numbers_go_on() -> None:
    life = trains(b.max_restarts(100))
    for number in range(MAX_INCIDENTS + 2):
        began = 200 + 100 * number
        life.fails(137, began).look(began)
        restored(life, began + 50, 85 + number, 80)
    numbers = [each.number for each in life.job.status.incidents]
    assert numbers == list(range(3, MAX_INCIDENTS + 3))


def test_the_largest_list_leaves_room_for_everything_else_in_the_object() -> None:
    words = {"message": "m" * 256, "pod": "p" * 253, "node": "n" * 253, "stacks": "s" * 512, "cause": "c" * 64}
    times = dict.fromkeys(("fault_at", "detected_at", "decided_at", "replaced_at", "recovered_at", "ended_at"), at(1.5))
    largest = Incident(number=10**6, attempt=10**6, step=2**63 - 1, restored_step=2**63 - 1, **words, **times)
    assert MAX_INCIDENTS * len(largest.model_dump_json(by_alias=True)) < 40_000


def test_what_is_over_is_told_once_and_what_was_open_ends_with_its_job() -> None:
    life = trains().fails(137, 130).look(130)
    struck = life.job
    restored(life, 150, 85, 80)
    (told,) = closed_since(struck, life.job)
    assert (told.job, told.namespace, told.queue, told.uid) == ("a", b.NAMESPACE, "research", "01234567-89")
    assert closed_since(life.job, life.job) == []
    (deleted,) = of_deleted(struck, at(131) + timedelta(seconds=1))
    assert (deleted.outcome, deleted.ended_at) == (Outcome.DELETED, at(132))


def test_a_status_of_before_there_were_incidents_is_gone_on_with() -> None:
    life = trains()
    raw = life.job.model_dump(by_alias=True, mode="json")
    del raw["status"]["incidents"]
    life.job = TrainingJob.model_validate(raw)
    assert only(life.fails(1, 130).look(130)).number == 1
