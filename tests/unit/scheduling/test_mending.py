"""Pods of lost nodes go to others, those that are left stay where they are, and nobody gets what they hold."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduling.test_remedies import a_job, a_node, a_snapshot
from trainyard.scheduling.schedule import Follower
from trainyard.scheduling.snapshot import Assignment, NodeView, Resize, Snapshot, Topology, Workload

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def wounded(nodes: tuple[str, ...], *lost: str, gpus: int = 4, **fields: Any) -> Workload:
    place = Assignment("h200", {"worker": nodes})
    hurt = frozenset(lost)
    return a_job(
        "hurt",
        len(nodes),
        gpus,
        admission=place,
        started=NOW - timedelta(hours=1),
        lost=hurt,
        duration=7200.0,
        **fields,
    )


def down(node: NodeView) -> NodeView:
    return replace(node, ready=False)


def moved(snapshot: Snapshot) -> tuple[str, ...] | None:
    found = [each for each in Follower().decide(snapshot, NOW) if isinstance(each, Resize)]
    return found[0].assignment.nodes["worker"] if found else None


def test_only_pods_of_lost_nodes_move() -> None:
    nodes = [a_node("n0", 4), down(a_node("n1", 4)), a_node("n2", 4), a_node("n3", 8)]
    assert moved(a_snapshot(nodes, wounded(("n0", "n1", "n2"), "n1"))) == ("n0", "n3", "n2")


def test_a_node_that_is_gone_is_mended_as_well() -> None:
    nodes = [a_node("n0", 4), a_node("n3", 4)]
    assert moved(a_snapshot(nodes, wounded(("n0", "n1"), "n1"))) == ("n0", "n3")


@pytest.mark.parametrize(("mode", "expected"), [("required", ("n0", "n2")), ("preferred", ("n0", "n2"))])
def test_the_other_node_is_of_the_same_domain(mode: Any, expected: tuple[str, ...]) -> None:
    nodes = [a_node("n0", 4), down(a_node("n1", 4)), a_node("n2", 4), a_node("a", 4, rack="r1")]
    hurt = wounded(("n0", "n1"), "n1", topology=Topology("rack", mode))
    assert moved(a_snapshot(nodes, hurt)) == expected


def test_what_is_required_is_not_left_and_a_wish_is_if_need_be() -> None:
    nodes = [a_node("n0", 4), down(a_node("n1", 4)), a_node("a", 4, rack="r1")]
    assert moved(a_snapshot(nodes, wounded(("n0", "n1"), "n1", topology=Topology("rack", "required")))) is None
    assert moved(a_snapshot(nodes, wounded(("n0", "n1"), "n1", topology=Topology("rack", "preferred")))) == ("n0", "a")


def test_who_is_about_to_leave_is_not_mended_and_nobody_gets_the_rest_of_a_place_that_cannot_be() -> None:
    nodes = [a_node("n0", 4), down(a_node("n1", 4)), a_node("n2", 4)]
    assert moved(a_snapshot(nodes, wounded(("n0", "n1"), "n1", leaving=True))) is None
    full = [a_node("n0", 4), down(a_node("n1", 4))]
    other = a_job("other", gpus=4, priority=9)
    decisions = Follower().decide(a_snapshot(full, wounded(("n0", "n1"), "n1"), other), NOW)
    assert not any(isinstance(each, Resize) for each in decisions)
    assert {each.key.name for each in decisions} == {"other"}


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[NodeView], Workload]:
    sizes = draw(st.lists(st.integers(1, 8), min_size=2, max_size=7))
    nodes = [a_node(f"n{number}", gpus, rack=f"r{number % 2}") for number, gpus in enumerate(sizes)]
    gpus = draw(st.integers(1, 4))
    places: list[str] = []
    for node in nodes:
        room = node.allocatable["nvidia.com/gpu"] // 1000 // gpus
        places += [node.name] * draw(st.integers(0, min(2, room)))
    if not places:
        places = [nodes[0].name]
        gpus = 1
    lost = draw(st.sets(st.sampled_from(places), min_size=1))
    nodes = [down(each) if each.name in lost else each for each in nodes]
    topology = draw(st.sampled_from([None, Topology("rack", "preferred"), Topology("rack", "spread")]))
    return nodes, wounded(tuple(places), *lost, gpus=gpus, topology=topology)


@given(fleets())
@settings(max_examples=200, deadline=None)
def test_a_mended_place_is_whole_and_costs_nothing_else(case: tuple[list[NodeView], Workload]) -> None:
    nodes, hurt = case
    follower = Follower()
    found = [each for each in follower.decide(a_snapshot(nodes, hurt), NOW) if isinstance(each, Resize)]
    if not found:
        return
    assert hurt.admission is not None
    before, after = hurt.admission.nodes["worker"], found[0].assignment.nodes["worker"]
    assert len(after) == len(before)
    assert all(new == old for new, old in zip(after, before, strict=True) if old not in hurt.lost)
    assert not hurt.lost & set(after)
    fresh = Follower()
    fresh.decide(a_snapshot(nodes, replace(hurt, admission=found[0].assignment, lost=frozenset())), NOW)
    assert (follower.engine.fleet.free == fresh.engine.fleet.free).all()
    assert (fresh.engine.fleet.free >= 0).all()
