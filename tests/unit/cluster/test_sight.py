"""Which namespaces an operator that is confined to some sees whole, and what it says of the others."""

import pytest

from trainyard.api.sight import View
from trainyard.cluster.sight import Sight


class Watched:
    """Of two namespaces and two kinds that are needed."""

    def __init__(self) -> None:
        self.sight = Sight(("a", "b"), ("pods", "services"))
        self.changes: list[tuple[str, bool]] = []
        self.sight.on_change(lambda namespace, whole: self.changes.append((namespace, whole)))

    def read(self, namespace: str, *kinds: str) -> None:
        for kind in kinds or ("pods", "services"):
            self.sight.read(kind, namespace)


def test_without_namespaces_everything_is_seen() -> None:
    sight = Sight()
    assert sight.whole("any")
    assert sight.blind() is None
    assert sight.told() is None


def test_a_namespace_is_whole_when_all_that_is_needed_was_read() -> None:
    watched = Watched()
    watched.read("a", "pods")
    assert not watched.sight.whole("a")
    watched.read("a", "services")
    watched.read("a", "services")
    assert watched.sight.whole("a")
    assert not watched.sight.whole("b")
    assert watched.changes == [("a", True)], "told once"


def test_what_is_in_no_namespace_is_seen_and_what_is_in_another_is_not() -> None:
    watched = Watched()
    watched.read("a")
    watched.read("b")
    assert watched.sight.whole("")
    assert not watched.sight.whole("c")


def test_a_refusal_takes_the_namespace_out_of_sight_until_it_is_read_again() -> None:
    watched = Watched()
    watched.read("a")
    watched.sight.refused("pods", "a", "no right")
    watched.sight.refused("pods", "a", "no right")
    watched.read("a", "pods")
    assert watched.changes == [("a", True), ("a", False), ("a", True)]


def test_a_kind_that_nobody_needs_is_told_of_and_keeps_nothing_from_sight() -> None:
    watched = Watched()
    watched.read("a")
    watched.read("b")
    watched.sight.refused("trainingjobs", "a", "no right to these")
    assert watched.sight.whole("a")
    assert watched.sight.told() == "namespace a: trainingjobs cannot be read: no right to these"


def test_problems_name_the_namespace_the_kind_and_the_api_servers_words() -> None:
    watched = Watched()
    watched.sight.refused("services", "a", "services is forbidden")
    watched.sight.refused("pods", "a", "pods is forbidden")
    watched.read("b", "pods")
    assert dict(watched.sight.problems()) == {
        "a": "pods cannot be read, nor 1 other kinds: pods is forbidden",
        "b": "not read yet: services",
    }


@pytest.mark.parametrize(
    ("read", "refused", "shown", "view"),
    [
        (("namespaces", "pods", "services"), (), True, View.SEEN),
        (("namespaces", "pods"), (), True, View.UNREAD),
        ((), (), False, View.UNREAD),
        (("namespaces", "pods", "services"), ("trainingjobs",), True, View.REFUSED),
        (("namespaces",), ("pods",), True, View.REFUSED),
        (("namespaces",), ("pods",), False, View.MISSING),
        (("namespaces", "pods", "services"), (), False, View.MISSING),
        ((), ("namespaces", "pods"), False, View.REFUSED),
    ],
)
def test_how_it_stands_with_a_namespace(
    read: tuple[str, ...], refused: tuple[str, ...], shown: bool, view: View
) -> None:
    watched = Watched()
    for kind in read:
        watched.read("a", kind)
    for kind in refused:
        watched.sight.refused(kind, "a", "no right")
    assert watched.sight.view("a", shown=shown) is view


def test_an_operator_is_blind_while_it_sees_no_namespace_at_all() -> None:
    watched = Watched()
    assert watched.sight.blind() == "none of the namespaces a, b can be seen"
    watched.read("b")
    assert watched.sight.blind() is None
