"""The quota tree against a slow model of itself, and its rules one by one."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.api.names import GPU
from trainyard.api.queue import QueueSpec
from trainyard.scheduling.quota_tree import QuotaTree, find_cycles, parents

CELL = ("h200", GPU)


def queue(parent: str | None = None, weight: int = 1, **quota: int) -> QueueSpec:
    """A queue with guaranteed=, limit=, lendable= whole GPUs of one flavor."""
    flavors = [{"name": CELL[0], "resources": [{"name": GPU, "guaranteed": 0, **quota}]}] if quota else []
    return QueueSpec.model_validate({"parent": parent, "weight": weight, "flavors": flavors})


def whole(gpus: int) -> int:
    return gpus * 1000


def held(tree: QuotaTree, **gpus: int) -> QuotaTree:
    for name, count in gpus.items():
        tree.add(name, ((CELL, whole(count)),))
    return tree


def available(tree: QuotaTree, name: str) -> float:
    return tree.available(name, CELL) / 1000


FAMILY = {
    "org": queue(),
    "a": queue("org", guaranteed=8),
    "b": queue("org", guaranteed=8),
    "c": queue("org", guaranteed=4),
}


def test_a_queue_may_take_what_its_siblings_do_not_use() -> None:
    tree = held(QuotaTree(FAMILY), a=2, b=3)
    assert {name: available(tree, name) for name in "abc"} == {"a": 15, "b": 15, "c": 15}
    assert tree.potential("c", CELL) == whole(20)


def test_what_is_not_lendable_stays_at_home() -> None:
    tree = QuotaTree({**FAMILY, "b": queue("org", guaranteed=8, lendable=3)})
    assert available(tree, "a") == 15
    assert available(tree, "b") == 20
    assert tree.potential("a", CELL) == whole(15)
    held(tree, b=5)
    assert available(tree, "a") == 15, "b uses first what it would not lend anyway"
    held(tree, b=1)
    assert available(tree, "a") == 14


def test_a_limit_caps_the_queue_and_all_below_it() -> None:
    specs = {
        "org": queue(guaranteed=10),
        "team": queue("org", guaranteed=4, limit=9),
        "x": queue("team", guaranteed=4),
        "y": queue("team", guaranteed=0, limit=6),
    }
    tree = held(QuotaTree(specs), x=4)
    assert available(tree, "y") == 5
    assert QuotaTree(specs).potential("y", CELL) == whole(6)


@pytest.mark.fault(70)
def test_after_a_cut_nothing_is_available_until_enough_was_given_back() -> None:
    tree = held(QuotaTree({"q": queue(guaranteed=4)}), q=6)
    assert available(tree, "q") == -2
    tree.remove("q", ((CELL, whole(3)),))
    assert available(tree, "q") == 1


def test_what_nobody_lists_is_not_counted() -> None:
    tree = QuotaTree(FAMILY)
    assert tree.request("a", "h200", {GPU: 1000, "cpu": 8000}) == ((CELL, 1000),)
    assert tree.request("a", "l40s", {GPU: 1000}) == ()


def test_the_share_is_of_what_is_borrowed_and_weighted() -> None:
    specs = {**FAMILY, "b": queue("org", weight=2, guaranteed=8)}
    tree = held(QuotaTree(specs), a=8, b=10, c=0)
    assert tree.share("a") == (0.0,)
    assert tree.share("a", ((CELL, whole(2)),)) == pytest.approx((0.1,))
    assert tree.share("b") == pytest.approx((0.05,))
    assert QuotaTree({**FAMILY, "c": queue("org", weight=0, guaranteed=4)}).share("c", ((CELL, whole(5)),)) == (
        float("inf"),
    )


def test_shares_are_compared_from_below_the_root_down() -> None:
    specs = {
        "org": queue(),
        "big": queue("org", guaranteed=8),
        "small": queue("org", guaranteed=8),
        "x": queue("big", guaranteed=1),
        "y": queue("small", guaranteed=0),
    }
    tree = held(QuotaTree(specs), x=2, y=3)
    assert tree.share("x")[0] == tree.share("y")[0] == 0.0
    assert tree.share("x")[1] > 0


@pytest.mark.fault(71)
def test_a_cycle_of_parents_is_found_with_its_path_and_the_others_go_on() -> None:
    specs = {
        "a": queue("b", guaranteed=1),
        "b": queue("c"),
        "c": queue("a"),
        "below": queue("c"),
        "ok": queue(guaranteed=2),
    }
    assert find_cycles(specs)["a"] == ("a", "b", "c", "a")
    assert find_cycles(specs)["below"] == ("below", "c", "a", "b", "c")
    tree = QuotaTree(specs)
    assert "a" not in tree
    assert available(tree, "ok") == 2
    assert parents(specs) == {"a", "b", "c"}


def test_a_parent_that_does_not_exist_makes_a_root() -> None:
    assert available(QuotaTree({"q": queue("nowhere", guaranteed=3)}), "q") == 3


@st.composite
def trees(draw: st.DrawFn) -> dict[str, QueueSpec]:
    specs: dict[str, QueueSpec] = {}
    for number in range(draw(st.integers(1, 7))):
        parent = f"q{draw(st.integers(0, number - 1))}" if number and draw(st.booleans()) else None
        quota: dict[str, int] = {"guaranteed": draw(st.integers(0, 8))}
        if draw(st.booleans()):
            quota["limit"] = draw(st.integers(0, 16))
        if draw(st.booleans()):
            quota["lendable"] = draw(st.integers(0, 8))
        specs[f"q{number}"] = queue(parent, draw(st.integers(0, 3)), **quota)
    return specs


def feasible(specs: Mapping[str, QueueSpec], held_by: Mapping[str, int]) -> bool:
    """The rules as they are told to users, without any of the tree's shortcuts."""

    def figure(name: str, what: str) -> int | None:
        quantity = getattr(specs[name].flavors[0].resources[0], what)
        return None if quantity is None else int(quantity)

    def below(name: str) -> list[str]:
        return [each for each, spec in specs.items() if spec.parent == name]

    def total(name: str) -> int:
        return held_by.get(name, 0) + sum(total(child) for child in below(name))

    def offered(name: str) -> int:
        return (figure(name, "guaranteed") or 0) + sum(offered(child) - kept(child) for child in below(name))

    def kept(name: str) -> int:
        lendable = figure(name, "lendable")
        return 0 if lendable is None else max(0, offered(name) - lendable)

    def used(name: str) -> int:
        return held_by.get(name, 0) + sum(max(0, used(child) - kept(child)) for child in below(name))

    roots = [name for name, spec in specs.items() if spec.parent is None]
    limits = {name: figure(name, "limit") for name in specs}
    return all(used(root) <= offered(root) for root in roots) and all(
        limit is None or total(name) <= limit for name, limit in limits.items()
    )


@given(trees(), st.data())
def test_what_fits_is_what_the_rules_allow(specs: dict[str, QueueSpec], data: st.DataObject) -> None:
    tree, use = QuotaTree(specs), dict[str, int]()
    leaves = sorted(specs.keys() - parents(specs))
    for _ in range(data.draw(st.integers(1, 8))):
        name, amount = data.draw(st.sampled_from(leaves)), data.draw(st.integers(1, 6))
        after = {**use, name: use.get(name, 0) + amount}
        assert tree.fits(name, ((CELL, whole(amount)),)) == feasible(specs, after)
        assert (tree.potential(name, CELL) >= whole(amount)) == feasible(specs, {name: amount})
        if feasible(specs, after):
            tree.add(name, ((CELL, whole(amount)),))
            use = after


@given(trees(), st.data())
def test_giving_back_undoes_taking(specs: dict[str, QueueSpec], data: st.DataObject) -> None:
    tree, untouched = QuotaTree(specs), QuotaTree(specs)
    leaves = sorted(specs.keys() - parents(specs))
    taken = [
        (data.draw(st.sampled_from(leaves)), data.draw(st.integers(1, 30))) for _ in range(data.draw(st.integers(1, 8)))
    ]
    for name, amount in taken:
        tree.add(name, ((CELL, amount),))
    twin = tree.copy()
    for name, amount in data.draw(st.permutations(taken)):
        tree.remove(name, ((CELL, amount),))
    for name in leaves:
        assert tree.available(name, CELL) == untouched.available(name, CELL)
        assert twin.held(name, CELL) == sum(amount for other, amount in taken if other == name)


@given(trees(), st.data())
def test_the_order_in_which_queues_are_listed_changes_nothing(specs: dict[str, Any], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(specs.items()))))
    for name in specs.keys() - parents(specs):
        assert QuotaTree(specs).available(name, CELL) == QuotaTree(shuffled).available(name, CELL)
