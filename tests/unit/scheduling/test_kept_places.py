"""What becomes of a place that is kept: whose fault it is counted as when it comes later than promised."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.scheduling.test_cycle import NOW, a_job, a_node, a_queue, a_snapshot
from trainyard.api.names import GPU
from trainyard.scheduling.engine import Counters
from trainyard.scheduling.schedule import Follower
from trainyard.scheduling.snapshot import Assignment, PodView, Snapshot, Workload

DUE = 600.0
"""When the first of two that run is expected to end: what waits gets its node."""


def running(name: str, node: str, seconds: float) -> Workload:
    place = Assignment("f", {"worker": (node,)})
    return a_job(name, gpus=8, admission=place, started=NOW, duration=seconds)


def a_pod(job: str, node: str, *, of_ours: bool) -> PodView:
    pod = PodView(f"pod-{job}", "team", f"{job}-0", node, {GPU: 8000}, role="worker")
    return replace(pod, queue="q", flavor="f", owner_uid=f"uid-{job}") if of_ours else pod


WAITS = a_job("waits", gpus=8)
FULL = a_snapshot(
    [a_node("n0", 8), a_node("n1", 8)], [running("first", "n0", DUE), running("second", "n1", 2 * DUE), WAITS]
)


def without_first(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, workloads=snapshot.workloads[1:])


def somebody_elses(snapshot: Snapshot) -> Snapshot:
    return replace(without_first(snapshot), pods=(a_pod("theirs", "n0", of_ours=False),))


def lingering(snapshot: Snapshot) -> Snapshot:
    """The job is gone, its pod goes on ending."""
    return replace(without_first(snapshot), pods=(a_pod("first", "n0", of_ours=True),))


def without_its_node(snapshot: Snapshot) -> Snapshot:
    return replace(without_first(snapshot), nodes=snapshot.nodes[1:])


def with_a_broken_node(snapshot: Snapshot) -> Snapshot:
    return replace(without_first(snapshot), nodes=(replace(snapshot.nodes[0], broken="GPUMissing"), snapshot.nodes[1]))


def with_less_quota(snapshot: Snapshot) -> Snapshot:
    return replace(without_first(snapshot), queues={"q": a_queue(8)})


@pytest.mark.parametrize(
    ("then", "moved_later", "broken"),
    [
        (lambda snapshot: snapshot, 1, 0),
        (without_its_node, 0, 0),
        (with_a_broken_node, 0, 0),
        (with_less_quota, 0, 0),
        (somebody_elses, 0, 1),
        (lingering, 0, 1),
    ],
    ids=["over-run", "node-left", "node-broken", "quota-lowered", "pod-of-somebody-else", "pod-that-goes-on-ending"],
)
def test_only_pods_that_stand_in_a_kept_place_break_it(
    then: Callable[[Snapshot], Snapshot], moved_later: int, broken: int
) -> None:
    follower = Follower()
    follower.decide(FULL, NOW + timedelta(seconds=1))
    (kept,) = follower.engine.reservations
    assert kept.time == NOW.timestamp() + DUE
    follower.decide(then(FULL), NOW + timedelta(seconds=DUE + 1))
    assert follower.engine.counters == Counters(
        made=1 + (moved_later + broken == 0), moved_later=moved_later, broken=broken
    )
