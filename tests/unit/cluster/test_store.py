"""The store never goes back in time and never keeps ghosts."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.cluster.resources import Object
from trainyard.cluster.store import ObjectStore, Repair, is_newer


def obj(version: int | str, uid: str = "u1", name: str = "a", **labels: str) -> Object:
    metadata = {"namespace": "team", "name": name, "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata}


class Watched:
    """A store and the changes it told of, as (uid and version before, after)."""

    def __init__(self) -> None:
        self.store = ObjectStore("test")
        self.changes: list[tuple[str | None, str | None]] = []
        self.store.on_change(lambda old, new: self.changes.append((_short(old), _short(new))))


def _short(state: Object | None) -> str | None:
    return None if state is None else f"{state['metadata']['uid']}@{state['metadata']['resourceVersion']}"


@pytest.mark.fault(11)
def test_an_older_or_repeated_state_changes_nothing() -> None:
    watched = Watched()
    assert watched.store.put(obj(5))
    assert not watched.store.put(obj(5))
    assert not watched.store.put(obj(4))
    assert watched.store.put(obj(10))
    assert watched.changes == [(None, "u1@5"), ("u1@5", "u1@10")]


def test_versions_are_compared_as_numbers_and_otherwise_by_arrival() -> None:
    assert is_newer("10", "9")
    assert not is_newer("9", "10")
    assert is_newer("abc", "9")
    assert not is_newer("abc", "abc")


@pytest.mark.fault(11)
def test_a_late_state_does_not_bring_a_deleted_object_back() -> None:
    watched = Watched()
    watched.store.put(obj(5))
    assert watched.store.remove(obj(7))
    assert not watched.store.put(obj(6))
    assert not watched.store.remove(obj(7))
    assert watched.changes == [(None, "u1@5"), ("u1@5", None)]


def test_an_object_that_left_a_selector_may_come_back() -> None:
    watched = Watched()
    watched.store.put(obj(5))
    watched.store.remove(obj(7))
    assert watched.store.put(obj(9))


def test_an_object_made_anew_under_the_same_name_is_a_deletion_and_an_addition() -> None:
    watched = Watched()
    watched.store.put(obj(5, "u1"))
    watched.store.put(obj(9, "u2"))
    assert watched.changes[1:] == [("u1@5", None), (None, "u2@9")]
    assert not watched.store.remove(obj(8, "u1"))
    assert not watched.store.put(obj(7, "u1"))


def test_a_list_removes_what_vanished_unseen_but_keeps_what_is_newer_than_itself() -> None:
    watched = Watched()
    watched.store.put(obj(5, "u1", "old"))
    watched.store.put(obj(30, "u2", "young"))
    watched.store.put(obj(6, "u3", "changed"))
    assert watched.store.repair([obj(12, "u3", "changed")], "20") == 2
    assert {key[1] for key in watched.store.objects} == {"young", "changed"}


def test_handlers_see_the_new_state_whole_and_the_old_one_as_it_was_kept() -> None:
    store = ObjectStore("pods", lambda state: {"metadata": {**state["metadata"], "labels": {}}})
    seen: list[tuple[Object | None, Object | None]] = []
    store.on_change(lambda old, new: seen.append((old, new)))
    first, second = obj(1, app="x"), obj(2, app="y")
    for state in (first, second):
        store.put(state)
    store.remove(obj(3, app="z"))
    assert [new for _, new in seen] == [first, second, None]
    assert [old and old["metadata"]["labels"] for old, _ in seen] == [None, {}, {}]
    assert [old and old["metadata"]["resourceVersion"] for old, _ in seen] == [None, "1", "2"]


def test_a_list_is_taken_in_page_by_page_and_only_all_of_it_tells_what_is_gone() -> None:
    watched = Watched()
    for name in "abc":
        watched.store.put(obj(5, f"u{name}", name))
    repair = Repair(watched.store)
    repair.page([obj(5, "ua", "a")])
    repair.page([obj(9, "uc", "c")])
    assert {key[1] for key in watched.store.objects} == {"a", "b", "c"}
    assert repair.complete("20") == 2
    assert {key[1] for key in watched.store.objects} == {"a", "c"}


def test_an_index_follows_changes() -> None:
    store = ObjectStore("test")
    store.put(obj(1, "u1", "a", node="n1"))
    by_node = store.index(lambda state: [state["metadata"]["labels"].get("node")])
    store.put(obj(2, "u2", "b", node="n1"))
    assert by_node.count("n1") == 2
    store.put(obj(3, "u1", "a", node="n2"))
    assert [state["metadata"]["name"] for state in by_node.get("n1")] == ["b"]
    store.remove(obj(4, "u2", "b"))
    assert by_node.get("n1") == []
    assert list(by_node.values()) == ["n2"]


def test_a_failing_handler_stops_neither_the_store_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    store = ObjectStore("pods")
    heard = []

    def broken(_old: Object | None, _new: Object | None) -> None:
        raise ValueError("broken")

    store.on_change(broken)
    store.on_change(lambda _old, new: heard.append(new))
    store.put(obj(1))
    assert len(heard) == 1
    assert caplog.records[0].exc_info is not None


@pytest.mark.fault(10, 11, 12)
@given(seed=st.integers(0, 2**32), repeats=st.integers(1, 3))
def test_any_order_of_events_and_a_list_lead_to_the_truth(seed: int, repeats: int) -> None:
    """Random history, its events shuffled, repeated and partly lost: after a repair the store equals the world."""
    random = Random(seed)
    world: dict[str, Object] = {}
    events: list[tuple[str, Object]] = []
    for version in range(1, 40):
        name = random.choice("abcd")
        if name in world and random.random() < 0.4:
            gone = obj(version, world.pop(name)["metadata"]["uid"], name)
            events.append(("DELETED", gone))
        else:
            uid = world[name]["metadata"]["uid"] if name in world else f"{name}{version}"
            world[name] = obj(version, uid, name)
            events.append(("MODIFIED", world[name]))
    seen = [event for event in events if random.random() < 0.8] * repeats
    random.shuffle(seen)
    store = ObjectStore("test")
    index = store.index(lambda state: [state["metadata"]["uid"]])
    half = len(seen) // 2
    for kind, state in seen[:half]:
        store.remove(state) if kind == "DELETED" else store.put(state)
    store.repair(world.values(), "39")
    for kind, state in seen[half:]:
        store.remove(state) if kind == "DELETED" else store.put(state)
    assert {key[1]: state for key, state in store.objects.items()} == world
    assert set(index.values()) == {state["metadata"]["uid"] for state in world.values()}


def in_namespace(namespace: str, version: int, name: str) -> Object:
    made = obj(version, f"{namespace}-{name}", name)
    made["metadata"]["namespace"] = namespace
    return made


def test_lists_of_namespaces_speak_of_their_own_alone() -> None:
    store = ObjectStore("test", scope=lambda key: key[0])
    store.put(in_namespace("a", 5, "x"))
    store.put(in_namespace("b", 6, "x"))
    assert store.only((), "20", "b") == 1
    assert set(store.objects) == {("a", "x")}
    assert store.put(in_namespace("a", 12, "y")), "the list of b says nothing of a"
    assert not store.put(in_namespace("b", 12, "y")), "it was not in the list of b, which is newer"


def test_what_was_in_a_namespace_that_is_gone_is_dropped_and_may_come_anew() -> None:
    store = ObjectStore("test", scope=lambda key: key[0])
    gone: list[str] = []
    store.on_change(lambda old, new: gone.append(str(old and old["metadata"]["name"])) if new is None else None)
    store.put(in_namespace("a", 5, "x"))
    store.put(in_namespace("b", 6, "y"))
    store.forget("b")
    assert (gone, set(store.objects)) == (["y"], {("a", "x")})
    assert not store.put(in_namespace("b", 6, "y")), "a late event does not bring it back"
    anew = in_namespace("b", 9, "y")
    anew["metadata"]["uid"] = "another"
    assert store.put(anew)
