"""Whoever is told of a change that would start a job can rely on it: the scheduler, asked anew, starts the job."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import EVERYBODY
from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU
from trainyard.api.queue import QueueSpec
from trainyard.api.reasons import Waiting
from trainyard.scheduling.remedies import MOST_REMEDIES, Fix, remedies
from trainyard.scheduling.schedule import Follower
from trainyard.scheduling.snapshot import (
    Admit,
    Assignment,
    NodeView,
    PodSet,
    Preempt,
    Snapshot,
    Topology,
    Verdict,
    Wait,
    Workload,
    WorkloadKey,
)
from trainyard.scheduling.whatif import Settled, settle, trial

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOBODY: dict[str, Any] = {}


def a_queue(guaranteed: int, *flavors: str, parent: str | None = None, admits: Any = EVERYBODY) -> QueueSpec:
    quotas = [
        {"name": name, "resources": [{"name": GPU, "guaranteed": guaranteed}]} for name in flavors or ("h200", "l40s")
    ]
    return QueueSpec.model_validate({"parent": parent, "namespaceSelector": admits, "flavors": quotas})


def a_node(name: str, gpus: int, flavor: str = "h200", rack: str = "r0") -> NodeView:
    return NodeView(name, {"flavor": flavor, "rack": rack}, {GPU: gpus * 1000, "pods": 110_000})


def a_job(name: str, count: int = 1, gpus: int = 1, **fields: Any) -> Workload:
    given_fields: dict[str, Any] = {
        "queue": "q",
        "created": NOW - timedelta(hours=1),
        "pods": (PodSet("worker", count, {GPU: gpus * 1000}),),
        **fields,
    }
    return Workload(WorkloadKey("TrainingJob", "team", name), f"uid-{name}", **given_fields)


def running(name: str, node: str, gpus: int, flavor: str = "h200", **fields: Any) -> Workload:
    place = Assignment(flavor, {"worker": (node,)})
    return a_job(name, 1, gpus, admission=place, **{"started": NOW - timedelta(minutes=30), **fields})


def a_snapshot(nodes: list[NodeView], *jobs: Workload, **fields: Any) -> Snapshot:
    usual: dict[str, Any] = {
        "flavors": {name: FlavorSpec.model_validate({"nodeSelector": {"flavor": name}}) for name in ("h200", "l40s")},
        "queues": {"q": a_queue(100)},
        "namespaces": {"team": {"kubernetes.io/metadata.name": "team"}},
    }
    return Snapshot(nodes=tuple(nodes), workloads=jobs, **{**usual, **fields})


def found(snapshot: Snapshot, name: str) -> dict[str, Fix]:
    settled = settle(snapshot, NOW)
    return {fix.change: fix for fix in remedies(settled, WorkloadKey("TrainingJob", "team", name))}


def starts(settled: Settled, fix: Fix) -> bool:
    """Whether a scheduler that has just started, told of the changed cluster, starts the job."""
    others = [each for each in settled.snapshot.workloads if each.key not in fix.ended and each.key != fix.workload.key]
    gone = {each.uid for each in settled.snapshot.workloads if each.key in fix.ended}
    pods = tuple(each for each in settled.snapshot.pods if each.owner_uid not in gone)
    changed = replace(settled.snapshot, workloads=(*others, fix.workload), pods=pods)
    return any(
        isinstance(each, Admit) and each.key == fix.workload.key for each in Follower().decide(changed, settled.now)
    )


def test_a_gang_that_is_too_large_is_told_the_largest_that_starts() -> None:
    changes = found(a_snapshot([a_node("n0", 8)], running("other", "n0", 2), a_job("mine", count=8)), "mine")
    assert "spec.workers.replicas=6" in changes
    assert changes["spec.workers.replicas=6"].message.startswith("with 6 instead of 8 workers it would start now on n0")


def test_fewer_workers_leave_the_other_roles_as_they_are() -> None:
    pods = (PodSet("worker", 8, {GPU: 1000}), PodSet("ps", 2, {GPU: 1000}))
    changes = found(a_snapshot([a_node("n0", 8)], a_job("mine", pods=pods)), "mine")
    fix = changes["spec.workers.replicas=6"]
    assert {role: len(nodes) for role, nodes in fix.assignment.nodes.items()} == {"worker": 6, "ps": 2}


def test_pods_that_are_too_large_are_told_how_large_they_may_be() -> None:
    changes = found(a_snapshot([a_node("n0", 4)], a_job("mine", gpus=8)), "mine")
    assert f"spec.workers.resources.limits[{GPU}]=4" in changes


def test_slices_stay_whole() -> None:
    topology = Topology("rack", "preferred", slice_size=2, slice_level="rack")
    changes = found(a_snapshot([a_node("n0", 5)], a_job("mine", count=6, topology=topology)), "mine")
    assert "spec.workers.replicas=4" in changes


def test_an_elastic_gang_is_told_a_smaller_least() -> None:
    pods = (PodSet("worker", 8, {GPU: 1000}, least=6),)
    assert "spec.workers.minReplicas=4" in found(a_snapshot([a_node("n0", 4)], a_job("mine", pods=pods)), "mine")


def test_what_is_required_may_be_preferred_instead() -> None:
    racks = [a_node("n0", 4), a_node("n1", 4, rack="r1")]
    job = a_job("mine", count=8, topology=Topology("rack", "required"))
    changes = found(a_snapshot(racks, job), "mine")
    assert next(iter(changes)) == "spec.topology.mode=preferred", "the smallest change comes first"


def test_another_flavor_of_the_queue_may_have_room() -> None:
    nodes = [a_node("n0", 1), a_node("n1", 8, "l40s")]
    assert "spec.flavors=[l40s]" in found(a_snapshot(nodes, a_job("mine", gpus=4, flavors=("h200",))), "mine")


def test_a_part_of_a_gpu_is_not_sent_where_gpus_are_not_shared() -> None:
    job = a_job("mine", pods=(PodSet("worker", 1, {GPU: 500}),), flavors=("h200",))
    assert "spec.flavors=[l40s]" not in found(a_snapshot([a_node("n1", 8, "l40s")], job), "mine")


def test_another_queue_that_admits_the_namespace_may_have_quota() -> None:
    queues = {"q": a_queue(1), "closed": a_queue(100, admits=NOBODY), "open": a_queue(100)}
    changes = found(a_snapshot([a_node("n0", 8)], a_job("mine", gpus=4), queues=queues), "mine")
    assert "spec.queue=open" in changes
    assert "spec.queue=closed" not in changes


def test_a_queue_without_the_flavors_asked_for_is_offered_with_its_own() -> None:
    queues = {"q": a_queue(1, "h200"), "other": a_queue(100, "l40s")}
    nodes = [a_node("n0", 8), a_node("n1", 8, "l40s")]
    job = a_job("mine", gpus=4, flavors=("h200",))
    assert "spec.queue=other, spec.flavors=[]" in found(a_snapshot(nodes, job, queues=queues), "mine")


def test_a_short_job_in_front_of_a_kept_place_is_told_to_say_so() -> None:
    jobs = (
        running("other", "n0", 4, duration=3600.0),
        a_job("large", gpus=8, created=NOW - timedelta(hours=3), duration=3600.0),
        a_job("mine", gpus=4),
    )
    changes = found(a_snapshot([a_node("n0", 8)], *jobs), "mine")
    assert "spec.expectedSeconds=1800" in changes
    assert changes["spec.expectedSeconds=1800"].size == 0


def test_who_waits_is_told_for_whom_and_until_when() -> None:
    jobs = (
        running("early", "n0", 2, duration=2400.0),
        running("late", "n0", 6, duration=7200.0),
        a_job("mine", gpus=8),
    )
    (fix,) = (each for each in found(a_snapshot([a_node("n0", 8)], *jobs), "mine").values() if each.ended)
    assert [key.name for key in fix.ended] == ["early", "late"]
    assert fix.change == "end of TrainingJob team/late and 1 that end before it"
    assert "about 2026-11-23 13:30Z" in fix.message


def test_only_those_who_have_to_end_are_named() -> None:
    jobs = (
        running("elsewhere", "n1", 1, duration=2400.0),
        running("here", "n0", 8, duration=7200.0),
        a_job("mine", gpus=8),
    )
    changes = found(a_snapshot([a_node("n0", 8), a_node("n1", 1)], *jobs), "mine")
    assert "end of TrainingJob team/here" in changes


def test_what_no_change_can_start_is_told_nothing() -> None:
    blocked = Verdict(Waiting.MISCONFIGURED, "no such claim")
    assert found(a_snapshot([a_node("n0", 8)], a_job("mine", blocked=blocked)), "mine") == {}
    assert found(a_snapshot([], a_job("mine")), "mine") == {}
    assert found(a_snapshot([a_node("n0", 8)], a_job("mine")), "mine") == {}, "it starts as it is"


def test_who_is_about_to_be_preempted_for_another_makes_no_room_by_ending() -> None:
    queues = {"org": a_queue(0), "q": a_queue(0, parent="org"), "r": a_queue(6, "h200", parent="org")}
    elastic = (PodSet("worker", 4, {GPU: 2000}, least=3),)
    jobs = (a_job("a"), a_job("b"), a_job("mine"), a_job("owner", queue="r", pods=elastic))
    snapshot = a_snapshot([a_node("n0", 6)], *jobs, queues=queues)
    preempting = [each for each in settle(snapshot, NOW).decisions.values() if isinstance(each, Preempt)]
    assert [each.key.name for each in preempting] == ["owner"]
    assert found(snapshot, "mine") == {}


def test_a_search_ends_when_it_is_told_to_hurry() -> None:
    settled = settle(a_snapshot([a_node("n0", 4)], a_job("mine", gpus=8)), NOW)
    assert remedies(settled, WorkloadKey("TrainingJob", "team", "mine"), lambda: True) == ()


@st.composite
def crowded(draw: st.DrawFn) -> Snapshot:
    """Clusters in which most jobs wait, for many reasons."""
    nodes = [
        a_node(f"n{number}", draw(st.integers(1, 8)), draw(st.sampled_from(["h200", "l40s"])), f"r{number % 2}")
        for number in range(draw(st.integers(1, 5)))
    ]
    queues = {
        "org": a_queue(0),
        "q": a_queue(draw(st.integers(0, 12)), parent="org"),
        "r": a_queue(draw(st.integers(0, 12)), draw(st.sampled_from(["h200", "l40s"])), parent="org"),
        "s": a_queue(draw(st.integers(0, 12)), admits=draw(st.sampled_from([EVERYBODY, NOBODY]))),
    }
    jobs = []
    for number in range(draw(st.integers(2, 9))):
        level = draw(st.sampled_from([None, Topology("rack", "required"), Topology("rack", "preferred")]))
        count = draw(st.integers(1, 5))
        least = draw(st.sampled_from([None, None, max(1, count - 1)]))
        jobs.append(
            a_job(
                f"j{number}",
                queue=draw(st.sampled_from(["q", "r", "s"])),
                pods=(PodSet("worker", count, {GPU: draw(st.integers(1, 5)) * 1000}, least=least),),
                topology=level,
                flavors=draw(st.sampled_from([(), ("h200",), ("l40s",)])),
                created=NOW - timedelta(minutes=draw(st.integers(1, 90))),
                duration=draw(st.sampled_from([None, 60.0, 1800.0, 7200.0])),
                priority=draw(st.integers(0, 1)),
            )
        )
    return a_snapshot(nodes, *jobs, queues=queues)


@given(crowded())
@settings(max_examples=300, deadline=None)
def test_a_remedy_really_starts_the_job(snapshot: Snapshot) -> None:
    settled = settle(snapshot, NOW)
    for key, decision in settled.decisions.items():
        if isinstance(decision, Wait):
            fixes = remedies(settled, key)
            assert len(fixes) <= MOST_REMEDIES
            assert [fix.size for fix in fixes] == sorted(fix.size for fix in fixes)
            for fix in fixes:
                assert starts(settled, fix), fix.change


@given(crowded())
@settings(max_examples=100, deadline=None)
def test_a_trial_changes_nothing(snapshot: Snapshot) -> None:
    settled = settle(snapshot, NOW)
    before = trial(settled, a_job("new"))
    for key, decision in settled.decisions.items():
        if isinstance(decision, Wait):
            remedies(settled, key)
    after = trial(settled, a_job("new"))
    assert before.admitted == after.admitted
    assert before.waits() == after.waits()
    assert settled.waiting(WorkloadKey("TrainingJob", "team", "nobody")) is None
