"""A scheduler that lived through a history decides as one that has just started; only places that it keeps for somebody may differ."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import EVERYBODY
from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU
from trainyard.api.queue import QueueSpec
from trainyard.scheduling.schedule import Follower
from trainyard.scheduling.snapshot import (
    Admit,
    Assignment,
    Decision,
    NodeView,
    PodSet,
    PodView,
    Snapshot,
    Wait,
    Workload,
    WorkloadKey,
)

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def a_queue(parent: str | None, guaranteed: int) -> QueueSpec:
    quota = {"name": "f", "resources": [{"name": GPU, "guaranteed": guaranteed}]}
    return QueueSpec.model_validate({"parent": parent, "namespaceSelector": EVERYBODY, "flavors": [quota]})


@st.composite
def histories(draw: st.DrawFn) -> list[Snapshot]:
    """Snapshots of one cluster: jobs come, are placed as decided, end, and nodes, queues and foreign pods change."""
    whole = st.integers(0, 8)
    snapshot = Snapshot(
        nodes=tuple(NodeView(f"n{number}", {}, {GPU: draw(whole) * 1000, "pods": 110_000}) for number in range(3)),
        flavors={"f": FlavorSpec()},
        queues={"org": a_queue(None, 0), "a": a_queue("org", draw(whole)), "b": a_queue("org", draw(whole))},
        namespaces={"team": {"kubernetes.io/metadata.name": "team"}},
    )
    found: list[Snapshot] = []
    for turn in range(draw(st.integers(2, 6))):
        jobs: list[Workload] = list(snapshot.workloads)
        for number in range(draw(st.integers(0, 3))):
            key = WorkloadKey("TrainingJob", "team", f"j{turn}-{number}")
            pods = (PodSet("worker", draw(st.integers(1, 3)), {GPU: draw(st.integers(1, 4)) * 1000}),)
            created = NOW + timedelta(seconds=turn * 10 + draw(st.integers(0, 9)))
            jobs.append(
                Workload(
                    key,
                    f"uid-{key.name}",
                    draw(st.sampled_from(["a", "b"])),
                    created,
                    pods,
                    priority=draw(st.integers(0, 1)),
                    duration=draw(st.sampled_from([None, 30.0, 300.0])),
                )
            )
        if draw(st.booleans()) and jobs:
            del jobs[draw(st.integers(0, len(jobs) - 1))]
        foreign = tuple(
            PodView(f"p{number}", "x", f"p{number}", "n0", {GPU: 1000}) for number in range(draw(st.integers(0, 2)))
        )
        nodes = snapshot.nodes if draw(st.booleans()) else tuple(draw(st.permutations(snapshot.nodes)))[1:]
        queues = snapshot.queues if draw(st.booleans()) else {**snapshot.queues, "a": a_queue("org", draw(whole))}
        snapshot = replace(snapshot, workloads=tuple(jobs), pods=foreign, nodes=nodes, queues=queues)
        found.append(snapshot)
    return found


def placed(snapshot: Snapshot, decisions: list[Decision], now: datetime) -> dict[WorkloadKey, Workload]:
    """The workloads as their status shows them after the decisions."""
    admitted = {each.key: each.assignment for each in decisions if isinstance(each, Admit)}
    return {
        each.key: replace(each, admission=admitted[each.key], started=now) if each.key in admitted else each
        for each in snapshot.workloads
    }


@given(histories())
@settings(max_examples=200, deadline=None)
def test_a_follower_decides_as_one_that_has_just_started(history: list[Snapshot]) -> None:
    follower, known = Follower(), dict[WorkloadKey, Workload]()
    for turn, given_snapshot in enumerate(history):
        now = NOW + timedelta(seconds=10 * (turn + 1))
        workloads = tuple(known.get(each.key, each) for each in given_snapshot.workloads)
        snapshot = replace(given_snapshot, workloads=workloads)
        promised = bool(follower.engine.reservations)
        warm, fresh = follower.decide(snapshot, now), Follower().decide(snapshot, now)
        if not promised:
            assert _admissions(warm) == _admissions(fresh)
            assert {each.key: each.position for each in warm if isinstance(each, Wait)} == {
                each.key: each.position for each in fresh if isinstance(each, Wait)
            }
        known |= placed(snapshot, warm, now)


def _admissions(decisions: list[Decision]) -> dict[WorkloadKey, object]:
    return {each.key: each.assignment for each in decisions if isinstance(each, Admit)}


@given(histories())
@settings(max_examples=100, deadline=None)
def test_the_order_in_which_things_are_listed_changes_nothing(history: list[Snapshot]) -> None:
    for snapshot in history:
        shuffled = replace(
            snapshot,
            nodes=snapshot.nodes[::-1],
            workloads=snapshot.workloads[::-1],
            pods=snapshot.pods[::-1],
            queues=dict(list(snapshot.queues.items())[::-1]),
        )
        now = NOW + timedelta(minutes=1)
        assert _admissions(Follower().decide(snapshot, now)) == _admissions(Follower().decide(shuffled, now))


def test_pods_of_replicas_are_counted_once_although_all_belong_to_one_service() -> None:
    def replica(number: int) -> Workload:
        role = f"replica-{number}"
        return Workload(
            WorkloadKey("InferenceService", "team", "s", number),
            "uid-s",
            "a",
            NOW,
            (PodSet(role, 1, {GPU: 1000}),),
            admission=Assignment("f", {role: ("n0",)}),
        )

    def pod(number: int) -> PodView:
        return PodView(
            f"pod-{number}",
            "team",
            f"s-{number}",
            "n0",
            {GPU: 1000},
            owner_uid="uid-s",
            role=f"replica-{number}",
            queue="a",
            flavor="f",
        )

    follower = Follower()
    snapshot = Snapshot(
        nodes=(NodeView("n0", {}, {GPU: 8000, "pods": 110_000}),),
        pods=tuple(pod(number) for number in range(3)),
        flavors={"f": FlavorSpec()},
        queues={"a": a_queue(None, 8)},
        namespaces={"team": {"kubernetes.io/metadata.name": "team"}},
        workloads=tuple(replica(number) for number in range(3)),
    )
    follower.decide(snapshot, NOW)
    assert follower.engine.tree.held("a", ("f", GPU)) == 3000
    left = replace(snapshot, workloads=snapshot.workloads[:2])
    follower.decide(left, NOW)
    assert follower.engine.tree.held("a", ("f", GPU)) == 3000, "its pod still ends"
    follower.decide(replace(left, pods=snapshot.pods[:2]), NOW)
    assert follower.engine.tree.held("a", ("f", GPU)) == 2000
