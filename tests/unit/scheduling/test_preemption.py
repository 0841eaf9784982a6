"""Who makes way for whom: each rule by example, and what must hold in every cluster."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.builders import EVERYBODY
from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU
from trainyard.api.queue import QueueSpec
from trainyard.api.reasons import Waiting
from trainyard.scheduling.engine import Options
from trainyard.scheduling.schedule import Follower
from trainyard.scheduling.snapshot import (
    Admit,
    Assignment,
    Decision,
    Evict,
    NodeView,
    Nominated,
    PodSet,
    Preempt,
    Resize,
    Snapshot,
    Wait,
    Workload,
    WorkloadKey,
)

NOW = datetime(2026, 11, 23, tzinfo=UTC)
BEGAN = NOW - timedelta(hours=1)
OPTIONS = Options(preempting_heads=8, growing=4)


def a_queue(guaranteed: int, parent: str | None = None, limit: int | None = None, **preemption: Any) -> QueueSpec:
    quota = {"name": GPU, "guaranteed": guaranteed} | ({} if limit is None else {"limit": limit})
    return QueueSpec.model_validate(
        {
            "parent": parent,
            "namespaceSelector": EVERYBODY,
            "flavors": [{"name": "f", "resources": [quota]}],
            "preemption": preemption,
        }
    )


def a_job(
    name: str, gpus: int = 1, queue: str = "q", *, at: str | None = None, pods: int = 1, **fields: Any
) -> Workload:
    """One that waits, or since an hour runs on that node (with `at` like "n0" or "n0 n1", a node for each pod)."""
    least = fields.pop("least", None)
    nodes = tuple(at.split()) if at else ()
    given: dict[str, Any] = {
        "created": BEGAN,
        "pods": (PodSet("worker", pods, {GPU: gpus * 1000}, least=least),),
        "admission": Assignment("f", {"worker": nodes}) if at else None,
        "started": BEGAN if at else None,
        "placed": BEGAN if at else None,
        **fields,
    }
    return Workload(WorkloadKey("TrainingJob", "team", name), f"uid-{name}", queue, **given)


def a_snapshot(jobs: list[Workload], gpus: int | list[int] = 8, queues: dict[str, QueueSpec] | None = None) -> Snapshot:
    sizes = [gpus] if isinstance(gpus, int) else gpus
    return Snapshot(
        nodes=tuple(
            NodeView(f"n{number}", {}, {GPU: size * 1000, "pods": 110_000}) for number, size in enumerate(sizes)
        ),
        flavors={"f": FlavorSpec()},
        queues=queues or {"q": a_queue(1000)},
        namespaces={"team": {"kubernetes.io/metadata.name": "team"}},
        workloads=tuple(jobs),
    )


def decide(snapshot: Snapshot, now: datetime = NOW, options: Options = OPTIONS) -> list[Decision]:
    return Follower(options).decide(snapshot, now)


def victims(snapshot: Snapshot, name: str = "new", options: Options = OPTIONS) -> set[str] | None:
    """Names of those who make way for it; None if nobody does."""
    found = preempt(snapshot, name, options)
    return None if found is None else {each.key.name for each in found.victims}


def preempt(snapshot: Snapshot, name: str = "new", options: Options = OPTIONS) -> Preempt | None:
    return next(
        (each for each in decide(snapshot, options=options) if isinstance(each, Preempt) and each.key.name == name),
        None,
    )


def admitted(decisions: list[Decision]) -> set[str]:
    return {each.key.name for each in decisions if isinstance(each, Admit)}


# Within a queue.


@pytest.mark.parametrize(
    ("policy", "old", "new", "makes_way"),
    [
        ("LowerPriority", {"priority": 0}, {"priority": 1}, True),
        ("LowerPriority", {"priority": 1}, {"priority": 1, "created": NOW}, False),
        ("LowerPriority", {"priority": 2}, {"priority": 1}, False),
        ("Never", {"priority": 0}, {"priority": 1}, False),
        ("LowerOrNewerEqual", {"created": BEGAN}, {"created": BEGAN - timedelta(hours=1)}, True),
        ("LowerOrNewerEqual", {"created": BEGAN}, {"created": NOW}, False),
        ("LowerPriority", {"priority": 0, "preemptible": False}, {"priority": 1}, False),
        ("LowerPriority", {"priority": 0, "preemptions": 3}, {"priority": 1}, False),
        ("LowerPriority", {"priority": 0, "preemptions": 2}, {"priority": 1}, True),
        ("LowerPriority", {"priority": 0, "placed": NOW, "started": NOW}, {"priority": 1}, False),
        ("LowerPriority", {"priority": 0, "leaving": True}, {"priority": 1}, False),
    ],
)
def test_within_a_queue(policy: str, old: dict[str, Any], new: dict[str, Any], *, makes_way: bool) -> None:
    queue = a_queue(8, withinQueue=policy, minRunSeconds=60, maxPreemptions=3)
    snapshot = a_snapshot([a_job("old", 8, at="n0", **old), a_job("new", 8, **new)], queues={"q": queue})
    assert victims(snapshot) == ({"old"} if makes_way else None)


def test_a_priority_above_what_the_queue_allows_takes_nothing() -> None:
    queue = a_queue(8).model_copy(update={"max_priority": 0})
    assert victims(a_snapshot([a_job("old", 8, at="n0"), a_job("new", 8, priority=9)], queues={"q": queue})) is None


def test_the_cheapest_of_the_lowest_priority_make_way() -> None:
    jobs = [
        a_job("saved", 4, at="n0", checkpoint=NOW - timedelta(seconds=10)),
        a_job("unsaved", 4, at="n0"),
        a_job("more", 4, at="n1", priority=1, checkpoint=NOW),
    ]
    found = preempt(a_snapshot([*jobs, a_job("new", 4, priority=2)], [8, 4]))
    assert found is not None
    (victim,) = found.victims
    assert victim.key.name == "saved"
    assert victim.cost == pytest.approx(4 * (10 + OPTIONS.restart_seconds))
    assert victim.goes_on is None


def test_only_those_make_way_on_whose_nodes_it_will_run() -> None:
    jobs = [
        a_job(f"s{number}", 1, at=f"n{number % 4}", created=BEGAN + timedelta(seconds=number)) for number in range(16)
    ]
    found = preempt(a_snapshot([*jobs, a_job("new", 4, priority=1)], [4] * 4))
    assert found is not None
    (node,) = set(found.assignment.nodes["worker"])
    assert {each.key.name for each in found.victims} == {
        each.key.name for each in jobs if each.admission and each.admission.nodes["worker"] == (node,)
    }


def test_time_alone_lets_a_victim_be_asked() -> None:
    queue = a_queue(8, minRunSeconds=100)
    snapshot = a_snapshot(
        [a_job("old", 8, at="n0", placed=NOW, started=NOW), a_job("new", 8, priority=1)], queues={"q": queue}
    )
    follower = Follower(OPTIONS)
    assert not [each for each in follower.decide(snapshot, NOW + timedelta(seconds=99)) if isinstance(each, Preempt)]
    assert [each for each in follower.decide(snapshot, NOW + timedelta(seconds=101)) if isinstance(each, Preempt)]


def test_only_so_many_heads_are_served_in_a_cycle_and_the_others_in_the_next() -> None:
    jobs = [a_job(f"old{number}", 8, at=f"n{number}") for number in range(3)]
    new = [a_job(f"new{number}", 8, priority=1, flavors=("f",) * (number + 1)) for number in range(3)]
    snapshot, follower = a_snapshot([*jobs, *new], [8] * 3), Follower(Options(preempting_heads=2))
    first = [each.key.name for each in follower.decide(snapshot, NOW) if isinstance(each, Preempt)]
    assert len(first) == 2
    assert len([each for each in follower.decide(snapshot, NOW) if isinstance(each, Preempt)]) >= 1


# Between queues.


def a_tree(**spec: Any) -> dict[str, QueueSpec]:
    """org over a (guaranteed 4) and b (4)."""
    return {"org": a_queue(0), "a": a_queue(4, "org", **spec), "b": a_queue(4, "org")}


@pytest.mark.parametrize(
    ("reclaim", "priority", "gpus", "makes_way"),
    [
        ("Any", 0, 4, True),
        ("LowerPriority", 0, 4, False),
        ("LowerPriority", 6, 4, True),
        ("Never", 6, 4, False),
        ("Any", 6, 5, False),  # more than it is guaranteed
    ],
)
def test_a_queue_gets_back_what_it_lent(reclaim: str, priority: int, gpus: int, *, makes_way: bool) -> None:
    jobs = [a_job("own", 4, "b", at="n0", priority=5), a_job("borrowed", 4, "b", at="n0", priority=5, created=NOW)]
    snapshot = a_snapshot([*jobs, a_job("new", gpus, "a", priority=priority)], queues=a_tree(reclaim=reclaim))
    assert victims(snapshot) == ({"borrowed"} if makes_way else None)


def test_whoever_is_within_the_guarantee_stays() -> None:
    jobs = [a_job("low", 4, "b", at="n0", priority=-5), a_job("lent", 2, "a", at="n0"), a_job("free", 2, "a", at="n0")]
    assert victims(a_snapshot([*jobs, a_job("new", 2, "a", priority=9)], queues=a_tree())) == {"free"}


def test_a_family_gets_back_together_what_each_alone_would_borrow() -> None:
    queues = {
        "org": a_queue(0),
        "one": a_queue(0, "org"),
        "one-a": a_queue(2, "one"),
        "one-b": a_queue(2, "one"),
        "two": a_queue(4, "org"),
    }
    jobs = [
        a_job("own", 4, "two", at="n0"),
        a_job("borrowed", 2, "two", at="n0", created=NOW),
        a_job("x", 2, "one-a", at="n0"),
    ]
    assert victims(a_snapshot([*jobs, a_job("new", 2, "one-a")], queues=queues)) == {"borrowed"}
    assert victims(a_snapshot([*jobs, a_job("new", 3, "one-a")], queues=queues)) is None


def test_inside_a_family_the_one_that_borrows_from_its_sister_makes_way() -> None:
    queues = {"org": a_queue(0), "a": a_queue(2, "org"), "b": a_queue(2, "org"), "c": a_queue(4, "org")}
    jobs = [a_job("c1", 4, "c", at="n0"), a_job("a1", 2, "a", at="n0"), a_job("a2", 2, "a", at="n0", created=NOW)]
    assert victims(a_snapshot([*jobs, a_job("new", 2, "b")], queues=queues)) == {"a2"}


def test_queues_without_a_common_root_never_take_from_each_other() -> None:
    snapshot = a_snapshot(
        [a_job("old", 8, at="n0"), a_job("new", 8, "r", priority=9)], queues={"q": a_queue(8), "r": a_queue(8)}
    )
    assert victims(snapshot) is None


def test_who_would_borrow_does_not_stop_who_is_within_the_guarantee_of_the_same_queue() -> None:
    queues = {"org": a_queue(4), "a": a_queue(4, "org")}
    snapshot = a_snapshot([a_job("covered", 4, "a", at="n0"), a_job("new", 8, "a", priority=5)], queues=queues)
    follower = Follower(OPTIONS)
    assert not [each for each in follower.decide(snapshot, NOW) if isinstance(each, Preempt)]


# Elastic.


def test_an_elastic_job_is_made_smaller_before_anybody_is_sent_back() -> None:
    jobs = [a_job("elastic", 1, at=" ".join(["n0"] * 6), pods=6, least=2), a_job("cheap", 2, at="n0", checkpoint=NOW)]
    found = preempt(a_snapshot([*jobs, a_job("new", 3, priority=1)]))
    assert found is not None
    (victim,) = found.victims
    assert victim.key.name == "elastic"
    assert victim.goes_on == Assignment("f", {"worker": ("n0",) * 3})


def test_what_an_elastic_job_has_above_its_least_yields_to_equals_but_the_job_does_not() -> None:
    elastic = a_job("elastic", 1, at=" ".join(["n0"] * 8), pods=8, least=6)
    assert victims(a_snapshot([elastic, a_job("new", 2)])) == {"elastic"}
    assert victims(a_snapshot([elastic, a_job("new", 3)])) is None


def test_an_elastic_job_grows_when_nobody_waits_and_not_too_often() -> None:
    elastic = a_job("elastic", 1, at="n0 n0", pods=8, least=2)
    (grown,) = decide(a_snapshot([elastic]))
    before = Assignment("f", {"worker": ("n0", "n0")})
    assert grown == Resize(elastic.key, elastic.uid, Assignment("f", {"worker": ("n0",) * 8}), before)
    assert decide(a_snapshot([replace(elastic, placed=NOW, started=NOW)])) == []
    waits = a_job("waits", 16)
    assert [type(each) for each in decide(a_snapshot([elastic, waits]))] == [Wait]


def test_an_elastic_job_that_ends_soon_does_not_restart_to_grow() -> None:
    elastic = a_job("elastic", 1, at="n0 n0 n0 n0", pods=5, least=2, duration=3600 + 60.0)
    assert decide(a_snapshot([elastic])) == []


# A nomination.


def nominated(job: Workload, found: Preempt, *, durable: bool = True) -> Workload:
    """The workload as its status shows it after the decision."""
    named = tuple((each.key, each.uid) for each in found.victims)
    deadline = NOW + timedelta(seconds=found.deadline_seconds)
    return replace(job, nomination=Nominated(found.assignment, named, NOW, deadline, durable))


@dataclass
class Case:
    old: Workload
    new: Workload
    found: Preempt


@pytest.fixture
def case() -> Case:
    old, new = a_job("old", 8, at="n0"), a_job("new", 8, priority=1)
    found = preempt(a_snapshot([old, new]))
    assert found is not None
    return Case(old, nominated(new, found), found)


def test_victims_are_asked_only_when_the_nomination_is_durable(case: Case) -> None:
    assert case.new.nomination is not None
    pending = replace(case.new, nomination=replace(case.new.nomination, durable=False))
    assert not [each for each in decide(a_snapshot([case.old, pending])) if isinstance(each, Evict)]
    decisions = decide(a_snapshot([case.old, case.new]))
    (evict,) = [each for each in decisions if isinstance(each, Evict)]
    assert (evict.key, evict.by, evict.deadline) == (case.old.key, case.new.key, case.new.nomination.deadline)
    (wait,) = [each for each in decisions if isinstance(each, Wait)]
    assert wait.verdict.reason is Waiting.WAITING_FOR_PREEMPTED_WORKLOADS
    assert "team/old" in wait.verdict.message
    assert "2026-11-23 00:02:00Z" in wait.verdict.message


def test_a_victim_that_makes_way_already_is_not_asked_again(case: Case) -> None:
    decisions = decide(a_snapshot([replace(case.old, leaving=True), case.new]))
    assert [type(each) for each in decisions] == [Wait]


def test_nobody_slips_into_a_place_that_is_kept(case: Case) -> None:
    short = a_job("short", 1, duration=1.0, priority=9)
    partly = replace(case.old, pods=(PodSet("worker", 1, {GPU: 4000}),))
    assert admitted(decide(a_snapshot([partly, case.new, short]))) == set()
    assert admitted(decide(a_snapshot([partly, case.new, short], [8, 1]))) == {"short"}


def test_the_nominee_starts_when_its_victims_are_gone_before_anybody_else(case: Case) -> None:
    waiting = replace(case.old, admission=None, started=None, placed=None, preemptions=1, priority=9)
    decisions = decide(a_snapshot([waiting, case.new]))
    assert admitted(decisions) == {"new"}
    assert not [each for each in decisions if isinstance(each, Evict)]


def test_a_victim_with_a_new_place_is_left_in_peace(case: Case) -> None:
    elsewhere = replace(
        case.old,
        placed=NOW + timedelta(seconds=5),
        started=NOW + timedelta(seconds=5),
        admission=Assignment("f", {"worker": ("n1",)}),
    )
    decisions = decide(a_snapshot([elsewhere, case.new], [8, 8]), NOW + timedelta(seconds=6))
    assert admitted(decisions) == {"new"}
    assert not [each for each in decisions if isinstance(each, Evict)]


def test_a_nomination_is_given_up_long_after_its_deadline(case: Case) -> None:
    assert case.new.nomination is not None
    stuck = a_snapshot([replace(case.old, leaving=True), case.new])
    (wait,) = decide(stuck, case.new.nomination.deadline + timedelta(seconds=30))
    assert isinstance(wait, Wait)
    assert wait.verdict.reason is Waiting.WAITING_FOR_PREEMPTED_WORKLOADS
    (wait,) = decide(stuck, case.new.nomination.deadline + timedelta(seconds=90))
    assert isinstance(wait, Wait)
    assert wait.verdict.reason is not Waiting.WAITING_FOR_PREEMPTED_WORKLOADS


def test_a_nominated_node_that_is_gone_ends_the_nomination(case: Case) -> None:
    other = replace(
        a_snapshot([case.old, case.new]), nodes=(NodeView("n0", {}, {GPU: 8000, "pods": 110_000}, ready=False),)
    )
    decisions = decide(other)
    assert not [each for each in decisions if isinstance(each, Evict)]


def test_two_nominations_ask_different_victims() -> None:
    jobs = [a_job("old0", 8, at="n0"), a_job("old1", 8, at="n1")]
    new = [a_job("new0", 8, priority=1), a_job("new1", 8, priority=1)]
    snapshot = a_snapshot([*jobs, *new], [8, 8])
    follower, named = Follower(OPTIONS), dict[str, Workload]()
    for turn in range(3):
        current = replace(snapshot, workloads=(*jobs, *(named.get(each.key.name, each) for each in new)))
        found = follower.decide(current, NOW + timedelta(seconds=turn))
        named |= {
            each.key.name: nominated(next(job for job in new if job.key == each.key), each)
            for each in found
            if isinstance(each, Preempt)
        }
    asked = {each.by.name if each.by else "": each.key.name for each in found if isinstance(each, Evict)}
    assert sorted(asked) == ["new0", "new1"]
    assert sorted(asked.values()) == ["old0", "old1"]


# A drained queue.


@pytest.mark.parametrize("drained", ["a", "org"])
def test_what_runs_in_a_drained_queue_is_stopped(drained: str) -> None:
    queues = a_tree()
    queues[drained] = queues[drained].model_copy(update={"stop_policy": "HoldAndDrain"})
    jobs = [a_job("one", 4, "a", at="n0"), a_job("two", 4, "b", at="n0", leaving=drained == "org")]
    decisions = decide(a_snapshot(jobs, queues=queues))
    assert [(each.key.name, each.drained) for each in decisions if isinstance(each, Evict)] == [("one", drained)]


# Moving.


def test_a_job_is_moved_only_if_its_new_place_is_certain() -> None:
    jobs = [a_job("small", 2, at="n0"), a_job("other", 2, at="n1", preemptible=False)]
    snapshot = a_snapshot([*jobs, a_job("new", 4)], [4, 4])
    assert preempt(snapshot) is None
    moving = replace(OPTIONS, consolidate=True)
    found = preempt(snapshot, options=moving)
    assert found is not None
    (victim,) = found.victims
    assert (victim.key.name, victim.goes_on) == ("small", Assignment("f", {"worker": ("n1",)}))
    full = a_snapshot([*jobs, a_job("more", 1, at="n1"), a_job("new", 4)], [4, 4])
    assert preempt(full, options=moving) is None
