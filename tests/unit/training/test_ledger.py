"""What a job's time was spent on: derived from statuses, pods and reports, whatever rule wrote the status."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders as b
from tests.unit.training.life import BEGIN, KEY, PLACE, Life, at, trains
from trainyard.api.energy import Draw
from trainyard.api.flavor import FlavorSpec
from trainyard.api.ledger import MAX_CAUSES, MAX_MARKS, Category, Ledger
from trainyard.scheduling.snapshot import Evict, WorkloadKey
from trainyard.training.charges import draw_of
from trainyard.training.ledger_book import OTHER, Book
from trainyard.training.observed import Observed, Report
from trainyard.training.plan import plan_training_job
from trainyard.workloads.pod_state import Exit


def test_each_second_of_a_start_is_in_the_category_that_pods_and_report_tell() -> None:
    life = trains()
    assert life.spent() == {"queued": 5, "provisioning": 1, "pulling": 4, "starting": 10, "productive": 100}
    assert life.causes() == {"PendingEvaluation": (5, 0), "PodsStarting": (15, 30)}
    assert (life.ledger.current, life.ledger.since, life.ledger.cause) == (Category.PRODUCTIVE, at(120), "")
    assert life.ledger.gpu_hours * 3600 == pytest.approx(2 * 115)


def test_a_job_that_starts_is_not_written_to_for_the_ledgers_sake() -> None:
    life = Life().look(5, PLACE)
    written = len(life.urgent)
    life.starts(created=5, bound=6, started=10).look(12)
    assert life.urgent[written:] == [True], "what the ledger notes goes with the news that all pods run"
    assert life.look(5000).urgent[written + 1 :] == []


def test_progress_takes_the_ledger_along_and_is_no_more_urgent_for_it() -> None:
    life = trains()
    written = len(life.urgent)
    life.says(150, 130, firstStepAt=at(20).isoformat()).look(150)
    assert life.urgent[written:] == [False]
    life.says(151, 130, firstStepAt=at(20).isoformat(), spent={"saving": 5.0}).look(151)
    assert life.urgent[written + 1 :] == [], "the same step again is no news"


def test_the_trainers_word_divides_the_running_time() -> None:
    life = trains()
    spent = {
        "loading": 7.0,
        "saving": 12.5,
        "dataWait": 3.0,
        "evaluating": 6.0,
        "hang": 2.0,
        "productive": 1.0,
        "?": 9.0,
    }
    life.says(220, 200, firstStepAt=at(20).isoformat(), spent=spent).look(220)
    assert life.spent() == {
        "queued": 5,
        "provisioning": 1,
        "pulling": 4,
        "starting": 3,
        "loading": 7,
        "productive": 182.5,
        "saving": 12.5,
        "dataWait": 3,
        "hang": 2,
    }
    assert life.causes()["Saving"] == (12.5, 25)
    life.says(221, 201, firstStepAt=at(20).isoformat(), spent={**spent, "saving": 1e9}).look(221)
    assert "productive" not in life.spent(), "no more is moved than there is"


def test_a_trainer_that_says_that_it_reads_is_loading() -> None:
    life = Life().look(5, PLACE).starts(created=5, bound=6, started=10).look(12)
    life.report = Report(1, at(15), {"phase": "restoring", "step": 0})
    life.look(15)
    assert life.ledger.current is Category.LOADING
    life.says(40, 5, firstStepAt=at(30).isoformat()).look(40)
    assert (life.spent()["starting"], life.spent()["loading"], life.spent()["productive"]) == (5, 15, 10)


def test_work_since_the_checkpoint_that_is_restored_is_lost_to_what_ended_the_attempt() -> None:
    life = trains().fails(137, 130, step=110).look(130)
    assert life.ledger.current is Category.RECOVERING
    assert life.spent()["productive"] == 110
    life.starts(created=131, bound=131, started=133).look(135)
    assert life.ledger.current is Category.RECOVERING, "until the first new step"
    life.says(150, 85, restoredStep=80, firstStepAt=at(145).isoformat()).look(150)
    assert life.spent()["recovering"] == 15
    assert life.spent()["lostWork"] == pytest.approx(30), "step 80 was reached after 80 s of 110"
    assert life.spent()["productive"] == pytest.approx(80 + 5)
    assert life.causes()["UserError"] == pytest.approx((45, 90))


def test_a_run_that_goes_on_where_it_was_loses_only_what_came_after_the_last_report() -> None:
    life = trains().fails(1, 130).look(130).starts(created=131, bound=131, started=133)
    life.says(150, 105, restoredStep=100, firstStepAt=at(145).isoformat()).look(150)
    assert life.spent()["lostWork"] == 10


def test_without_a_checkpoint_all_is_lost() -> None:
    life = trains().fails(1, 130).look(130).starts(created=131, bound=131, started=133)
    life.says(150, 5, firstStepAt=at(145).isoformat()).look(150)
    assert (life.spent()["lostWork"], life.spent()["productive"]) == (110, 5)


def test_a_run_of_which_only_the_last_words_are_known_may_have_lost_nothing() -> None:
    life = trains().fails(1, 130).look(130).starts(created=131, bound=131, started=133)
    life.fails(1, 200, step=150, firstStepAt=at(140).isoformat()).look(200)
    assert (life.spent()["productive"], life.spent()["recovering"]) == (110 + 60, 10)
    assert "lostWork" not in life.spent()


def test_several_failures_before_a_step_are_one_recovery_and_lose_the_work_once() -> None:
    life = trains().fails(1, 130).look(130).starts(created=131, bound=131, started=133).look(135)
    life.fails(137, 140).look(140).starts(created=141, bound=141, started=143)
    life.says(170, 90, restoredStep=80, firstStepAt=at(160).isoformat()).look(170)
    assert (life.spent()["recovering"], life.spent()["lostWork"]) == pytest.approx((30, 30))


def test_a_place_that_is_given_back_while_recovering_says_what_is_waited_for() -> None:
    life = trains().fails(1, 130).look(130)
    life.pod = None
    lost = Observed(life.job, lost_nodes=frozenset({"n0"}))
    plan = plan_training_job(lost, at(200))
    assert plan.status is not None
    ledger = Ledger.model_validate(plan.status["ledger"])
    assert (ledger.current, ledger.cause, ledger.seconds.recovering) == (Category.RECOVERING, "NodeLost", 70)


def test_the_program_that_is_started_again_in_its_pods_recovers_from_when_it_failed() -> None:
    life = trains()
    failed = {"round": 2, "index": 0, "exitCode": 1, "cause": "boom", "step": 118, "at": at(140).timestamp()}
    life.report = Report(1, at(142), {"phase": "starting", "step": 0, "restarted": failed})
    life.look(142)
    assert life.ledger.current is Category.RECOVERING
    assert (life.spent()["productive"], life.spent()["recovering"]) == (120, 2)
    life.says(160, 85, restoredStep=80, firstStepAt=at(150).isoformat(), restarted=failed, spent={"loading": 17.0})
    life.look(160)
    assert (life.spent()["recovering"], life.spent()["lostWork"], life.spent()["productive"]) == (10, 40, 90)
    assert life.spent()["starting"] == 10, "what the second start read belongs to the recovery"
    assert life.job.status.attempt == 1


def test_what_was_written_as_work_after_a_failure_that_nobody_had_told_yet_is_taken_back() -> None:
    life = trains()
    life.says(138, 118, firstStepAt=at(20).isoformat()).look(150)
    failed = {"round": 2, "index": 0, "exitCode": 1, "cause": "boom", "step": 118, "at": at(140).timestamp()}
    life.says(165, 119, restoredStep=118, firstStepAt=at(160).isoformat(), restarted=failed).look(165)
    assert (life.spent()["recovering"], life.spent()["productive"]) == pytest.approx((20, 125))
    assert life.spent().get("lostWork", 0) <= 12, "what the last report told of, at most"


def test_a_run_that_fell_silent_before_it_was_lost_worked_until_its_last_report() -> None:
    life = trains()
    life.says(128, 108, firstStepAt=at(20).isoformat()).look(128)
    life.look(160)
    assert life.pod is not None
    life.pod = replace(life.pod, deleting_since=at(168))
    life.look(168)
    assert life.ledger.current is Category.RECOVERING
    assert (life.spent()["productive"], life.spent()["recovering"]) == pytest.approx((108, 40))


def test_one_report_may_tell_that_the_program_was_started_again_and_makes_steps_since() -> None:
    life = trains()
    written = len(life.urgent)
    failed = {"round": 2, "index": 0, "exitCode": 77, "cause": "hang", "step": 100, "at": at(140).timestamp()}
    life.says(160, 85, restoredStep=80, firstStepAt=at(150).isoformat(), restarted=failed).look(160)
    spent = life.spent()
    assert (spent["hang"], spent["recovering"], spent["lostWork"], spent["productive"]) == (20, 10, 20, 90)
    assert life.ledger.current is Category.PRODUCTIVE
    assert life.urgent[written:] == [True], "one write tells it all"


@pytest.mark.parametrize(("step", "hang"), [(100, 80), (110, 70)])
def test_time_without_a_step_is_a_hang_once_it_is_known_for_one(step: int, hang: float) -> None:
    life = trains()
    life.fails(77, 200, step=step, cause="hang: no step for 80 s").look(200)
    assert life.spent()["hang"] == pytest.approx(hang), "a step took a second"
    assert life.causes()["Hang"] == pytest.approx((hang, 2 * hang))
    life.starts(created=201, bound=201, started=203)
    life.says(220, 101, restoredStep=80, firstStepAt=at(219).isoformat()).look(220)
    assert life.spent()["lostWork"] == pytest.approx(step - 80)
    assert life.spent()["productive"] == pytest.approx(81)


def test_a_hang_of_which_no_step_is_known_moves_nothing() -> None:
    life = trains().fails(1, 130).look(130).starts(created=131, bound=131, started=133)
    life.says(150, 0, restoredStep=0, firstStepAt=at(145).isoformat()).look(150)
    assert life.ledger.marks == []
    life.fails(77, 200).look(200)
    assert "hang" not in life.spent()


def test_words_that_were_left_out_at_the_end_do_not_take_back_what_was_reported() -> None:
    life = trains()
    life.says(125, 105, firstStepAt=at(20).isoformat(), spent={"saving": 6.0})
    life.fails(1, 130, step=110, firstStepAt=None, spent=None).look(130)
    assert (life.spent()["saving"], life.spent()["productive"]) == (6, 104)


def test_who_makes_way_saves_waits_and_starts_again_and_each_is_told_apart() -> None:
    life = trains()
    by = WorkloadKey("TrainingJob", b.NAMESPACE, "b")
    life.look(130, Evict(KEY, "u", at(160), 1.0, by, "v"))
    assert (life.ledger.current, life.ledger.cause) == (Category.SAVING, "Preempted")
    life.pod = None
    life.look(140).look(200, PLACE)
    life.starts(created=200, bound=201, started=203)
    life.says(220, 101, restoredStep=100, firstStepAt=at(210).isoformat()).look(220)
    spent = life.spent()
    assert {name: spent[name] for name in ("saving", "queued", "pulling", "starting")} == {
        "saving": 10,
        "queued": 65,
        "pulling": 6,
        "starting": 17,
    }
    assert "recovering" not in spent
    assert life.causes()["Preempted"][0] == pytest.approx(10 + 60 + 10 + 10), "saved, waited, started anew, made again"


def test_a_suspended_job_spends_its_time_so_and_a_finished_one_none() -> None:
    life = trains().edit(suspend=True).look(130)
    life.pod = None
    life.look(135).look(500)
    assert life.ledger.current is Category.SUSPENDED
    life.edit(suspend=False).look(600, PLACE).starts(created=600, bound=600, started=601).look(610)
    assert life.spent()["suspended"] == 465
    assert life.pod is not None
    life.pod = replace(life.pod, phase="Succeeded", exit=Exit(0, "Completed", json.dumps({"step": 200}), at(700)))
    life.look(700)
    assert life.ledger.current is None
    assert sum(life.ledger.until(at(9999)).values()) == 700


def test_a_program_that_never_reports_is_taken_to_work_once_its_containers_run() -> None:
    own = b.spec(model=None, dataset=None, entrypoint={"command": ["python", "train.py"]})
    life = Life(own).look(5, PLACE).starts(created=5, bound=6, started=10).look(12).fails(1, 100).look(100)
    assert (life.spent()["productive"], life.ledger.current) == (90, Category.RECOVERING)
    life.starts(created=101, bound=101, started=105).look(110)
    assert (life.spent()["recovering"], life.ledger.current) == (5, Category.PRODUCTIVE)


@pytest.mark.fault(28)
def test_a_status_without_a_ledger_begins_with_the_creation() -> None:
    admission = {
        "epoch": 1,
        "queue": "research",
        "flavor": "h200",
        "time": at(50).isoformat(),
        "roles": [{"name": "worker", "prefix": "n0", "runs": [{"node": "", "count": 1}]}],
    }
    life = Life(b.status(admission=admission, phase="Running")).starts(created=51, bound=52, started=60)
    life.says(100, 9, firstStepAt=at(70).isoformat()).look(100)
    assert life.spent() == {"queued": 50, "provisioning": 2, "pulling": 8, "starting": 10, "productive": 30}


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0.001, 1e5)), max_size=60))
def test_causes_stay_few_and_lose_nothing(blames: list[tuple[int, float]]) -> None:
    ledger = Ledger(current=Category.QUEUED, since=BEGIN)
    for cause, seconds in blames:
        book = Book(ledger, (1, 1), 3.0)
        book.add(Category.QUEUED, round(seconds, 6), f"cause-{cause}")
        ledger = book.closed(Category.QUEUED, "", "", BEGIN, (1, 1))
    assert len(ledger.causes) <= MAX_CAUSES
    # Each addition rounds the cause and the total: seconds to six decimals, GPU-hours to nine.
    rounded = 2 * len(blames)
    assert sum(each.seconds for each in ledger.causes) == pytest.approx(ledger.seconds.queued, abs=1e-6 * rounded)
    assert sum(each.gpu_hours for each in ledger.causes) == pytest.approx(ledger.gpu_hours, abs=1e-9 * rounded)
    assert len({each.cause for each in ledger.causes}) == len(ledger.causes)
    assert len(blames) <= MAX_CAUSES or OTHER not in {each.cause for each in ledger.causes[:-1]}


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=40))
def test_marks_stay_few_and_in_order(reports: list[tuple[int, bool]]) -> None:
    book, step, saved = Book(Ledger(since=BEGIN), (1, 1), 1.0), 0, None
    for more, saves in reports:
        step += more
        saved = step - more // 2 if saves else saved
        book.add(Category.PRODUCTIVE, float(more), "")
        book.mark(step, saved)
    marks = book.closed(None, "", "", BEGIN, (1, 1)).marks
    assert [each.step for each in marks] == sorted({each.step for each in marks})
    assert len(marks) <= MAX_MARKS
    assert marks[-1].step == step
    assert all(each.seconds == pytest.approx(each.step) for each in marks), "one step a second"


PRICED = FlavorSpec(watts_per_unit=700, idle_watts_per_unit=100, price_per_hour=3.6)


def test_a_place_draws_what_its_flavor_states_and_nothing_is_drawn_without_one() -> None:
    life = trains(flavor=PRICED)
    idle, busy = 2 * 100 * (1 + 4 + 10), 2 * 700 * 100
    assert life.ledger.estimated_joules == pytest.approx(idle + busy), "5 s in the queue drew nothing"
    assert life.ledger.cost == pytest.approx(2 * 3.6 * 115 / 3600)
    assert life.ledger.measured_joules == 0
    bare = trains().ledger
    assert (bare.estimated_joules, bare.cost, bare.energy(at(200))) == (0, 0, None)


def test_the_time_since_the_ledger_was_written_is_added_by_what_is_drawn_now() -> None:
    life = trains(flavor=PRICED)
    known = life.ledger.estimated_joules
    found = life.ledger.energy(at(130), draw_of(life.job, life.flavors))
    assert found is not None
    assert found.estimated_joules == pytest.approx(known + 10 * 1400)
    assert found.cost == pytest.approx(life.ledger.cost + 10 * 7.2 / 3600)


def test_what_is_read_of_a_gpu_that_others_may_use_too_is_not_counted() -> None:
    life = trains(flavor=PRICED)
    life.shares_gpus = True
    life.says(130, 110, firstStepAt=at(20).isoformat(), joules=50_000.0).look(130)
    assert life.ledger.measured_joules == 0


def test_what_trainers_measure_is_kept_apart_and_goes_on_through_starts_and_attempts() -> None:
    life = trains(flavor=PRICED)
    estimated = life.ledger.estimated_joules
    life.says(130, 110, firstStepAt=at(20).isoformat(), joules=50_000.0).look(130)
    life.says(140, 120, firstStepAt=at(20).isoformat(), joules=61_000.0).look(140)
    assert life.ledger.measured_joules == 61_000
    assert life.ledger.estimated_joules == pytest.approx(estimated + 20 * 1400)
    failed = {"round": 2, "index": 0, "exitCode": 1, "cause": "boom", "step": 120, "at": at(145).timestamp()}
    life.says(160, 125, firstStepAt=at(150).isoformat(), restoredStep=120, restarted=failed, joules=4_000.0).look(160)
    assert life.ledger.measured_joules == 65_000, "the counter began again with the program"
    life.says(170, 130, firstStepAt=at(150).isoformat(), restoredStep=120, restarted=failed, joules=3_000.0).look(170)
    assert life.ledger.measured_joules == 65_000, "a report that came late takes nothing back"


@given(
    st.lists(st.tuples(st.sampled_from(list(Category)), st.floats(0, 1e5)), max_size=20),
    st.floats(0, 5000),
    st.floats(0, 5000),
)
def test_an_estimate_lies_between_idle_and_busy_for_all_the_time(
    spent: list[tuple[Category, float]], idle: float, busy: float
) -> None:
    book = Book(Ledger(since=BEGIN), (1, 1), 1.0, Draw(busy, idle, 1.0))
    for category, seconds in spent:
        book.add(category, seconds, "")
    ledger, total = book.closed(None, "", "", BEGIN, (1, 1)), sum(seconds for _, seconds in spent)
    low, high = sorted((idle, busy))
    assert low * total - 1e-2 <= ledger.estimated_joules <= high * total + 1e-2
    assert ledger.cost == pytest.approx(total / 3600, abs=1e-6)
