"""The auditor finds each kind of broken promise, finds nothing in what is well, and tells of a finding once."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import builders as b
from tests.hand_clock import HandClock
from tests.unit.scheduling.test_remedies import a_job, a_node, a_queue, a_snapshot, running
from trainyard.admission.auditor import Auditor, Finding, Sighting, look, unfair, use
from trainyard.api.invariants import Invariant
from trainyard.api.names import GPU
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.engine import OPERATOR
from trainyard.scheduling.schedule import Follower
from trainyard.scheduling.snapshot import Assignment, PodView, Preempt, Snapshot, Victim
from trainyard.workloads.pod_state import PodState

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


ADMITTED = {
    "epoch": 1,
    "queue": "q",
    "attempt": 1,
    "flavor": "h200",
    "time": NOW.isoformat(),
    "roles": [{"name": "worker", "prefix": "n0", "runs": [{"count": 2}]}],
}


def job(**status: Any) -> TrainingJob:
    meta = {"generation": 1, "uid": "uid-j", "creationTimestamp": (NOW - timedelta(hours=1)).isoformat()}
    made = b.training_job("j")
    return TrainingJob.model_validate(
        {**made, "metadata": {**made["metadata"], **meta}, "status": {"observedGeneration": 1, **status}}
    )


def pod(index: int, attempt: int = 1, **fields: Any) -> PodState:
    return PodState(f"j-{index}", f"p{index}{attempt}", "worker", index, attempt, "n0", "Running", True, NOW, **fields)


def kinds(*jobs: TrainingJob, pods: Iterable[PodState] = (), snapshot: Snapshot | None = None) -> list[Invariant]:
    owners = frozenset(each.metadata.uid for each in jobs)
    sighting = Sighting(NOW, snapshot or Snapshot(), jobs, {"uid-j": tuple(pods)}, owners)
    found, _ = look(sighting, None)
    return [each.invariant for each in found]


def waiting(reason: str) -> list[dict[str, Any]]:
    said = {
        "type": "Admitted",
        "status": "False",
        "reason": reason,
        "message": "",
        "lastTransitionTime": NOW.isoformat(),
    }
    return [said]


def test_what_is_well_is_not_reported() -> None:
    assert kinds(job(phase="Admitted", admission=ADMITTED), pods=[pod(0), pod(1)]) == []
    assert kinds(job(conditions=waiting("WaitingForQuota"))) == []
    assert kinds(job(phase="Admitted", admission=ADMITTED), pods=[pod(0), pod(1), pod(1, 2, deleting_since=NOW)]) == []


@pytest.mark.parametrize(
    ("expected", "status", "pods"),
    [
        (Invariant.INCOMPLETE_GANG, {"phase": "Admitted", "admission": ADMITTED}, [pod(0)]),
        (Invariant.TWO_OF_A_RANK, {"phase": "Running", "admission": ADMITTED}, [pod(0), pod(0)]),
        (Invariant.TWO_OF_A_RANK, {"phase": "Running", "admission": ADMITTED}, [pod(0), pod(1, 2)]),
        (Invariant.SILENT_WAIT, {"phase": "Pending"}, []),
        (Invariant.SILENT_WAIT, {"phase": "Pending", "conditions": waiting("Because")}, []),
        (Invariant.STALE_STATUS, {"observedGeneration": 0}, []),
    ],
)
def test_a_broken_promise_of_a_job_is_found(expected: Invariant, status: dict[str, Any], pods: list[PodState]) -> None:
    assert kinds(job(**status), pods=pods) == [expected]


def test_pods_of_nobody_are_found() -> None:
    left = PodView("p", "team", "p", "n0", {GPU: 1000}, "gone", "worker", "q", "h200")
    assert kinds(snapshot=Snapshot(pods=(left,))) == [Invariant.ORPHAN_PODS]
    assert kinds(snapshot=Snapshot(pods=(replace(left, queue=""),))) == [], "it is not ours"


def grown(before: Snapshot, after: Snapshot) -> list[Invariant]:
    found, _ = look(Sighting(NOW, after, (), {}, frozenset()), use(before))
    return [each.invariant for each in found]


def test_use_that_grows_beyond_the_quota_is_found_and_a_cut_is_not() -> None:
    nodes, small, large = [a_node("n0", 8), a_node("n1", 8)], {"q": a_queue(4)}, {"q": a_queue(8)}
    four, eight = [running("a", "n0", 4)], [running("a", "n0", 4), running("b", "n1", 4)]
    assert grown(a_snapshot(nodes, *four, queues=small), a_snapshot(nodes, *eight, queues=small)) == [
        Invariant.OVER_QUOTA
    ]
    assert grown(a_snapshot(nodes, *eight, queues=large), a_snapshot(nodes, *eight, queues=small)) == []
    assert grown(a_snapshot(nodes, *four, queues=large), a_snapshot(nodes, *eight, queues=small)) == [], (
        "cut since then"
    )


def test_a_node_that_is_promised_twice_is_found() -> None:
    nodes, jobs = [a_node("n0", 8)], [running("a", "n0", 8), running("b", "n0", 1)]
    assert grown(a_snapshot(nodes), a_snapshot(nodes, *jobs)) == [Invariant.NODE_PROMISED_TWICE]
    assert grown(a_snapshot(nodes), a_snapshot([])) == []


def test_a_preemption_that_takes_a_guarantee_for_what_is_borrowed_is_found_and_none_of_ours_is() -> None:
    queues = {"org": a_queue(0), "q": a_queue(4, parent="org"), "r": a_queue(4, parent="org")}
    poor, rich = running("poor", "n0", 4, queue="r"), running("rich", "n1", 4)
    asks = a_job("more", gpus=4, priority=9)
    follower = Follower(OPERATOR)
    decisions = follower.decide(a_snapshot([a_node("n0", 4), a_node("n1", 4)], poor, rich, asks, queues=queues), NOW)
    assert list(unfair(follower.engine, decisions)) == []
    made_up = Preempt(
        asks.key, asks.uid, Assignment("h200", {"worker": ("n0",)}), (Victim(poor.key, poor.uid, 0.0),), 120.0
    )
    follower.engine.nominees[asks.key] = asks
    (found,) = unfair(follower.engine, [made_up])
    assert found.invariant is Invariant.GUARANTEE_BROKEN
    assert "poor of queue r is within its guarantee" in found.message


def test_a_finding_counts_when_it_lasts_and_is_told_once() -> None:
    clock, told = HandClock(), list[Finding]()
    auditor = Auditor(lambda: Sighting(NOW, Snapshot(), (), {}, frozenset()), clock, lambda each, _: told.append(each))
    lasting = Finding(Invariant.TWO_OF_A_RANK, "j", "two pods of one rank")
    for seconds in (0, 15, 14):
        clock.seconds += seconds
        assert auditor.weigh([lasting]) == []
    clock.seconds += 1
    assert auditor.weigh([lasting]) == [lasting]
    assert auditor.weigh([lasting]) == []
    assert auditor.weigh([]) == []
    assert auditor.weigh([lasting]) == [], "it came anew"
    clock.seconds += 30
    assert auditor.weigh([lasting]) == [lasting]
    assert told == [lasting, lasting]


@pytest.mark.fault(37)
def test_where_very_many_statuses_are_late_each_may_wait_for_its_turn() -> None:
    clock = HandClock()
    auditor = Auditor(lambda: Sighting(NOW, Snapshot(), (), {}, frozenset()), clock, lambda _found, _told: None)
    late = [Finding(Invariant.STALE_STATUS, str(number), "late") for number in range(2000)]
    auditor.weigh(late)
    clock.seconds = 60
    assert auditor.weigh(late[1200:]) == []
    clock.seconds = 100
    assert auditor.weigh(late[1990:]) == []
    clock.seconds = 131
    assert auditor.weigh(late[1999:]) == late[1999:]


def test_only_a_few_objects_hear_of_a_fault_that_strikes_many() -> None:
    heard = list[bool]()
    auditor = Auditor(
        lambda: Sighting(NOW, Snapshot(), (), {}, frozenset()), HandClock(), lambda _, tell: heard.append(tell)
    )
    auditor.weigh(Finding(Invariant.OVER_QUOTA, str(number), "too much") for number in range(20))
    assert heard == [True] * 5 + [False] * 15
