"""A node's states: what brings it from one to the next, what does not, and that people have the last word."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.nodes.looks import NOW, at, sign
from trainyard.api.names import GPU
from trainyard.api.node_health import NodeState, Remedy
from trainyard.nodes import errors
from trainyard.nodes import record as records
from trainyard.nodes.breaker import LEAST, has_gpus, is_open, lately
from trainyard.nodes.signs import Grade, Sign
from trainyard.nodes.states import (
    CLEAR_SECONDS,
    MOST_SETTLED,
    VALIDATE_SECONDS,
    Record,
    Seen,
    counting_signs,
    look_again,
    step,
)
from trainyard.scheduling.snapshot import NodeView, Standing

H, S, Q, D, V = NodeState
FAULT, DOUBT = sign("fault"), sign("doubt", Grade.DOUBTFUL)


def go(record: Record, seconds: float, *signs: Sign, act: bool = False, **seen: object) -> Record:
    """A look, `seconds` after the first."""
    looked = replace(Seen(signs=signs, boot="one"), **seen)  # type: ignore[arg-type]
    return step(record, looked, may_drain=act, now=at(seconds))


def drained(act: bool = True) -> Record:
    """A node that is empty after a fault."""
    quarantined = go(Record(), 0, FAULT)
    draining = go(quarantined, 30, FAULT, act=act, occupied=True)
    return go(draining, 31, FAULT, act=act, cordoned=True)


@pytest.mark.parametrize(
    ("signs", "state"),
    [((), H), ((sign("n", Grade.NOTED),), H), ((DOUBT,), S), ((FAULT,), Q), ((FAULT, DOUBT), Q)],
)
def test_the_worst_sign_decides(signs: tuple[Sign, ...], state: NodeState) -> None:
    assert go(Record(), 0, *signs).state is state


def test_a_record_has_reason_time_and_remedy() -> None:
    record = go(Record(), 5, FAULT)
    assert (record.words, record.since, record.remedy) == ("fault", at(5), Remedy.RESET_GPU)


def test_nothing_follows_from_what_is_seen_again() -> None:
    for signs in ((), (DOUBT,), (FAULT,)):
        record = go(Record(), 0, *signs)
        assert go(record, 5, *signs) is record


def test_a_moment_in_which_a_plugin_restarts_changes_nothing() -> None:
    lost = replace(DOUBT, since=None, settles=60.0)
    noticed = ((lost.event, at(0)),)
    assert go(Record(), 20, lost, noticed=noticed).state is H
    assert go(Record(), 61, lost, noticed=noticed).state is S
    looked = Seen(signs=(lost,), noticed=noticed)
    assert look_again(Record(), looked, at(20)) == pytest.approx(40.1)


def test_a_doubt_has_to_be_over_for_a_while() -> None:
    record = go(go(Record(), 0, DOUBT), 10)
    assert record.state is S
    again = go(record, 60, DOUBT)
    assert (again.state, again.since, again.quiet_since) == (S, at(0), None)
    record = go(again, 100)
    assert go(record, 99 + CLEAR_SECONDS).state is S
    assert go(record, 101 + CLEAR_SECONDS).state is H


def test_a_flickering_fault_quarantines_once() -> None:
    record = go(Record(), 0, FAULT)
    for second in range(10, 200, 20):
        record = go(record, second)
        record = go(record, second + 10, sign(f"fault@{second}"))
        assert (record.state, record.since) == (Q, at(0))
    assert record.event == "fault@190"


def test_without_leave_a_node_is_not_drained() -> None:
    record = go(Record(), 0, FAULT)
    assert go(record, 1, FAULT).state is Q
    assert go(record, 1, FAULT, approved="another", cordoned=True).state is Q


def test_a_person_or_the_level_lets_it_be_drained_and_an_empty_one_is_validated() -> None:
    record = go(Record(), 0, FAULT)
    by_hand = go(record, 1, FAULT, approved="fault", cordoned=True, occupied=True)
    by_level = go(record, 30, FAULT, act=True, occupied=True)
    assert go(record, 29, FAULT, act=True).state is Q, "others may follow in a moment"
    assert (by_hand.state, by_hand.cordoned, by_level.state, by_level.cordoned) == (D, False, D, True)
    assert go(by_level, 32, FAULT, cordoned=True, occupied=True) is by_level
    assert go(by_level, 33, FAULT, cordoned=True).state is V


def test_a_fault_that_ends_has_to_stay_away_before_the_node_returns() -> None:
    waits = drained()
    assert go(waits, 1e6, FAULT, cordoned=True).state is V, "nobody repaired it"
    quiet = go(waits, 100, cordoned=True)
    assert go(quiet, 99 + VALIDATE_SECONDS, cordoned=True).state is V
    well = go(quiet, 100 + VALIDATE_SECONDS, cordoned=True)
    assert (well.state, well.cordoned, well.repaired) == (H, False, at(100 + VALIDATE_SECONDS))


@pytest.mark.fault(50)
def test_a_sign_that_is_stuck_after_a_reboot_does_not_loop() -> None:
    rebooted = go(drained(), 100, FAULT, cordoned=True, boot="two")
    assert rebooted.state is V
    well = go(rebooted, 101 + VALIDATE_SECONDS, FAULT, cordoned=True, boot="two")
    assert well.state is H
    for second in range(2000, 9000, 500):
        well = go(well, second, FAULT, boot="two")
        assert well.state is H
    assert go(well, 9000, FAULT, sign("fault#2"), boot="two").state is Q


def test_the_same_xid_again_after_a_repair_is_quarantined_with_a_stronger_remedy() -> None:
    rebooted = go(drained(), 100, FAULT, cordoned=True, boot="two")
    again = go(rebooted, 200, FAULT, sign("fault#2"), cordoned=True, boot="two")
    assert (again.state, again.remedy, again.event) == (Q, Remedy.REBOOT, "fault#2")


@pytest.mark.fault(54)
def test_a_persons_uncordon_wins_and_the_same_event_does_not_cordon_again() -> None:
    draining = go(go(Record(), 0, FAULT), 30, FAULT, act=True, occupied=True)
    for record in (draining, drained()):
        won = go(record, 50, FAULT, act=True, cordoned=False, occupied=True)
        assert (won.state, won.words) == (H, "uncordoned by a person")
        assert go(won, 60, FAULT, act=True).state is H
        assert go(won, 60, sign("another"), act=True).state is Q


def test_an_uncordon_after_an_approval_is_a_refusal() -> None:
    draining = go(go(Record(), 0, FAULT), 1, FAULT, approved="fault", cordoned=True, occupied=True)
    assert go(draining, 2, FAULT, approved="fault").state is H
    assert go(Record(), 3, FAULT, approved="fault").state is H, "also for an operator that has just started"


def test_a_refusal_brings_a_node_back_at_once() -> None:
    no = frozenset({"fault"})
    refused = go(go(Record(), 0, FAULT), 1, FAULT, refused=no)
    assert (refused.state, refused.words) == (H, "left in use by a person")
    assert go(refused, 2, FAULT, refused=no, act=True).state is H


@pytest.mark.parametrize("act", [False, True])
def test_a_refusal_also_brings_a_node_back_that_is_drained_or_validated(act: bool) -> None:
    approved = "" if act else "fault"
    draining = go(go(Record(), 0, FAULT), 30, FAULT, act=act, approved=approved, cordoned=not act, occupied=True)
    validating = go(draining, 31, FAULT, act=act, approved=approved, cordoned=True)
    assert (draining.state, validating.state) == (D, V)
    for record in (draining, validating):
        other, this = (
            go(record, 40, FAULT, act=act, cordoned=True, occupied=True, approved=approved, refused=frozenset({event}))
            for event in ("another", "fault")
        )
        assert other.state is record.state
        assert (this.state, this.words, this.cordoned) == (H, "left in use by a person", False)
        assert go(this, 80, FAULT, act=act).state is H


def test_of_several_faults_a_person_may_approve_any_and_refuses_all() -> None:
    both = FAULT, sign("other", remedy=Remedy.REBOOT)
    record = go(Record(), 0, *both)
    approved = go(record, 1, *both, approved="other", cordoned=True, occupied=True)
    assert (approved.state, approved.event, approved.remedy) == (D, "other", Remedy.REBOOT)
    refused = go(record, 1, *both, refused=frozenset({"fault", "other"}))
    assert refused.state is H
    assert go(refused, 2, *both, act=True).state is H
    doubted = go(record, 1, FAULT, DOUBT, approved="doubt", cordoned=True)
    assert doubted.state is Q, "a doubt is no fault"


def test_a_fault_that_says_more_than_is_kept_is_settled_as_a_whole() -> None:
    many = [sign(f"xid74/{gpu}#{count}") for gpu in range(16) for count in range(16)]
    assert len(many) > errors.MOST
    old = Record(settled=tuple(f"old{each}" for each in range(40)))
    rebooted = go(go(go(old, 0, *many), 30, *many, act=True), 31, *many, cordoned=True, act=True)
    for second in (100, 200, 101 + VALIDATE_SECONDS, 5000):
        rebooted = go(rebooted, second, *many, cordoned=second < 300, boot="two", act=True)
    assert rebooted.state is H
    assert set(rebooted.settled) == {each.event for each in many}


def test_what_is_no_longer_told_is_forgotten_the_oldest_first() -> None:
    settled = Record(settled=tuple(f"old{each}" for each in range(MOST_SETTLED)))
    after = go(settled, 0, FAULT, refused=frozenset({"fault"}))
    assert (after.settled[0], after.settled[-1], len(after.settled)) == ("old1", "fault", MOST_SETTLED)


def test_what_speaks_against_a_node_leaves_out_what_is_settled() -> None:
    record = Record(settled=("fault",))
    assert counting_signs(record, Seen(signs=(FAULT, DOUBT)), NOW) == (DOUBT,)


@given(
    st.lists(
        st.tuples(
            st.sets(st.sampled_from(["a", "b", "c"])), st.booleans(), st.booleans(), st.booleans(), st.integers(1, 2000)
        ),
        max_size=30,
    )
)
@settings(max_examples=60)
def test_whatever_happens_a_record_survives_its_annotation_and_people_are_not_overruled(
    looks: list[tuple[set[str], bool, bool, bool, int]],
) -> None:
    record, time, spared = Record(), 0, set[str]()
    for names, lifts, occupied, reboots, seconds in looks:
        time += seconds
        cordoned = record.state in (D, V) and not lifts
        told = tuple(sign(name) for name in sorted(names))
        if record.state in (D, V) and lifts:
            spared |= names | {record.event}
        boot = "two" if reboots else "one"
        record = go(record, time, *told, act=True, cordoned=cordoned, occupied=occupied, boot=boot)
        text = records.write(record)
        assert records.read(text or "") == (record if text else replace(record, since=None, words=""))
        assert not (record.state in (Q, D) and record.event in spared)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state":"odd"}', '{"settled":5}', "null"])
def test_a_record_that_cannot_be_understood_counts_as_none(text: str) -> None:
    assert records.read(text) == Record()


@pytest.mark.parametrize(("out", "nodes", "opens"), [(2, 4, False), (3, 15, False), (4, 15, True), (20, 100, False)])
def test_the_breaker_opens_over_a_fifth_of_the_nodes(out: int, nodes: int, opens: bool) -> None:
    assert is_open(out, nodes) is opens
    assert not is_open(LEAST - 1, 1)


@pytest.mark.fault(46)
def test_the_breaker_forgets_what_was_long_ago_or_is_over() -> None:
    recent, old = Standing(state=Q, since=at(0)), Standing(state=D, since=at(-3600))
    assert lately([recent, old, Standing(state=S, since=at(0)), Standing()], at(60)) == 1


@pytest.mark.parametrize(
    ("allocatable", "labels", "has"),
    [({"cpu": 8}, {}, False), ({GPU: 8}, {}, True), ({GPU: 0}, {}, True), ({}, {"nvidia.com/gpu.count": "8"}, True)],
)
def test_a_node_has_gpus_also_while_it_offers_none(
    allocatable: dict[str, int], labels: dict[str, str], has: bool
) -> None:
    assert has_gpus(NodeView("n", labels, allocatable)) is has
