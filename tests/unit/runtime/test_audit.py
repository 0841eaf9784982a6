"""The audit trail: what is changed, taken out, put in or cut off is found, and what a file has missed is told apart from that."""

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hand_clock import HandClock
from trainyard.api.audit import MEANING, Action
from trainyard.runtime.audit_chain import (
    BEGAN,
    ENDED,
    MISSED,
    Entry,
    Line,
    Link,
    Missed,
    Verdict,
    encoded,
    linked,
    verify,
)
from trainyard.runtime.audit_log import AuditLog
from trainyard.runtime.logging import configure

CLOCK = HandClock()
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ENTRIES = st.builds(
    Entry, st.text(max_size=9), st.text(max_size=9), st.dictionaries(st.text(max_size=5), _JSON, max_size=3)
)


class Chain:
    """The records of one process."""

    def __init__(self, head: Link = Link()) -> None:  # noqa: B008  it is frozen
        self.head = head
        self.lines: list[Line] = []

    def add(self, entry: Entry, gap: str = "") -> "Chain":
        self.head, record = linked(self.head, entry, "operator-1", CLOCK.now(), gap)
        self.lines.append(Line(self.head, encoded(record)))
        return self

    def admit(self, count: int) -> "Chain":
        for number in range(count):
            self.add(Entry("Admitted", f"job {number}", {"pods": number}))
        return self

    def declare(self, first: int) -> "Chain":
        """What a file says that ends before record `first` and has missed all from there on."""
        missed = Missed(self.lines[first].link, self.lines[-1].link)
        return self.add(*missed.declared(self.lines[first - 1].link))

    @property
    def text(self) -> list[bytes]:
        return [each.text for each in self.lines]


def chain(count: int) -> list[bytes]:
    return Chain().admit(count).text


def logged(lines: list[bytes]) -> list[bytes]:
    """As a log stream has them."""
    return [json.dumps({"logger": "trainyard.audit", "audit": json.loads(each)}).encode() for each in lines]


def broken(verdict: Verdict) -> int | None:
    """The number of the line."""
    return None if verdict.broken is None else verdict.broken[0]


@given(st.lists(ENTRIES, min_size=1, max_size=5))
def test_whatever_is_on_record_is_found_as_it_was_written(entries: list[Entry]) -> None:
    head, lines = Link(), []
    for entry in entries:
        head, record = linked(head, entry, "operator-1", CLOCK.now())
        lines.append(encoded(record))
    verdict = verify(lines)
    assert (verdict.records, verdict.head, verdict.broken, verdict.gaps) == (len(entries), head, None, ())


@given(st.data())
def test_no_byte_of_a_record_can_be_changed_unnoticed(data: st.DataObject) -> None:
    lines = chain(4)
    number = data.draw(st.integers(1, 3))
    at = data.draw(st.integers(0, len(lines[number]) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != lines[number][at] and byte != 10))
    changed = lines[number][:at] + bytes([value]) + lines[number][at + 1 :]
    verdict = verify([*lines[:number], changed, *lines[number + 1 :]])
    assert verdict.broken is not None or verdict.gaps
    if verdict.broken is not None:
        assert verdict.broken[0] == number + 1


TAMPERED: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int]] = {
    "a record taken out": (lambda lines: lines[:2] + lines[3:], 3),
    "two records exchanged": (lambda lines: [*lines[:2], lines[3], lines[2], lines[4]], 3),
    "a record twice": (lambda lines: lines[:3] + lines[2:], 4),
    "a record of another chain": (lambda lines: [*lines[:2], chain(1)[0], *lines[2:]], 3),
    "a record cut off": (lambda lines: [*lines[:4], lines[4][:-20]], 5),
    "a line of something else": (lambda lines: [*lines[:2], b'{"serial": 3}', *lines[2:]], 3),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_the_first_line_that_is_not_as_it_was_is_named(what: str) -> None:
    tamper, line = TAMPERED[what]
    verdict = verify(tamper(chain(5)))
    assert verdict.broken is not None
    assert verdict.broken[0] == line


def test_older_files_may_be_gone() -> None:
    assert verify(chain(5)[2:]).broken is None


# What a file has missed.


def test_what_a_file_has_missed_is_declared_in_it() -> None:
    lines = Chain().admit(6).declare(2).admit(2).text
    verdict = verify(lines[:2] + lines[6:])
    assert (verdict.records, verdict.broken) == (5, None)
    hashes = [json.loads(each)["hash"] for each in lines]
    assert verdict.gaps == ((3, f"4 records are in the log only, from {hashes[2]} to {hashes[5]}"),)


DECLARED: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int]] = {
    "the record before the declaration taken out": (lambda lines: lines[:1] + lines[6:], 2),
    "one after it": (lambda lines: lines[:2] + lines[6:7] + lines[8:], 4),
    "the declaration itself": (lambda lines: lines[:2] + lines[7:], 3),
    "a declaration of less than lacks": (lambda lines: lines[:2] + Chain().admit(6).declare(4).text[6:], 3),
}


@pytest.mark.parametrize("what", DECLARED)
def test_a_declared_gap_hides_no_line_that_was_taken_out(what: str) -> None:
    tamper, line = DECLARED[what]
    assert broken(verify(tamper(Chain().admit(6).declare(2).admit(2).text))) == line


def test_a_log_that_has_what_the_file_has_missed_lacks_nothing() -> None:
    verdict = verify(logged(Chain().admit(6).declare(2).admit(2).text))
    assert (verdict.records, verdict.broken, verdict.gaps) == (9, None, ())


def test_a_chain_that_began_while_the_file_hung_is_joined_to_it() -> None:
    before, now = Chain().admit(3), Chain().add(Entry(BEGAN, "operator"), "the file hangs").admit(2)
    end = before.lines[-1].link
    now.add(*Missed(now.lines[0].link, now.lines[-1].link).declared(end)).admit(1)
    assert verify(before.text + now.text[3:]).broken is None
    assert broken(verify(before.text[:2] + now.text[3:])) == 3


# A process that ended without a word.

CRASHED = Entry(BEGAN, "operator", {"epoch": 2}), "who wrote before ended without a word: its last records may lack"


def test_lines_before_the_first_record_after_a_crash_cannot_be_taken_out() -> None:
    before = Chain().admit(3)
    after = Chain(before.head).add(*CRASHED).admit(1)
    assert verify(before.text + after.text).broken is None
    assert broken(verify(before.text[:2] + after.text)) == 3
    assert broken(verify([*before.text[:1], before.text[1][:-9], *after.text])) == 2


def test_nor_can_any_be_put_in_there() -> None:
    before = Chain().admit(3)
    after = Chain(before.head).add(*CRASHED)
    assert broken(verify(before.admit(1).text + after.text)) == 5


def test_a_crashed_process_may_have_logged_what_the_next_one_did_not_find_in_the_file() -> None:
    before = Chain().admit(3)
    after = Chain(before.lines[1].link).add(*CRASHED)
    assert verify(logged(before.text + after.text)).broken is None
    assert broken(verify(logged(before.text[:1] + before.text[2:] + after.text))) == 2


def test_a_line_that_was_cut_off_and_written_again_lacks_nothing() -> None:
    lines = chain(4)
    assert verify([*lines[:2], lines[2][:30], lines[2][:50], *lines[2:]]) == verify(lines)
    assert broken(verify([*lines[:2], lines[1][:200], *lines[2:]])) == 3


# The log stream.


def admit(audit: AuditLog, *names: str) -> None:
    for name in names:
        audit.write(Entry(Action.ADMITTED, name))


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    configure("ERROR", written)
    yield written
    root.handlers[:], root.level = handlers, level


async def test_every_record_is_in_the_log_at_every_level_and_can_be_checked_there(stream: io.StringIO) -> None:
    audit = AuditLog("operator-1", CLOCK)
    await audit.begin(1)
    logging.getLogger("x").error("another line")
    admit(audit, "Ä", "b")
    lines = stream.getvalue().encode().splitlines()
    verdict = verify(lines)
    assert (len(lines), verdict.records, verdict.broken) == (4, 3, None)
    assert verdict.gaps == ((1, "no file is kept: each process begins a chain"),)
    forged = [*lines[:2], lines[2].replace(b"Admitted", b"Preempted"), lines[3]]
    assert broken(verify(forged)) == 3


async def test_nothing_secret_is_on_record(stream: io.StringIO) -> None:
    audit = AuditLog("operator-1", CLOCK)
    await audit.begin(1)
    audit.write(Entry(Action.TOKEN_REFUSED, "/v1/progress", {"why": "Bearer planted-8f3a", "token": "planted-8f3a"}))
    assert "planted" not in stream.getvalue()
    assert verify(stream.getvalue().encode().splitlines()).broken is None


def test_each_action_is_explained() -> None:
    assert list(MEANING) == list(Action)
    assert (BEGAN, ENDED, MISSED) == (Action.BEGAN, Action.ENDED, Action.MISSED)
    assert json.loads(chain(1)[0])["action"] == Action.ADMITTED
