"""Who holds a gang up: found when it is nearly always the same, let go when it is over, and never for a moment."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders as b
from tests.unit.training.test_in_place import a_job, pod
from trainyard.api.reasons import Reason
from trainyard.api.straggler import MAX_STRAGGLERS
from trainyard.api.training_job import TrainingJob
from trainyard.training.observed import Observed, Report
from trainyard.training.plan import plan_training_job
from trainyard.training.reports import BadReport, ReportBoard
from trainyard.training.stragglers import APART_SECONDS, FOUND, KEPT, OVER, Pace, added, found, over, pace
from trainyard.workloads.plan import Plan

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)
APART = 10.0
RESIZING = {"attempt": 1, "before": 5, "time": NOW.isoformat()}


def series(*told: tuple[int, float]) -> tuple[Pace, ...]:
    """Comparisons, each with the slowest rank and its factor."""
    return tuple(Pace(number * APART, rank, factor, 1 + number / 1000) for number, (rank, factor) in enumerate(told))


def on(nodes: int, each: int = 1) -> list[str]:
    """So many ranks on each of so many nodes."""
    return [f"n{number}" for number in range(nodes) for _ in range(each)]


# One comparison.


@pytest.mark.parametrize(
    ("median", "slowest", "ranks", "factor"),
    [
        (0.2, 0.3, 8, 1.5),
        (0.2, 0.2, 8, 1.0),
        (0.3, 0.4, 2, 2.0),  # the mean of 0.2 and 0.4
        (0.2, 0.4, 2, 100.0),  # the other one takes no time at all
        (0.0002, 0.0009, 8, 1.0),  # too short to be of any meaning
    ],
)
def test_the_slowest_is_measured_against_the_others(median: float, slowest: float, ranks: int, factor: float) -> None:
    told = pace(5.0, median, slowest, 1, ranks)
    assert told is not None
    assert told.rank == 1
    assert told.factor == pytest.approx(factor)


@pytest.mark.parametrize(
    ("median", "slowest", "rank", "ranks"),
    [(0.2, 0.3, 0, 1), (0.2, 0.3, 8, 8), (0.0, 0.3, 1, 8), (0.3, 0.2, 1, 8), (0.2, 0.3, -1, 8)],
)
def test_nothing_is_made_of_a_worker_alone_or_of_nonsense(median: float, slowest: float, rank: int, ranks: int) -> None:
    assert pace(5.0, median, slowest, rank, ranks) is None


def test_what_is_told_again_counts_once() -> None:
    once = added((), Pace(0.0, 1, 1.5, 0.3))
    assert added(once, Pace(20.0, 1, 1.5, 0.3)) is once
    assert len(added(once, Pace(20.0, 1, 1.5, 0.301))) == 2
    assert added(once, None) is once


def test_a_program_that_compares_at_every_step_is_not_judged_by_a_few_seconds() -> None:
    told = tuple[Pace, ...]()
    for number in range(100):
        told = added(told, Pace(float(number), 3, 1.5, number))
        assert (found(told, on(8)) is not None) is (number >= 4 * APART_SECONDS)
    assert [each.at for each in told[:3]] == [0.0, APART_SECONDS, 2 * APART_SECONDS]


# Found.


@pytest.mark.parametrize(
    ("told", "nodes", "rank"),
    [
        ([(3, 1.5)] * 5, on(8), 3),
        ([(3, 1.5)] * 4, on(8), None),
        ([(3, 1.5), (3, 1.5), (5, 1.1), (3, 1.5), (3, 1.5)], on(8), 3),
        ([(3, 1.5), (5, 1.1), (5, 1.1), (3, 1.5), (3, 1.5)], on(8), None),
        ([(3, FOUND - 0.01)] * 20, on(8), None),
        ([(5, 1.1)] * 4 + [(3, 9.0)], on(8), None),  # a single slow step
        ([(number % 8, 1.5) for number in range(20)], on(8), None),  # a different one each time
        ([(1, 2.0)] * 11, on(2), None),
        ([(1, 2.0)] * 12, on(2), 1),
        ([(1, 2.0), (0, 2.0)] * 10, on(2), None),
        ([(9, 1.5)] * 5, on(8), None),  # a rank that there is not
        ([(0, 1.0)] * 20, on(8), None),  # all are equally slow
    ],
    ids=str,
)
def test_a_rank_is_found_when_it_is_nearly_always_the_slowest_by_far(
    told: list[tuple[int, float]], nodes: list[str], rank: int | None
) -> None:
    slow = found(series(*told), nodes)
    assert (slow.rank if slow else None) == rank


def test_a_node_is_found_whose_ranks_take_turns() -> None:
    turns = [(8 + number % 8, 1.6 + number / 100) for number in range(12)]
    slow = found(series(*turns[:5]), on(4, each=8))
    assert slow is not None
    assert (slow.node, slow.factor, slow.since) == ("n1", 1.62, 0.0)
    assert found(series(*turns[:5]), on(2, each=8)) is None, "half of the gang needs more"
    slow = found(series(*turns), on(2, each=8))
    assert slow is not None
    assert slow.node == "n1"


def test_most_of_a_gang_is_no_exception() -> None:
    turns = [(number % 8, 1.6) for number in range(20)]
    assert found(series(*turns), ["n0"] * 8) is None
    assert found(series(*turns), ["n0"] * 6 + ["n1"] * 2) is None


def test_who_was_slow_and_since_when_is_told_with_the_usual_factor() -> None:
    slow = found(series((5, 1.1), (3, 1.4), (3, 1.6), (3, 9.0), (3, 1.5)), on(8))
    assert slow is not None
    assert (slow.rank, slow.node, slow.factor, slow.since) == (3, "n3", 1.55, 10.0)


@given(seed=st.integers(0, 10**9), ranks=st.integers(8, 512))
def test_noise_names_nobody(seed: int, ranks: int) -> None:
    """Some rank is slow in every comparison, by as much as you like, but never the same one."""
    random, told = Random(seed), tuple[Pace, ...]()
    order = random.sample(range(ranks), ranks)
    for number in range(60):
        told = added(told, Pace(number * APART, order[number % ranks], random.uniform(1, 5), random.random()))
        assert found(told, on(ranks)) is None
    assert len(told) == KEPT


@given(st.integers(2, 64), st.data())
def test_a_slow_rank_is_found_in_any_gang_and_no_other(ranks: int, data: st.DataObject) -> None:
    culprit = data.draw(st.integers(0, ranks - 1))
    factors = data.draw(st.lists(st.floats(FOUND, 5.0), min_size=12, max_size=12))
    slow = found(series(*((culprit, factor) for factor in factors)), on(ranks))
    assert slow is not None
    assert slow.rank == culprit


# Over.


@pytest.mark.parametrize(
    ("told", "is_over"),
    [
        ([(3, 1.5)] * 5, False),
        ([(3, 1.5)] + [(5, 1.05)] * 4, False),
        ([(3, 1.5)] + [(5, 1.05)] * 5, True),
        ([(3, (FOUND + OVER) / 2)] * 20, False),  # no longer slow enough to be found, and not yet let go
        ([(5, 1.5)] * 5, False),  # another is slower: nothing is known of this one
        ([(5, 1.5)] * KEPT, True),
        ([(5, 1.5)] * (KEPT - 1) + [(3, 1.5)], False),
    ],
    ids=str,
)
def test_a_straggler_is_let_go_when_nobody_is_slow_or_others_are_for_long(
    told: list[tuple[int, float]], is_over: bool
) -> None:
    assert over(series(*told), "n3", on(8)) is is_over


@given(st.lists(st.floats(OVER, 1.5), min_size=1, max_size=60))
def test_between_the_two_limits_nothing_comes_and_goes(factors: list[float]) -> None:
    told, named, changes = tuple[Pace, ...](), False, 0
    for number, factor in enumerate(factors):
        told = added(told, Pace(number * APART, 3, factor, number))
        before = named
        named = not over(told, "n3", on(8)) if named else found(told, on(8)) is not None
        changes += before is not named
    assert changes <= 1


# Reports.


def told(**step_seconds: float) -> dict[str, Any]:
    return {"jobUid": "u", "attempt": 1, "phase": "training", "step": 1, "worldSize": 4, "stepSeconds": step_seconds}


def test_the_board_keeps_a_short_series_of_an_attempt() -> None:
    board = ReportBoard()
    for number in range(40):
        board.put(told(p50=0.1, slowest=0.2 + number / 100, slowestRank=2), NOW + timedelta(seconds=number * APART))
    report = board.of("u")
    assert report is not None
    assert (len(report.paces), report.paces[-1].rank) == (KEPT, 2)
    assert report.paces[-1].seconds == pytest.approx(0.59)
    board.put({**told(p50=0.1, slowest=0.3, slowestRank=2), "attempt": 2}, NOW)
    assert [each.seconds for each in board.of("u").paces] == [0.3], "another attempt may be elsewhere"  # type: ignore[union-attr]


def test_a_start_in_the_pods_begins_a_new_series() -> None:
    board = ReportBoard()
    board.put(told(p50=0.1, slowest=0.2, slowestRank=2), NOW)
    restarted = {"round": 2, "index": 1, "exitCode": 1}
    board.put({**told(p50=0.1, slowest=0.4, slowestRank=1), "restarted": restarted}, NOW)
    board.put({"jobUid": "u", "attempt": 1, "worldSize": 4, "restarted": restarted}, NOW)
    assert [each.seconds for each in board.of("u").paces] == [0.4]  # type: ignore[union-attr]


@pytest.mark.parametrize("wrong", [{"p50": -1}, {"slowest": "much"}, {"slowestRank": -2}])
def test_a_comparison_that_is_none_is_refused_by_its_field(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadReport, match=r"stepSeconds\."):
        ReportBoard().put({**told(), "stepSeconds": wrong}, NOW)


# The status.


def report(told: Sequence[Pace], *, ranks: int = 4, **body: Any) -> Report:
    given = {"jobUid": "u", "attempt": 1, "phase": "training", "step": 1, "worldSize": ranks}
    return Report(1, NOW, given | body, tuple(told))


def planned(job: TrainingJob, report: Report | None, *, nodes: Sequence[str] = ("n0", "n1", "n2", "n3")) -> Plan:
    pods = tuple(pod(index, node=node) for index, node in enumerate(nodes))
    return plan_training_job(Observed(job, pods, service_exists=True, report=report), NOW)


def after(plan: Plan, **changes: Any) -> TrainingJob:
    assert plan.status is not None
    return a_job(replicas=4, status={**plan.status, **changes})


def stragglers(plan: Plan) -> Any:
    return (plan.status or {}).get("stragglers")


SLOW = [Pace(NOW.timestamp() - 50 + number * 10, 2, 1.6, number) for number in range(5)]
CALM = [Pace(NOW.timestamp() + 50 + number * 10, 2, 1.0, number + 0.5) for number in range(5)]


def test_a_straggler_is_named_with_pod_and_node_and_told_once() -> None:
    first = planned(a_job(replicas=4), report(SLOW))
    (named,) = stragglers(first)
    assert (named["rank"], named["pod"], named["node"], named["factor"]) == (2, "a-worker-2-1", "n2", 1.6)
    assert (named["since"], named["until"]) == ("2026-11-23T00:59:10.000000Z", None)
    assert [(note.reason, note.warning) for note in first.notes] == [(Reason.STRAGGLER_FOUND, True)]
    assert "rank 2 (a-worker-2-1 on n2) takes 1.6 times as long" in first.notes[0].message
    assert first.urgent, "it does not wait its turn behind numbers"
    for later in (SLOW, [*SLOW, SLOW[-1]._replace(at=NOW.timestamp(), seconds=99.0, factor=3.0)], ()):
        again = planned(after(first), report(later))
        assert (stragglers(again), again.notes) == (None, ()), "nothing is written while nothing changes"


def test_an_operator_that_begins_anew_neither_loses_nor_doubles_it() -> None:
    known = after(planned(a_job(replicas=4), report(SLOW)))
    for heard in (None, report(()), report(SLOW[:1]), report(SLOW)):
        plan = planned(known, heard)
        assert (stragglers(plan), plan.notes) == (None, ())


def test_when_it_keeps_pace_again_that_is_told_and_stays_known() -> None:
    known = after(planned(a_job(replicas=4), report(SLOW)))
    plan = planned(known, report([*SLOW, *CALM]))
    (named,) = stragglers(plan)
    assert named["until"] == "2026-11-23T01:00:00.000000Z"
    assert [(note.reason, note.warning) for note in plan.notes] == [(Reason.STRAGGLER_GONE, False)]
    assert planned(after(plan), report([*SLOW, *CALM])).notes == ()
    (again,) = stragglers(planned(after(plan), report(SLOW)))
    assert again["until"] is None, "a node is named once"


def test_a_second_one_is_named_beside_the_first() -> None:
    known = after(planned(a_job(replicas=4), report(SLOW)))
    both = stragglers(planned(known, report([each._replace(rank=1) for each in SLOW])))
    assert [(each["node"], each["until"]) for each in both] == [("n2", None), ("n1", None)]


def test_it_is_over_when_its_pod_is_elsewhere_or_the_attempt_ends() -> None:
    known = after(planned(a_job(replicas=4), report(SLOW)))
    moved = planned(known, report(SLOW[:1]), nodes=("n0", "n1", "n9", "n3"))
    assert stragglers(moved)[0]["until"] is not None
    assert "was replaced" in moved.notes[0].message
    lost = plan_training_job(Observed(known, (pod(0, "Failed"), pod(1), pod(2), pod(3))), NOW)
    assert lost.status is not None
    assert lost.status["attempt"] == 2
    assert stragglers(lost)[0]["until"] is not None
    assert Reason.STRAGGLER_GONE not in [note.reason for note in lost.notes]


@pytest.mark.parametrize(
    ("job", "heard", "nodes"),
    [
        (a_job(replicas=4, training={"parallelism": {"pipeline": 4}}), report(SLOW), ("n0", "n1", "n2", "n3")),
        (a_job(replicas=4), report(SLOW, ranks=6), ("n0", "n1", "n2", "n3")),
        (a_job(replicas=4), report(SLOW, worldSize=None), ("n0", "n1", "n2", "n3")),
        (a_job(replicas=4, status={"resizing": RESIZING}), report(SLOW), ("n0", "n1", "n2", "n3")),
        (a_job(replicas=1), report(SLOW, ranks=1), ("n0",)),
    ],
    ids=["stages differ", "ranks that no pod has", "nobody says how many", "the size changes", "alone"],
)
def test_nobody_is_named_where_that_cannot_be_told(job: TrainingJob, heard: Report, nodes: Sequence[str]) -> None:
    plan = planned(job, heard, nodes=nodes)
    assert (stragglers(plan), [note.reason for note in plan.notes if "Straggler" in note.reason]) == (None, [])


def test_of_pods_with_several_ranks_the_right_one_is_named() -> None:
    (named,) = stragglers(planned(a_job(replicas=4), report([each._replace(rank=29) for each in SLOW], ranks=32)))
    assert (named["rank"], named["pod"], named["node"]) == (29, "a-worker-3-1", "n3")


def test_the_status_keeps_few_of_those_that_are_over() -> None:
    ended = [
        {"rank": 0, "pod": "p", "node": f"old{number}", "attempt": 1, "factor": 2.0, "since": "2026-11-23T00:30:00Z"}
        | {"until": "2026-11-23T00:40:00Z"}
        for number in range(MAX_STRAGGLERS)
    ]
    kept = stragglers(planned(a_job(replicas=4, status={"stragglers": ended}), report(SLOW)))
    assert [each["node"] for each in kept] == [*(f"old{number}" for number in range(1, MAX_STRAGGLERS)), "n2"]


def test_a_suspended_job_is_held_up_by_nobody() -> None:
    known = after(planned(a_job(replicas=4), report(SLOW)))
    suspended = known.model_copy(update={"spec": known.spec.model_copy(update={"suspend": True})})
    plan = plan_training_job(Observed(suspended), NOW)
    assert stragglers(plan)[0]["until"] is not None
    assert TrainingJob.model_validate(b.training_job("a", b.status(**dict(plan.status or {})))).status.stragglers
