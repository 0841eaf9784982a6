"""What nodes have left: taken and given back exactly, whole devices and parts of them, whatever comes and goes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.api.flavor import FlavorSpec
from trainyard.api.meta import Taint, Toleration
from trainyard.api.names import GPU
from trainyard.scheduling.fleet import Fleet
from trainyard.scheduling.snapshot import NodeView, PodSet

PODS = st.fixed_dictionaries({GPU: st.sampled_from([0, 300, 500, 1000, 2000]), "cpu": st.integers(0, 4000)})


def a_node(name: str, gpus: int = 4, **fields: object) -> NodeView:
    made = NodeView(name, {"rack": "r0"}, {GPU: gpus * 1000, "cpu": 16_000, "pods": 110_000})
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("requests", "room"),
    [
        ({GPU: 1000}, 4),
        ({GPU: 2000}, 2),
        ({GPU: 500}, 8),
        ({GPU: 700}, 4),
        ({GPU: 5000}, 0),
        ({"cpu": 5000}, 3),
        ({GPU: 1000, "cpu": 8000}, 2),
        ({"fpga": 1000}, 0),
        ({}, 110),
    ],
)
def test_as_many_pods_fit_as_devices_and_resources_allow(requests: dict[str, int], room: int) -> None:
    assert Fleet([a_node("n")]).room(requests).tolist() == [room]


def test_parts_share_a_device_and_whole_gpus_need_idle_ones() -> None:
    fleet = Fleet([a_node("n", 2)])
    fleet.take(0, {GPU: 600})
    assert fleet.room({GPU: 1000}).tolist() == [1]
    fleet.take(0, {GPU: 400})
    assert fleet.room({GPU: 1000}).tolist() == [1], "both parts are on one device"
    fleet.take(0, {GPU: 100})
    assert fleet.room({GPU: 1000}).tolist() == [0]


@given(st.lists(st.tuples(PODS, st.booleans()), max_size=12))
@settings(max_examples=200, deadline=None)
def test_what_is_given_back_is_exactly_what_was_taken(steps: list[tuple[dict[str, int], bool]]) -> None:
    fleet = Fleet([a_node("n"), a_node("m", 2)])
    free, devices = fleet.free.copy(), fleet.gpu_free.copy()
    grants = [(row % 2, fleet.take(row % 2, requests)) for row, (requests, _) in enumerate(steps)]
    order = [each for each, (_, early) in zip(grants, steps, strict=True) if early]
    order += [each for each, (_, early) in zip(grants, steps, strict=True) if not early]
    for row, grant in order:
        fleet.give(row, grant)
    assert (fleet.free == free).all()
    assert (fleet.gpu_free == devices).all()


def test_a_copy_goes_its_own_way() -> None:
    fleet = Fleet([a_node("n")])
    other = fleet.copy()
    other.take(0, {GPU: 4000})
    assert fleet.room({GPU: 1000}).tolist() == [4]
    assert other.room({GPU: 1000}).tolist() == [0]


def test_a_node_that_left_keeps_what_is_held_on_it_should_it_come_back() -> None:
    fleet = Fleet([a_node("n")])
    grant = fleet.take(0, {GPU: 1000})
    fleet.remove_node("n")
    assert fleet.room({GPU: 1000}).tolist() == [0]
    fleet.set_node(a_node("n"))
    assert fleet.room({GPU: 1000}).tolist() == [3]
    fleet.give(0, grant)
    assert fleet.room({GPU: 1000}).tolist() == [4]


@pytest.mark.parametrize(
    ("node", "takes"),
    [
        (a_node("n"), True),
        (a_node("n", ready=False), False),
        (a_node("n", unschedulable=True), False),
        (a_node("n", labels={"rack": "r1"}), False),
        (a_node("n", taints=(Taint(key="gpu", effect="NoSchedule"),)), True),
        (a_node("n", taints=(Taint(key="other", effect="NoSchedule"),)), False),
        (a_node("n", taints=(Taint(key="other", effect="PreferNoSchedule"),)), True),
    ],
)
def test_who_may_run_where(node: NodeView, takes: bool) -> None:
    flavor = FlavorSpec.model_validate({"nodeSelector": {"rack": "r0"}})
    pods = PodSet("worker", 1, {GPU: 1000}, tolerations=(Toleration(key="gpu", operator="Exists"),))
    assert Fleet([node]).eligible(flavor, pods).tolist() == [takes]
    assert Fleet([node]).eligible(flavor, pods, frozenset({"n"})).tolist() == [False]


def test_nodes_without_one_of_the_labels_are_in_no_domain() -> None:
    fleet = Fleet([a_node("a"), a_node("b", labels={}), a_node("c", labels={"rack": "r1"})])
    assert fleet.domains("rack").tolist() == [0, -1, 1]
