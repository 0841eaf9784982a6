"""Nodes that held jobs up come last among equal places. Whether a job starts, and how large, does not depend on them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduling.test_remedies import a_job, a_node, a_snapshot
from trainyard.api.names import GPU
from trainyard.scheduling.schedule import Follower, schedule
from trainyard.scheduling.snapshot import (
    Admit,
    Assignment,
    NodeView,
    PodSet,
    Resize,
    Snapshot,
    Topology,
    Wait,
    Workload,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RACK = Topology("rack", "preferred")


def nodes(count: int, gpus: int = 8) -> list[NodeView]:
    return [a_node(f"n{number}", gpus) for number in range(count)]


def where(snapshot: Snapshot) -> tuple[str, ...]:
    (decision,) = schedule(snapshot, NOW)
    assert isinstance(decision, Admit), decision
    return decision.assignment.nodes["worker"]


def test_a_slow_node_comes_last() -> None:
    gang = a_job("mine", count=2, gpus=8)
    assert where(a_snapshot(nodes(4), gang)) == ("n0", "n1")
    assert where(a_snapshot(nodes(4), gang, slow={"n0": 1})) == ("n1", "n2")
    assert where(a_snapshot(nodes(4), gang, slow={"n0": 1, "n2": 3})) == ("n1", "n3")


def test_the_slowest_is_spared_first_where_not_all_can_be() -> None:
    gang = a_job("mine", count=3, gpus=8)
    assert where(a_snapshot(nodes(4), gang, slow={"n0": 4, "n1": 2})) == ("n1", "n2", "n3")
    assert where(a_snapshot(nodes(4), gang, slow={"n0": 2, "n1": 4})) == ("n0", "n2", "n3")


def test_a_slow_node_is_used_when_there_is_no_other_room() -> None:
    gang = a_job("mine", count=4, gpus=8)
    assert where(a_snapshot(nodes(4), gang, slow={"n0": 9, "n1": 9})) == ("n0", "n1", "n2", "n3")


def test_an_elastic_job_does_not_start_smaller_for_it() -> None:
    elastic = a_job("mine", pods=(PodSet("worker", 4, {GPU: 8000}, least=2),))
    assert where(a_snapshot(nodes(4), elastic, slow={"n0": 9})) == ("n0", "n1", "n2", "n3")
    assert where(a_snapshot(nodes(5), elastic, slow={"n0": 9})) == ("n1", "n2", "n3", "n4")


def test_a_gang_is_not_torn_apart_for_it() -> None:
    """Four pods of two GPUs on one node are nearer together than on two."""
    gang = a_job("mine", count=4, gpus=2)
    fleet = [a_node("n0", 8), a_node("n1", 4), a_node("n2", 4)]
    assert where(a_snapshot(fleet, gang, slow={"n0": 9})) == ("n0",) * 4
    assert where(a_snapshot([*fleet, a_node("n3", 8)], gang, slow={"n0": 9})) == ("n3",) * 4


def test_nor_over_more_racks_than_before() -> None:
    gang = a_job("mine", count=2, gpus=8, topology=RACK)
    racks = [a_node(f"n{number}", 8, rack=f"r{number // 2}") for number in range(4)]
    assert where(a_snapshot(racks[:3], gang, slow={"n0": 9})) == ("n0", "n1"), "the only rack that holds both"
    assert where(a_snapshot(racks, gang, slow={"n0": 9})) == ("n2", "n3")


def test_pods_that_are_spread_on_purpose_stay_so() -> None:
    gang = a_job("mine", count=2, gpus=4, topology=Topology("rack", "spread"))
    racks = [a_node("n0", 8, rack="r0"), a_node("n1", 8, rack="r1"), a_node("n2", 8, rack="r1")]
    assert set(where(a_snapshot(racks, gang, slow={"n0": 9}))) == {"n0", "n1"}
    assert set(where(a_snapshot(racks, gang, slow={"n1": 9}))) == {"n0", "n2"}


def test_the_part_of_a_lost_node_goes_to_one_that_is_not_slow() -> None:
    place = Assignment("h200", {"worker": ("n0", "n1")})
    wounded = a_job("mine", count=2, gpus=8, admission=place, started=NOW, lost=frozenset({"n1"}))
    left = [each for each in nodes(4) if each.name != "n1"]

    def mended(**fields: object) -> tuple[str, ...]:
        (decision,) = Follower().decide(a_snapshot(left, wounded, **fields), NOW)
        assert isinstance(decision, Resize), decision
        return decision.assignment.nodes["worker"]

    assert mended() == ("n0", "n2")
    assert mended(slow={"n2": 1}) == ("n0", "n3")
    assert mended(slow={"n2": 1, "n3": 1}) == ("n0", "n2"), "better there than not at all"
    assert mended(slow={"n0": 9, "n3": 1}) == ("n0", "n2"), "whoever is there stays"


def test_nobody_is_asked_again_because_of_it() -> None:
    follower, waits = Follower(), a_job("waits", count=9, gpus=8)
    follower.decide(a_snapshot(nodes(4), waits), NOW)
    follower.follow(a_snapshot(nodes(4), waits, slow={"n0": 3}), NOW)
    assert follower.engine.candidates() == []
    assert follower.engine.health("h200").slow == {"n0": 3}
    (decision,) = follower.decide(a_snapshot(nodes(4), waits, slow={"n0": 3}), NOW)
    assert isinstance(decision, Wait)


def test_a_follower_that_hears_of_it_decides_as_one_that_begins() -> None:
    follower, before = Follower(), a_job("waits", count=9, gpus=8)
    follower.decide(a_snapshot(nodes(4), before), NOW)
    told = a_snapshot(nodes(4), before, a_job("mine", count=2, gpus=8), slow={"n0": 3})
    admitted = next(each for each in follower.decide(told, NOW) if isinstance(each, Admit))
    assert admitted == next(each for each in schedule(told, NOW) if isinstance(each, Admit))
    assert admitted.assignment.nodes["worker"] == ("n1", "n2")


WORKLOADS = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.integers(1, 8),
        st.sampled_from([None, RACK, Topology("rack", "required"), Topology("rack", "spread")]),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


def workload(number: int, count: int, gpus: int, topology: Topology | None, elastic: bool) -> Workload:
    pods = PodSet("worker", count, {GPU: gpus * 1000}, least=1 if elastic else None)
    return replace(a_job(f"j{number}"), pods=(pods,), topology=topology)


@settings(max_examples=60, deadline=None)
@given(WORKLOADS, st.dictionaries(st.sampled_from([f"n{number}" for number in range(5)]), st.integers(1, 5)))
def test_the_first_to_start_starts_as_large_with_slow_nodes_as_without(
    asked: list[tuple[int, int, Topology | None, bool]], slow: dict[str, int]
) -> None:
    fleet = [a_node(f"n{number}", 4 + 4 * (number % 2), rack=f"r{number // 2}") for number in range(5)]
    for number, each in enumerate(asked):
        (plain,) = schedule(a_snapshot(fleet, workload(number, *each)), NOW)
        (spared,) = schedule(a_snapshot(fleet, workload(number, *each), slow=slow), NOW)
        assert type(plain) is type(spared)
        if isinstance(plain, Admit) and isinstance(spared, Admit):
            before, after = plain.assignment.nodes["worker"], spared.assignment.nodes["worker"]
            assert len(after) == len(before)
            worst = [max(slow.get(name, 0) for name in names) for names in (after, before)]
            assert worst[0] <= worst[1]


@pytest.mark.parametrize(
    ("slow", "words"),
    [({}, ""), ({"n1": 1, "n0": 2}, "n0, n1 held jobs up"), ({f"n{each}": 1 for each in range(5)}, "n2 and 2 more")],
)
def test_top_names_them(slow: dict[str, int], words: str) -> None:
    follower = Follower()
    follower.follow(a_snapshot(nodes(5), slow=slow), NOW)
    said = follower.engine.health("h200").words_of_slow()
    assert words in said
    assert bool(said) is bool(slow)
