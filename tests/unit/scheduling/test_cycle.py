"""Admission cycles: never more than there is, all or nothing, best first, and every wait explained."""

import itertools
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.api.flavor import FlavorSpec
from trainyard.api.meta import LabelSelector, Taint, Toleration
from trainyard.api.names import GPU
from trainyard.api.queue import FlavorQuota, QueueSpec, ResourceQuota
from trainyard.api.reasons import Waiting
from trainyard.scheduling import quota
from trainyard.scheduling import schedule as scheduling
from trainyard.scheduling.quota import demand
from trainyard.scheduling.snapshot import (
    Admit,
    Assignment,
    Decision,
    NodeView,
    PodSet,
    PodView,
    Snapshot,
    Verdict,
    Wait,
    Workload,
    WorkloadKey,
)

NOW = datetime(2026, 11, 23, tzinfo=UTC)
EVERYBODY = LabelSelector(match_labels={"team": "research"})


def a_node(name: str, gpus: int, *, ready: bool = True, taints: tuple[Taint, ...] = (), **labels: str) -> NodeView:
    return NodeView(name, labels, {GPU: gpus * 1000, "pods": 110_000}, taints, ready)


def a_queue(quota: int, *flavors: str, stop: str = "None") -> QueueSpec:
    quotas = [
        FlavorQuota(name=name, resources=[ResourceQuota(name=GPU, guaranteed=str(quota))]) for name in flavors or ("f",)
    ]
    return QueueSpec.model_validate({"namespaceSelector": EVERYBODY, "flavors": quotas, "stopPolicy": stop})


def a_job(name: str, count: int = 1, gpus: int = 1, queue: str = "q", **fields: Any) -> Workload:
    given: dict[str, Any] = {"created": NOW, "pods": (PodSet("worker", count, {GPU: gpus * 1000}),), **fields}
    return Workload(WorkloadKey("TrainingJob", "team", name), f"uid-{name}", given.pop("queue", queue), **given)


def a_snapshot(nodes: list[NodeView], jobs: list[Workload], **fields: Any) -> Snapshot:
    given: dict[str, Any] = {
        "flavors": {"f": FlavorSpec()},
        "queues": {"q": a_queue(1000)},
        "namespaces": {"team": {"team": "research"}},
    }
    return Snapshot(nodes=tuple(nodes), workloads=tuple(jobs), **{**given, **fields})


def schedule(snapshot: Snapshot) -> list[Decision]:
    return scheduling.schedule(snapshot, NOW + timedelta(minutes=1))


def admitted(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    return {each.key.name: each.assignment.nodes["worker"] for each in schedule(snapshot) if isinstance(each, Admit)}


def verdict(snapshot: Snapshot) -> Verdict:
    """Of the only workload."""
    (decision,) = schedule(snapshot)
    assert isinstance(decision, Wait)
    return decision.verdict


@st.composite
def clusters(draw: st.DrawFn) -> Snapshot:
    nodes = [a_node(f"n{number}", draw(st.integers(0, 8))) for number in range(draw(st.integers(1, 5)))]
    names = [node.name for node in nodes]
    jobs = []
    for number in range(draw(st.integers(1, 8))):
        count, gpus = draw(st.integers(1, 4)), draw(st.integers(0, 4))
        held = draw(st.booleans()) and draw(st.booleans())
        places = tuple(draw(st.sampled_from(names)) for _ in range(count))
        jobs.append(
            a_job(
                f"j{number}",
                count,
                gpus,
                draw(st.sampled_from(["q", "r"])),
                priority=draw(st.integers(-1, 1)),
                created=NOW + timedelta(seconds=draw(st.integers(0, 5))),
                admission=Assignment("f", {"worker": places}) if held else None,
            )
        )
    pods = tuple(
        PodView(f"p{number}", "x", f"p{number}", draw(st.sampled_from(names)), {GPU: draw(st.integers(0, 3)) * 1000})
        for number in range(draw(st.integers(0, 3)))
    )
    queues = {"q": a_queue(draw(st.integers(0, 12))), "r": a_queue(draw(st.integers(0, 12)))}
    return a_snapshot(nodes, jobs, pods=pods, queues=queues)


@given(clusters())
@settings(max_examples=150, deadline=None)
def test_no_admission_asks_more_of_a_node_or_a_queue_than_there_is(snapshot: Snapshot) -> None:
    by_key = {each.key: each for each in snapshot.workloads}
    tree, asked = quota.held(snapshot), Counter[str]()
    held: Counter[str] = Counter()
    for pod in snapshot.pods:
        held[pod.node] += pod.requests[GPU]
    for each in snapshot.workloads:
        for place in each.admission.nodes["worker"] if each.admission else ():
            held[place] += each.pods[0].requests[GPU]
    new: Counter[str] = Counter()
    for decision in schedule(snapshot):
        workload = by_key[decision.key]
        assert workload.admission is None
        if isinstance(decision, Admit):
            assert len(decision.assignment.nodes["worker"]) == workload.pods[0].count
            asked[workload.queue] += demand(workload)[GPU]
            for place in decision.assignment.nodes["worker"]:
                new[place] += workload.pods[0].requests[GPU]
    for node in snapshot.nodes:
        assert new[node.name] == 0 or new[node.name] + held[node.name] <= node.allocatable[GPU]
    for queue, amount in asked.items():
        limit = int(snapshot.queues[queue].flavors[0].resources[0].guaranteed) * 1000
        assert amount == 0 or tree.held(queue, ("f", GPU)) + amount <= limit


@given(clusters())
@settings(max_examples=60, deadline=None)
def test_equal_states_get_equal_answers_and_every_waiting_workload_gets_one(snapshot: Snapshot) -> None:
    first, second = schedule(snapshot), schedule(snapshot)
    assert first == second
    assert {each.key for each in first} == {each.key for each in snapshot.workloads if each.admission is None}
    assert all(each.verdict.message for each in first if isinstance(each, Wait))


def shown(snapshot: Snapshot, decisions: list[Decision]) -> Snapshot:
    """The snapshot in which the statuses show who was admitted."""
    places = {each.key: each.assignment for each in decisions if isinstance(each, Admit)}
    workloads = (
        replace(each, admission=places[each.key], started=NOW) if each.key in places else each
        for each in snapshot.workloads
    )
    return replace(snapshot, workloads=tuple(workloads))


@given(clusters(), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_cycles_that_are_cut_short_come_to_everybody_and_decide_the_same(snapshot: Snapshot, most: int) -> None:
    whole = {each.key: each.assignment for each in schedule(snapshot) if isinstance(each, Admit)}
    follower, left, cycles = scheduling.Follower(), snapshot, 0
    admitted: dict[WorkloadKey, Assignment] = {}
    while True:
        asked = itertools.count()
        decisions = follower.decide(left, NOW, lambda asked=asked: next(asked) >= most)  # type: ignore[misc]
        admitted |= {each.key: each.assignment for each in decisions if isinstance(each, Admit)}
        left, cycles = shown(left, decisions), cycles + 1
        if not follower.unfinished:
            break
        assert cycles <= len(snapshot.workloads)
    assert admitted == whole


@given(clusters())
@settings(max_examples=100, deadline=None)
def test_who_is_admitted_and_whose_status_shows_it_is_not_told_anew(snapshot: Snapshot) -> None:
    follower = scheduling.Follower()
    after = shown(snapshot, follower.decide(snapshot, NOW))
    follower.decide(after, NOW)
    fresh = scheduling.Follower()
    fresh.decide(after, NOW)
    for each in (follower, fresh):
        assert {key: held.workload for key, held in each.engine.running.items()} == {
            each.key: each for each in after.workloads if each.admission
        }
    assert (follower.engine.fleet.free == fresh.engine.fleet.free).all()
    kinds = [{each.key: type(each) for each in one.decide(after, NOW)} for one in (follower, fresh)]
    assert kinds[0] == kinds[1]


@given(clusters())
@settings(max_examples=60, deadline=None)
def test_what_waits_could_not_start_beside_what_was_admitted(snapshot: Snapshot) -> None:
    decisions = {each.key: each for each in schedule(snapshot)}
    after = [
        each
        if each.admission or not isinstance(found := decisions[each.key], Admit)
        else a_job(each.key.name, each.pods[0].count, 0, each.queue, pods=each.pods, admission=found.assignment)
        for each in snapshot.workloads
    ]
    again = a_snapshot(list(snapshot.nodes), after, pods=snapshot.pods, queues=snapshot.queues)
    assert not [each for each in schedule(again) if isinstance(each, Admit)]


def test_a_gang_is_placed_on_few_nodes_the_tightest_first() -> None:
    nodes = [a_node("n0", 8), a_node("n1", 4), a_node("n2", 2)]
    assert admitted(a_snapshot(nodes, [a_job("a", 4, 1)])) == {"a": ("n1",) * 4}
    assert admitted(a_snapshot(nodes, [a_job("a", 10, 1)])) == {"a": ("n0",) * 8 + ("n2",) * 2}


def test_order_is_priority_then_age_and_positions_are_counted() -> None:
    jobs = [
        a_job("old"),
        a_job("young", created=NOW + timedelta(seconds=9)),
        a_job("urgent", priority=1, created=NOW + timedelta(seconds=20)),
    ]
    decisions = schedule(a_snapshot([a_node("n", 1)], jobs))
    assert [each.key.name for each in decisions] == ["urgent", "old", "young"]
    assert [each.position for each in decisions if isinstance(each, Wait)] == [1, 2]


def test_pods_of_an_earlier_attempt_do_not_hide_what_the_new_one_was_promised() -> None:
    over = PodView("p", "team", "a-worker-0-1", "n", {GPU: 1000}, "uid-a", "worker", "q", "f", finished=True)
    holder = a_job("a", admission=Assignment("f", {"worker": ("n",)}))
    snapshot = a_snapshot([a_node("n", 1)], [holder, a_job("b")], pods=(over,))
    assert admitted(snapshot) == {}


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"blocked": Verdict(Waiting.MISCONFIGURED, "no claim")}, Waiting.MISCONFIGURED, "no claim"),
        ({"queue": "x"}, Waiting.MISCONFIGURED, "there is no Queue 'x'; there are: closed, empty, held, q, small"),
        ({"queue": "closed"}, Waiting.MISCONFIGURED, "does not admit namespace 'team'"),
        ({"queue": "held"}, Waiting.ON_HOLD, "stopPolicy Hold"),
        ({"queue": "empty"}, Waiting.NO_MATCHING_FLAVOR, "names flavors gone"),
        ({"queue": "small"}, Waiting.EXCEEDS_MAX_QUOTA, "asks 4, the queue can hold at most 2"),
        ({"avoid": frozenset({"n"})}, Waiting.TOPOLOGY_PLACEMENT_FAILED, "avoided for now after a failed start: n"),
    ],
)
def test_every_wait_has_a_reason_with_its_arithmetic(change: dict[str, Any], reason: Waiting, words: str) -> None:
    queues = {
        "q": a_queue(8),
        "small": a_queue(2),
        "held": a_queue(8, stop="Hold"),
        "closed": QueueSpec(flavors=a_queue(8).flavors),
        "empty": a_queue(8, "gone"),
    }
    job = a_job("a", 1, 4, **change)
    found = verdict(a_snapshot([a_node("n", 8)], [job], queues=queues))
    assert found.reason is reason
    assert words in found.message


def test_a_wait_for_quota_names_the_holders() -> None:
    holder = a_job("big", 1, 3, admission=Assignment("f", {"worker": ("n",)}))
    snapshot = a_snapshot([a_node("n", 8)], [holder, a_job("a", 1, 2)], queues={"q": a_queue(4)})
    (decision,) = schedule(snapshot)
    assert isinstance(decision, Wait)
    assert decision.verdict.reason is Waiting.WAITING_FOR_QUOTA
    assert "asks 2, 3 of 4 are used (team/big 3), 1 must be given back" in decision.verdict.message


def test_a_pod_larger_than_any_node_is_told_so() -> None:
    assert "the largest of them offers 4" in verdict(a_snapshot([a_node("n", 4)], [a_job("a", 1, 8)])).message


@pytest.mark.parametrize(
    ("node", "starts"),
    [
        (a_node("n", 1), True),
        (a_node("n", 1, ready=False), False),
        (a_node("n", 1, taints=(Taint(key="gpu"),)), False),
        (a_node("n", 1, taints=(Taint(key="soft", effect="PreferNoSchedule"),)), True),
        (a_node("n", 1, taints=(Taint(key="known", value="x"),)), True),
    ],
)
def test_nodes_that_take_no_pods_get_none(node: NodeView, starts: bool) -> None:
    flavor = FlavorSpec(tolerations=[Toleration(key="known", operator="Exists")])
    assert bool(admitted(a_snapshot([node], [a_job("a")], flavors={"f": flavor}))) is starts


def test_selectors_of_flavor_and_pod_choose_nodes() -> None:
    nodes = [a_node("n0", 4, pool="old"), a_node("n1", 4, pool="new", zone="a"), a_node("n2", 4, pool="new", zone="b")]
    pods = (PodSet("worker", 1, {GPU: 1000}, (("zone", "b"),)),)
    flavors = {"f": FlavorSpec(node_selector={"pool": "new"})}
    assert admitted(a_snapshot(nodes, [a_job("a", pods=pods)], flavors=flavors)) == {"a": ("n2",)}


def test_the_next_flavor_is_taken_when_the_first_is_full() -> None:
    nodes = [a_node("n0", 1, kind="f"), a_node("n1", 1, kind="g")]
    flavors = {"f": FlavorSpec(node_selector={"kind": "f"}), "g": FlavorSpec(node_selector={"kind": "g"})}
    found = schedule(a_snapshot(nodes, [a_job("a"), a_job("b")], flavors=flavors, queues={"q": a_queue(8, "f", "g")}))
    assert [each.assignment.flavor for each in found if isinstance(each, Admit)] == ["f", "g"]


def test_pods_of_a_deleted_job_still_count_against_its_queue() -> None:
    left = PodView("p", "team", "gone-0", "n", {GPU: 1000}, "uid-gone", "worker", "q", "f")
    found = verdict(a_snapshot([a_node("n", 8)], [a_job("a")], pods=(left,), queues={"q": a_queue(1)}))
    assert "team/gone-0 (ending) 1" in found.message


@pytest.mark.parametrize(
    ("recent", "first"),
    [({}, "older"), ({"left": 2.0}, "younger"), ({"left": 2.0, "right": 3.0}, "older")],
)
def test_a_family_that_borrowed_lately_goes_after_one_that_did_not(recent: dict[str, float], first: str) -> None:
    queues = {
        "root": a_queue(8),
        **{each: a_queue(0).model_copy(update={"parent": "root"}) for each in ("left", "right")},
        "l": a_queue(0).model_copy(update={"parent": "left"}),
        "r": a_queue(0).model_copy(update={"parent": "right"}),
    }
    older = a_job("older", gpus=8, queue="l", created=NOW - timedelta(seconds=5))
    snapshot = a_snapshot([a_node("n", 8)], [older, a_job("younger", gpus=8, queue="r")], queues=queues, recent=recent)
    assert list(admitted(snapshot)) == [first]


def a_service(node: str, gpus: int = 8) -> Workload:
    pods, place = (PodSet("replica-0", 1, {GPU: gpus * 1000}),), Assignment("f", {"replica-0": (node,)})
    key = WorkloadKey("InferenceService", "team", "service")
    return Workload(key, "uid-service", "q", NOW, pods, admission=place, started=NOW, endless=True)


def test_no_place_is_kept_that_waits_for_the_end_of_a_service() -> None:
    held = Assignment("f", {"worker": ("n2",)})
    runs = a_job("runs", gpus=4, duration=1000.0, admission=held, started=NOW)
    head = a_job("head", count=2, gpus=8, created=NOW - timedelta(hours=1), duration=3600.0)
    small = a_job("small", gpus=4, duration=2 * 86_400.0)
    nodes = [a_node("n1", 8), a_node("n2", 8)]
    assert list(admitted(a_snapshot(nodes, [a_service("n1"), runs, head, small]))) == ["small"]


@pytest.mark.parametrize("beside", [[], [a_service("n1")]])
def test_a_service_elsewhere_is_no_guess_that_a_kept_place_would_wait_for(beside: list[Workload]) -> None:
    held = Assignment("f", {"worker": ("n2",)})
    runs = a_job("runs", gpus=4, duration=1000.0, admission=held, started=NOW)
    head = a_job("head", gpus=8, created=NOW - timedelta(seconds=60), duration=3600.0)
    small = a_job("small", gpus=4, duration=2 * 86_400.0)
    nodes = [a_node("n2", 8), *(a_node("n1", 8) for _ in beside)]
    assert admitted(a_snapshot(nodes, [*beside, runs, head, small])) == {}


def test_a_service_does_not_start_on_a_place_that_is_kept_whenever_that_is() -> None:
    held = Assignment("f", {"worker": ("n",)})
    runs = a_job("runs", gpus=4, duration=30 * 86_400.0, admission=held, started=NOW)
    head = a_job("head", gpus=8, created=NOW - timedelta(hours=1), duration=3600.0)
    waits = replace(a_service("n", 4), admission=None, started=None)
    found = a_snapshot([a_node("n", 8)], [runs, head, waits])
    assert admitted(found) == {}
