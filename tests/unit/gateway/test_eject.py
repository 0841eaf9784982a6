"""Who gets nothing for a while, and when a caller should come back."""

from dataclasses import replace

import pytest
from gateway.eject import Ejections, without
from gateway.members import Member, Membership
from gateway.observed import Observed, Server
from gateway.pace import Pace

NAMES = ("a", "b", "c", "d")


def servers(**counts: tuple[int, int]) -> list[Server]:
    return [Server(name, "10.0.0.1", 8080, answered=good, failed=bad) for name, (good, bad) in counts.items()]


def judged(*rounds: list[Server]) -> tuple[Ejections, float]:
    """Ejections after one window for each, and the time then."""
    ejections, now = Ejections(), 100.0
    for each in rounds:
        ejections = ejections.seen(each, now)
        now += 3.0
    return ejections, now - 3.0


CALM = servers(a=(10, 0), b=(10, 0), c=(10, 0), d=(10, 0))

TABLE = {
    "one fails while the others answer": (servers(a=(10, 9), b=(30, 0), c=(30, 0), d=(30, 0)), {"a"}),
    "it fails now and then": (servers(a=(30, 9), b=(30, 0), c=(30, 0), d=(30, 0)), set()),
    "too few answers to judge": (servers(a=(10, 4), b=(30, 0), c=(30, 0), d=(30, 0)), set()),
    "all fail alike: it is the requests": (servers(a=(10, 9), b=(10, 9), c=(10, 9), d=(10, 9)), set()),
    "never more than half": (servers(a=(10, 9), b=(10, 8), c=(10, 7), d=(90, 0)), {"a", "b"}),
    "a new HAProxy counts from nothing": (servers(a=(0, 6), b=(5, 0), c=(5, 0), d=(5, 0)), {"a"}),
}


@pytest.mark.fault(88)
@pytest.mark.parametrize(("after", "out"), TABLE.values(), ids=TABLE.keys())
def test_who_is_put_out(after: list[Server], out: set[str]) -> None:
    ejections, now = judged(CALM, after)
    assert ejections.out(now) == out
    assert ejections.total == len(out)


def test_a_single_replica_is_never_put_out() -> None:
    ejections, now = judged(servers(a=(0, 0)), servers(a=(0, 50)))
    assert ejections.out(now) == set()


def test_who_fails_over_both_protocols_is_put_out_once_and_never_more_than_half_by_either() -> None:
    before, after = servers(a=(0, 0), b=(0, 0)), servers(a=(0, 9), b=(30, 0))
    over_grpc = [replace(one, backend="replicas-grpc") for one in servers(a=(30, 0), b=(0, 9))]
    same = [replace(one, backend="replicas-grpc") for one in after]
    for other, out in ((over_grpc, {"a"}), (same, {"a"})):
        ejections, now = judged([*before, *(replace(one, answered=0, failed=0) for one in other)], [*after, *other])
        assert ejections.out(now) == out
        assert (ejections.total, ejections.sentences["a"].times) == (1, 1)


def test_those_already_out_count_towards_the_half() -> None:
    ejections, now = judged(
        CALM,
        servers(a=(10, 9), b=(20, 0), c=(20, 0), d=(20, 0)),
        servers(a=(10, 9), b=(20, 9), c=(20, 8), d=(40, 0)),
    )
    assert ejections.out(now) == {"a", "b"}


def test_each_ejection_is_twice_as_long_until_it_has_behaved_well() -> None:
    ejections, now, failed, lengths = Ejections(), 100.0, 0, []
    for _ in range(7):
        ejections = ejections.seen(servers(a=(0, failed), b=(0, 0)), now)
        failed += 9
        now += 3.0
        ejections = ejections.seen(servers(a=(0, failed), b=(failed, 0)), now)
        lengths.append(ejections.sentences["a"].until - now)
        now = ejections.sentences["a"].until + 0.1
        assert ejections.out(now) == set()
    assert lengths == pytest.approx([10, 20, 40, 80, 160, 300, 300])
    assert ejections.seen(servers(a=(0, failed), b=(failed, 0)), now + 400).sentences == {}


def test_an_ejected_member_keeps_everything_but_its_weight() -> None:
    a, b = Member("a", "10.0.0.1", 8080), Member("b", "10.0.0.2", 8080)
    assert without(Membership(3, (a, b)), frozenset({"a"})) == Membership(3, (replace(a, weight=0), b))


def test_a_caller_is_told_how_long_those_before_it_take() -> None:
    pace, answered = Pace(), 0
    for second in range(30):
        pace = pace.seen(Observed("1@1", tuple(servers(a=(answered, 0))), frozenset()), float(second))
        answered += 4
    assert pace.rate == pytest.approx(4, rel=0.02)
    assert [pace.retry_after(queued) for queued in (0, 2, 40, 4000)] == [1, 1, 11, 60]
    assert Pace().retry_after(64) == 1, "nothing is known"
    again = pace.seen(Observed("1@2", tuple(servers(a=(0, 0))), frozenset()), 30.0)
    assert 0 < again.rate < pace.rate
