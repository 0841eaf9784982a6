"""A power cap: what follows from the GPUs that are asked for, what is refused for it, and that it holds whatever comes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import EVERYBODY
from trainyard.api.energy import Draw
from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU, WATTS
from trainyard.api.queue import QueueSpec
from trainyard.api.reasons import Waiting
from trainyard.scheduling import quota
from trainyard.scheduling.engine import OPERATOR
from trainyard.scheduling.power import draw, powers
from trainyard.scheduling.quota_tree import QuotaTree
from trainyard.scheduling.remedies import remedies
from trainyard.scheduling.schedule import Follower
from trainyard.scheduling.snapshot import (
    Admit,
    Assignment,
    NodeView,
    PodSet,
    Resize,
    Snapshot,
    Verdict,
    Wait,
    Workload,
    WorkloadKey,
)
from trainyard.scheduling.whatif import settle

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOT, COOL = FlavorSpec(watts_per_unit=700), FlavorSpec(watts_per_unit=350)


def a_queue(gpus: int, *flavors: str, parent: str | None = None, **watts: int) -> QueueSpec:
    """A queue with GPUs, and with guaranteed= and limit= watts if they are given, on each flavor."""
    resources: list[dict[str, Any]] = [{"name": GPU, "guaranteed": gpus}]
    if watts:
        resources.append({"name": WATTS, "guaranteed": 0, **watts})
    quotas = [{"name": name, "resources": resources} for name in flavors or ("hot",)]
    return QueueSpec.model_validate({"parent": parent, "namespaceSelector": EVERYBODY, "flavors": quotas})


def a_job(name: str, count: int = 1, gpus: int = 1, queue: str = "q", **fields: Any) -> Workload:
    pods = (PodSet("worker", count, {GPU: gpus * 1000}, least=fields.pop("least", None)),)
    return Workload(WorkloadKey("TrainingJob", "team", name), f"uid-{name}", queue, NOW, pods, **fields)


def a_snapshot(*jobs: Workload, queues: dict[str, QueueSpec], flavors: dict[str, FlavorSpec] | None = None) -> Snapshot:
    nodes = [
        NodeView(f"n{number}", {"kubernetes.io/metadata.name": "n"}, {GPU: 8000, "pods": 110_000})
        for number in range(4)
    ]
    return Snapshot(
        nodes=tuple(nodes),
        flavors=flavors or {"hot": HOT, "cool": COOL},
        queues=queues,
        namespaces={"team": {"kubernetes.io/metadata.name": "team"}},
        workloads=jobs,
    )


def verdicts(snapshot: Snapshot) -> dict[str, Verdict]:
    found = Follower().decide(snapshot, NOW + timedelta(minutes=1))
    return {each.key.name: each.verdict for each in found if isinstance(each, Wait)}


@pytest.mark.parametrize(
    ("watts", "gpus", "expected"),
    [(700.0, 4000, 2_800_000), (700.0, 500, 350_000), (0.3, 1, 1), (33.3333, 1000, 33_334), (0.0, 4000, 0)],
)
def test_milliwatts_follow_from_units_and_are_rounded_up(watts: float, gpus: int, expected: int) -> None:
    assert powers({"f": FlavorSpec(watts_per_unit=watts)})["f"].of({GPU: gpus, "cpu": 9000}) == expected


def test_power_is_counted_of_the_first_resource_and_only_where_somebody_has_a_quota_of_it() -> None:
    boards = FlavorSpec(resources=["xilinx.com/fpga", GPU], watts_per_unit=75)
    tree = QuotaTree({"q": a_queue(8, guaranteed=9000), "free": a_queue(8)}, {"hot": boards})
    asked = {GPU: 1000, "xilinx.com/fpga": 2000}
    assert tree.request("q", "hot", asked) == ((("hot", GPU), 1000), (("hot", WATTS), 150_000))
    assert tree.request("free", "hot", asked) == ((("hot", GPU), 1000),)
    assert tree.copy().request("q", "hot", asked) == tree.request("q", "hot", asked)


def test_what_a_pod_says_that_it_draws_does_not_count() -> None:
    tree = QuotaTree({"q": a_queue(8, guaranteed=9000)}, {"hot": HOT})
    assert dict(tree.request("q", "hot", {GPU: 1000, WATTS: 1}))["hot", WATTS] == 700_000


def test_a_job_waits_for_power_with_the_arithmetic_and_with_changes_that_would_start_it() -> None:
    queues = {"room": a_queue(0, limit=5000, guaranteed=0), "q": a_queue(32, parent="room", guaranteed=22_400)}
    snapshot = a_snapshot(a_job("holder", 1, 6), a_job("late", 2, 1), queues=queues)
    said = verdicts(snapshot)["late"]
    assert said.reason is Waiting.WAITING_FOR_QUOTA
    assert said.message == (
        "trainyard.dev/watts on hot: asks 1400, room may hold at most 5000, of which 4200 are used (team/holder 4200), 600 must be given back"
    )
    settled = settle(snapshot, NOW + timedelta(minutes=1))
    fixes = remedies(settled, WorkloadKey("TrainingJob", "team", "late"))
    assert "spec.workers.replicas=1" in [each.change for each in fixes]


def test_a_job_that_draws_more_than_the_queue_may_ever_is_told_so_at_once() -> None:
    said = verdicts(a_snapshot(a_job("large", 1, 8), queues={"q": a_queue(32, guaranteed=5000)}))["large"]
    assert said.reason is Waiting.EXCEEDS_MAX_QUOTA
    assert said.message == "trainyard.dev/watts on hot: asks 5600, the queue can hold at most 5000"


def test_a_cap_on_a_flavor_of_unknown_power_admits_nobody_and_says_what_to_do() -> None:
    flavors = {"hot": FlavorSpec()}
    said = verdicts(a_snapshot(a_job("a"), queues={"q": a_queue(32, limit=5000)}, flavors=flavors))["a"]
    assert said.reason is Waiting.MISCONFIGURED
    assert "Flavor hot, which states no spec.wattsPerUnit: set it there" in said.message


def test_a_flavor_of_unknown_power_is_left_out_and_the_job_starts_on_another_or_hears_of_it() -> None:
    flavors = {"hot": FlavorSpec(), "cool": COOL}
    queues = {"q": a_queue(4, "hot", "cool", guaranteed=3000)}
    snapshot = a_snapshot(a_job("a", 1, 3), a_job("b", 1, 3), a_job("c", 1, 9), queues=queues, flavors=flavors)
    decisions = Follower().decide(snapshot, NOW)
    (admitted,) = (each for each in decisions if isinstance(each, Admit))
    assert (admitted.key.name, admitted.assignment.flavor) == ("a", "cool")
    waiting = verdicts(snapshot)
    assert [waiting[name].reason for name in "bc"] == [Waiting.WAITING_FOR_QUOTA, Waiting.EXCEEDS_MAX_QUOTA]
    assert all("Flavor hot, which states no spec.wattsPerUnit" in waiting[name].message for name in "bc")


def test_an_elastic_job_on_a_flavor_of_unknown_power_does_not_grow() -> None:
    held = Assignment("hot", {"worker": ("n0", "n0")})
    running = a_job("a", 8, 1, least=2, admission=held, placed=NOW, in_place=True)
    for flavor, grows in ((FlavorSpec(), False), (HOT, True)):
        snapshot = a_snapshot(running, queues={"q": a_queue(32, guaranteed=9000)}, flavors={"hot": flavor})
        decisions = Follower(OPERATOR).decide(snapshot, NOW + timedelta(hours=2))
        assert any(isinstance(each, Resize) for each in decisions) is grows


def test_a_job_goes_to_the_flavor_whose_cap_has_room() -> None:
    queues = {"q": a_queue(32, "hot", "cool", guaranteed=1500)}
    decisions = Follower().decide(a_snapshot(a_job("a", 1, 2), a_job("b", 1, 3), queues=queues), NOW)
    flavors = {each.key.name: each.assignment.flavor for each in decisions if isinstance(each, Admit)}
    assert flavors == {"a": "hot", "b": "cool"}


def test_an_elastic_job_gets_as_many_workers_as_there_is_power_for() -> None:
    snapshot = a_snapshot(a_job("a", 8, 1, least=2), queues={"q": a_queue(32, guaranteed=2500)})
    (admitted,) = Follower().decide(snapshot, NOW)
    assert isinstance(admitted, Admit)
    assert len(admitted.assignment.nodes["worker"]) == 3


def test_a_flavor_that_turns_out_to_draw_more_counts_for_what_runs_already() -> None:
    follower, queues = Follower(), {"q": a_queue(32, guaranteed=5000)}
    follower.decide(a_snapshot(a_job("a", 1, 6), queues=queues), NOW)
    holds = follower.engine.running[WorkloadKey("TrainingJob", "team", "a")]
    running = a_job("a", 1, 6, admission=holds.assignment)
    hotter = a_snapshot(running, a_job("b"), queues=queues, flavors={"hot": FlavorSpec(watts_per_unit=1000)})
    follower.decide(hotter, NOW)
    assert follower.engine.tree.held("q", ("hot", WATTS)) == 6_000_000
    assert verdicts(hotter)["b"].reason is Waiting.WAITING_FOR_QUOTA


@pytest.mark.parametrize(
    ("flavor", "expected"),
    [
        (FlavorSpec(), Draw()),
        (FlavorSpec(watts_per_unit=700, price_per_hour=2.5), Draw(1750, 1750, 6.25)),
        (FlavorSpec(watts_per_unit=700, idle_watts_per_unit=100), Draw(1750, 250, 0)),
    ],
)
def test_what_is_held_draws_and_costs_what_the_flavor_states(flavor: FlavorSpec, expected: Draw) -> None:
    assert draw(flavor, {GPU: 2500, "cpu": 4000}) == expected


@settings(max_examples=60)
@given(st.data())
def test_what_is_admitted_never_draws_more_than_a_cap(data: st.DataObject) -> None:
    """Jobs of any size come and go on a tree with caps on the room and on a queue; cycle after cycle."""
    room, own = data.draw(st.integers(0, 20_000)), data.draw(st.integers(0, 12_000))
    flavors = {"hot": FlavorSpec(watts_per_unit=data.draw(st.floats(0, 1500))), "cool": COOL}
    queues = {
        "room": a_queue(0, "hot", "cool", guaranteed=0, limit=room),
        "q": a_queue(16, "hot", "cool", parent="room", guaranteed=6000, limit=own),
        "r": a_queue(16, "hot", "cool", parent="room", guaranteed=6000),
    }
    follower, jobs = Follower(), dict[str, Workload]()
    for number in range(data.draw(st.integers(1, 4))):
        for name in [name for name in jobs if data.draw(st.booleans())]:
            del jobs[name]
        for index in range(data.draw(st.integers(0, 4))):
            name, count = f"j{number}-{index}", data.draw(st.integers(1, 6))
            least = data.draw(st.one_of(st.none(), st.integers(1, count)))
            gpus, queue = data.draw(st.integers(0, 4)), data.draw(st.sampled_from("qr"))
            jobs[name] = a_job(name, count, gpus, queue, least=least)
        decisions = follower.decide(a_snapshot(*jobs.values(), queues=queues, flavors=flavors), NOW)
        for each in decisions:
            if isinstance(each, Admit | Resize):
                held = jobs[each.key.name]
                jobs[each.key.name] = Workload(
                    held.key, held.uid, held.queue, held.created, held.pods, admission=each.assignment
                )
        for flavor, spec in flavors.items():
            by_queue = {
                queue: sum(
                    (spec.watts_per_unit or 0) * quota.granted(each, each.admission)[GPU] / 1000
                    for each in jobs.values()
                    if each.queue == queue and each.admission and each.admission.flavor == flavor
                )
                for queue in "qr"
            }
            assert by_queue["q"] <= own
            assert sum(by_queue.values()) <= room
