"""All pods of all roles or none, as near to each other as the topology says, and the fleet as it was."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.api.names import GPU
from trainyard.scheduling.fleet import Fleet
from trainyard.scheduling.gang import Places, place_elastic, place_gang
from trainyard.scheduling.policies import Placement
from trainyard.scheduling.snapshot import NodeView, PodSet, Topology


def a_fleet(*racks: tuple[int, ...]) -> Fleet:
    """Racks of nodes of so many free GPUs; rack number -1 stands for nodes without the label."""
    nodes = [
        NodeView(
            f"r{rack}n{number}",
            {"rack": f"r{rack}", "block": f"b{rack // 2}"},
            {GPU: gpus * 1000, "cpu": 64_000, "pods": 110_000},
        )
        for rack, sizes in enumerate(racks)
        for number, gpus in enumerate(sizes)
    ]
    return Fleet(nodes)


def workers(count: int, gpus: int = 1, least: int | None = None, role: str = "worker") -> PodSet:
    return PodSet(role, count, {GPU: gpus * 1000}, least=least)


def placed(fleet: Fleet, *sets: PodSet, topology: Topology | None = None, place: Any = place_gang) -> Places | None:
    everywhere = np.ones(len(fleet.nodes), dtype=np.bool_)
    before = fleet.free.copy(), fleet.gpu_free.copy()
    found: Places | None = place(fleet, [(each, everywhere) for each in sets], topology, Placement())
    assert (fleet.free == before[0]).all()
    assert (fleet.gpu_free == before[1]).all()
    return found


def racks(fleet: Fleet, places: Places | None) -> list[str]:
    """Of each pod, in rank order."""
    assert places is not None
    return [fleet.nodes[row].labels["rack"] for rows in places.values() for row in rows]


def required(level: str = "rack", **slices: Any) -> Topology:
    return Topology(level, "required", **slices)


def test_required_takes_the_smallest_domain_that_holds_all() -> None:
    fleet = a_fleet((8, 8), (4, 4), (8,))
    assert set(racks(fleet, placed(fleet, workers(8), topology=required()))) == {"r1"}
    assert placed(fleet, workers(17), topology=required()) is None


def test_preferred_takes_as_few_as_possible() -> None:
    fleet = a_fleet((2, 2), (4, 4), (3,))
    topology = Topology("rack", "preferred")
    assert set(racks(fleet, placed(fleet, workers(4), topology=topology))) == {"r0"}
    assert set(racks(fleet, placed(fleet, workers(11), topology=topology))) == {"r1", "r2"}


def test_spread_goes_over_as_many_as_possible() -> None:
    fleet = a_fleet((8,), (8,), (1,))
    found = racks(fleet, placed(fleet, workers(7), topology=Topology("rack", "spread")))
    assert {each: found.count(each) for each in sorted(set(found))} == {"r0": 3, "r1": 3, "r2": 1}


def test_slices_stay_whole_in_their_own_level() -> None:
    fleet = a_fleet((3, 3), (3, 3))
    topology = required("block", slice_size=2, slice_level="rack")
    found = racks(fleet, placed(fleet, workers(10), topology=topology))
    assert all(len(set(found[begin : begin + 2])) == 1 for begin in range(0, 10, 2))
    assert placed(a_fleet((1,), (1,)), workers(2), topology=topology) is None


def test_all_roles_go_to_one_domain_and_see_each_other() -> None:
    fleet = a_fleet((4, 4), (4, 3), (4,))
    found = placed(fleet, workers(1, 4, role="server"), workers(4, role="worker"), topology=required())
    assert set(racks(fleet, found)) == {"r0"}
    assert placed(a_fleet((4,)), workers(1, 2, role="server"), workers(3)) is None


@pytest.mark.parametrize(("free", "size"), [(3, 0), (4, 4), (6, 6), (20, 8)])
def test_an_elastic_gang_gets_the_largest_size_that_fits(free: int, size: int) -> None:
    found = placed(a_fleet((free,)), workers(8, least=4), place=place_elastic)
    assert len((found or {"worker": ()})["worker"]) == size


def test_an_elastic_gang_grows_in_whole_slices() -> None:
    found = placed(
        a_fleet((7,)), workers(8, least=2), topology=required(slice_size=2, slice_level="rack"), place=place_elastic
    )
    assert found is not None
    assert len(found["worker"]) == 6


@st.composite
def questions(draw: st.DrawFn) -> tuple[Fleet, list[PodSet], Topology | None]:
    rows = st.lists(st.integers(0, 8), min_size=1, max_size=3).map(tuple)
    fleet = a_fleet(*draw(st.lists(rows, min_size=1, max_size=4)))
    sets = [
        workers(draw(st.integers(1, 5)), draw(st.integers(1, 4)), role=role)
        for role in draw(st.sampled_from([("worker",), ("server", "worker")]))
    ]
    wishes = [None, required(), Topology("rack", "preferred"), Topology("rack", "spread")]
    topology = draw(st.sampled_from(wishes))
    return fleet, sets, topology


@pytest.mark.fault(78)
@given(questions())
@settings(max_examples=300, deadline=None)
def test_a_gang_is_placed_whole_and_within_what_is_there(question: Any) -> None:
    fleet, sets, topology = question
    found = placed(fleet, *sets, topology=topology)
    if found is None:
        return
    for each in sets:
        assert len(found[each.role]) == each.count
        for row in found[each.role]:
            assert fleet.room(each.requests)[row] > 0
            fleet.take(row, each.requests)
    assert (fleet.free >= 0).all()
    if topology is not None and topology.mode == "required":
        assert len(set(racks(fleet, found))) == 1


@given(questions())
@settings(max_examples=200, deadline=None)
def test_what_is_required_is_found_whenever_one_domain_would_do_and_a_wish_never_costs_a_place(question: Any) -> None:
    fleet, sets, _ = question
    if placed(fleet, *sets, topology=required()) is not None:
        assert placed(fleet, *sets, topology=Topology("rack", "preferred")) is not None
    if len(sets) == 1:
        fits = fleet.room(sets[0].requests).sum() >= sets[0].count
        for topology in (None, Topology("rack", "preferred"), Topology("rack", "spread")):
            assert (placed(fleet, *sets, topology=topology) is not None) == fits
