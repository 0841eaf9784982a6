"""Which of the nodes with room is chosen: each policy by what it promises, ties always the same way."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.api.names import GPU
from trainyard.scheduling.fleet import Fleet
from trainyard.scheduling.fragmentation import TaskClass, TaskClasses, fragmented
from trainyard.scheduling.policies import Placement, Policy
from trainyard.scheduling.snapshot import NodeView

POLICIES: tuple[Policy, ...] = ("fgd", "bestfit", "binpack", "spread")
TYPICAL = TaskClasses((TaskClass(((GPU, 1000),)), TaskClass(((GPU, 8000),))), (3, 1))


def a_node(name: str, gpus: int) -> NodeView:
    return NodeView(name, {}, {GPU: gpus * 1000, "cpu": 64_000, "pods": 110_000})


def a_fleet(*free: int, gpus: int = 8) -> Fleet:
    """Nodes of 8 GPUs of which so many are free."""
    fleet = Fleet([a_node(f"n{number}", gpus) for number in range(len(free))])
    for row, left in enumerate(free):
        if left < gpus:
            fleet.take(row, {GPU: (gpus - left) * 1000})
    return fleet


def chosen(policy: Policy, fleet: Fleet, requests: dict[str, int], count: int = 1) -> tuple[int, ...] | None:
    everywhere = np.ones(len(fleet.nodes), dtype=np.bool_)
    return Placement(policy, TYPICAL).place(fleet, requests, count, everywhere)


@pytest.mark.parametrize(("policy", "expected"), [("fgd", 1), ("bestfit", 1), ("binpack", 1), ("spread", 0)])
def test_a_gpu_goes_where_the_policy_wants_it(policy: Policy, expected: int) -> None:
    assert chosen(policy, a_fleet(8, 3, 5), {GPU: 1000}) == (expected,)


def test_a_gang_that_fits_on_one_node_is_not_parted() -> None:
    assert chosen("fgd", a_fleet(2, 4, 2), {GPU: 1000}, 4) == (1, 1, 1, 1)


def test_spread_goes_round() -> None:
    assert sorted(chosen("spread", a_fleet(8, 8, 8), {GPU: 1000}, 4) or ()) == [0, 0, 1, 2]


def test_among_equals_the_smaller_node_is_filled_and_then_the_first() -> None:
    nodes = [a_node("a", 8), a_node("c", 4), a_node("b", 4)]
    everywhere = np.ones(3, dtype=np.bool_)
    assert Placement("fgd", TaskClasses()).place(Fleet(nodes), {"cpu": 1000}, 1, everywhere) == (2,)


def test_nothing_is_placed_where_it_may_not_run_or_does_not_fit() -> None:
    fleet = a_fleet(8, 8)
    for policy in POLICIES:
        placement = Placement(policy, TYPICAL)
        assert placement.place(fleet, {GPU: 1000}, 1, np.zeros(2, dtype=np.bool_)) is None
        assert placement.place(fleet, {GPU: 1000}, 17, np.ones(2, dtype=np.bool_)) is None


@st.composite
def asked(draw: st.DrawFn) -> tuple[Fleet, dict[str, int], int]:
    fleet = a_fleet(*draw(st.lists(st.integers(0, 8), min_size=1, max_size=5)))
    return fleet, {GPU: draw(st.sampled_from([300, 1000, 2000, 4000]))}, draw(st.integers(1, 5))


@given(asked(), st.sampled_from(POLICIES))
@settings(max_examples=200, deadline=None)
def test_every_policy_places_all_pods_when_there_is_room_and_none_otherwise(question: Any, policy: Policy) -> None:
    fleet, requests, count = question
    rows = chosen(policy, fleet, requests, count)
    assert (rows is not None) == (fleet.room(requests).sum() >= count)
    for row in rows or ():
        assert fleet.room(requests)[row] > 0
        fleet.take(row, requests)
    assert (fleet.free >= 0).all()


@given(asked(), st.sampled_from(POLICIES))
@settings(max_examples=100, deadline=None)
def test_what_a_placement_remembers_does_not_change_its_answers(question: Any, policy: Policy) -> None:
    fleet, requests, count = question
    everywhere = np.ones(len(fleet.nodes), dtype=np.bool_)
    kept = Placement(policy, TYPICAL)
    for _ in range(3):
        rows = kept.place(fleet, requests, count, everywhere)
        assert rows == Placement(policy, TYPICAL).place(fleet, requests, count, everywhere)
        for row in rows or ():
            fleet.take(row, requests)


def test_the_gradient_leaves_whole_nodes_for_those_who_need_them() -> None:
    fleet, worse = a_fleet(8, 8, 4), a_fleet(8, 8, 4)
    (row,) = chosen("fgd", fleet, {GPU: 1000}) or ()
    fleet.take(row, {GPU: 1000})
    worse.take(0, {GPU: 1000})
    assert fragmented(fleet, TYPICAL) < fragmented(worse, TYPICAL)
