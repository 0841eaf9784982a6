"""What the scheduler sees of each object is looked at again only where something changed."""

import logging
from collections import Counter
from datetime import UTC, datetime

import pytest

from trainyard.scheduling.snapshot import Workload, WorkloadKey
from trainyard.workloads.keys import Key
from trainyard.workloads.looks import Found, Looks


def key(name: str) -> Key:
    return Key("TrainingJob", "team", name)


def workload(name: str) -> Workload:
    return Workload(WorkloadKey("TrainingJob", "team", name), name, "research", datetime(2026, 11, 23, tzinfo=UTC), ())


class Eyes:
    """Looks at what stands in `there`, and counts how often."""

    def __init__(self, *names: str) -> None:
        self.there = dict.fromkeys(names, 1)
        self.looked: Counter[str] = Counter()
        self.looks = Looks(self.look)
        self.looks.all_noticed(map(key, names))

    def look(self, at: Key) -> Found:
        self.looked[at.name] += 1
        if self.there.get(at.name) == 0:
            raise ValueError("cannot be understood")
        return [(workload(at.name), self.there[at.name])] if at.name in self.there else ()

    def seen(self) -> list[tuple[str, int]]:
        return [(each.key.name, attempt) for each, attempt in self.looks.all()]


def test_what_did_not_change_is_not_looked_at_again() -> None:
    eyes = Eyes("a", "b")
    assert eyes.seen() == eyes.seen() == [("a", 1), ("b", 1)]
    assert eyes.looked == {"a": 1, "b": 1}


def test_what_changed_is_seen_as_it_is_now_and_keeps_its_place() -> None:
    eyes = Eyes("a", "b")
    eyes.seen()
    eyes.there["a"] = 2
    assert eyes.seen() == [("a", 1), ("b", 1)], "nobody said so"
    eyes.looks.noticed(key("a"))
    assert eyes.seen() == [("a", 2), ("b", 1)]


def test_what_went_is_not_seen_any_more() -> None:
    eyes = Eyes("a", "b")
    eyes.seen()
    del eyes.there["a"]
    eyes.looks.noticed(key("a"))
    assert eyes.seen() == [("b", 1)]


def test_one_that_looks_as_before_is_the_same_object_again() -> None:
    eyes = Eyes("a")
    (before,) = eyes.looks.all()
    eyes.looks.noticed(key("a"))
    (after,) = eyes.looks.all()
    assert after is before


def test_one_that_cannot_be_understood_hides_no_other_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    eyes = Eyes("a", "b")
    eyes.seen()
    eyes.there["a"] = 0
    eyes.looks.noticed(key("a"))
    with caplog.at_level(logging.ERROR):
        assert eyes.seen() == [("b", 1)]
    assert "left out of scheduling" in caplog.text
    eyes.there["a"] = 3
    eyes.looks.noticed(key("a"))
    assert eyes.seen() == [("b", 1), ("a", 3)]
