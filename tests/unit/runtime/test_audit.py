"""The audit trail: what is changed, taken out, put in or cut off is found, and a restart goes on where the last one ended."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hand_clock import HandClock
from trainyard.api.audit import MEANING, Action
from trainyard.runtime import audit_log
from trainyard.runtime.audit_chain import Entry, Link, encoded, linked, verify
from trainyard.runtime.audit_log import AuditFile, AuditLog
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


def chain(count: int) -> list[bytes]:
    head, lines = Link(), []
    for number in range(count):
        head, record = linked(head, Entry("Admitted", f"job {number}", {"pods": number}), "operator-1", CLOCK.now())
        lines.append(encoded(record))
    return lines


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


# The file.


def an_audit(path: Path, limit: int = 1 << 20, keep: int = 2, lost: Callable[[], None] = lambda: None) -> AuditLog:
    return AuditLog("operator-1", CLOCK, AuditFile(path, limit, keep), lost)


def admit(audit: AuditLog, *names: str) -> None:
    for name in names:
        audit.write(Entry(Action.ADMITTED, name))


def read(*paths: Path) -> list[bytes]:
    return [line for path in paths for line in path.read_bytes().splitlines()]


def test_an_orderly_restart_goes_on_without_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for epoch in (1, 2):
        audit = an_audit(path)
        audit.begin(epoch)
        admit(audit, "a", "b")
        audit.end()
    verdict = verify(read(path))
    assert (verdict.records, verdict.broken) == (8, None)
    assert verdict.gaps == ((1, "there is no earlier record"),)


def test_a_crash_leaves_a_gap_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    crashed = an_audit(path)
    crashed.begin(1)
    admit(crashed, "a")
    an_audit(path).begin(2)
    verdict = verify(read(path))
    assert verdict.broken is None
    assert verdict.gaps[1] == (3, "who wrote before ended without a word: its last records may lack")


@pytest.mark.parametrize("left", [1, 40, 150])
def test_a_record_that_a_crash_cut_off_is_told_and_the_chain_goes_on_after_it(tmp_path: Path, left: int) -> None:
    path = tmp_path / "audit.log"
    crashed = an_audit(path)
    crashed.begin(1)
    admit(crashed, "a", "b")
    *whole, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole) + last[:left])
    after = an_audit(path)
    after.begin(2)
    admit(after, "c")
    verdict = verify(read(path))
    assert (verdict.broken, verdict.records) == (None, 4)
    assert verdict.gaps[1] == (4, "the record before was not written to its end")


def test_a_full_file_is_renamed_and_the_chain_goes_through_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    audit = an_audit(path, limit=1000, keep=2)
    audit.begin(1)
    admit(audit, *(str(number) for number in range(20)))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["audit.log", "audit.log.1", "audit.log.2"]
    verdict = verify(read(tmp_path / "audit.log.2", tmp_path / "audit.log.1", path))
    assert (verdict.broken, verdict.gaps, verdict.head.serial) == (None, (), 21)
    an_audit(path, limit=1000).begin(2)
    assert verify(read(path)).broken is None


def test_a_file_that_cannot_be_written_stops_nothing_and_is_told_when_it_can_again(tmp_path: Path) -> None:
    folder, lost = tmp_path / "volume", []
    audit = an_audit(folder / "audit.log", lost=lambda: lost.append(1))
    audit.begin(1)
    admit(audit, "a", "b")
    folder.mkdir()
    admit(audit, "c", "d")
    verdict = verify(read(folder / "audit.log"))
    assert (verdict.records, verdict.broken, len(lost)) == (2, None, 3)
    assert verdict.gaps == ((1, "3 records could not be written into the file"),)


# The log stream.


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    configure("ERROR", written)
    yield written
    root.handlers[:], root.level = handlers, level


def test_every_record_is_in_the_log_at_every_level_and_can_be_checked_there(stream: io.StringIO) -> None:
    audit = AuditLog("operator-1", CLOCK)
    audit.begin(1)
    logging.getLogger("x").error("another line")
    admit(audit, "Ä", "b")
    lines = stream.getvalue().encode().splitlines()
    verdict = verify(lines)
    assert (len(lines), verdict.records, verdict.broken) == (4, 3, None)
    assert verdict.gaps == ((1, "no file is kept: each process begins a chain"),)
    forged = [*lines[:2], lines[2].replace(b"Admitted", b"Preempted"), lines[3]]
    broken = verify(forged).broken
    assert broken is not None
    assert broken[0] == 3


def test_nothing_secret_is_on_record(stream: io.StringIO, tmp_path: Path) -> None:
    audit = an_audit(tmp_path / "audit.log")
    audit.begin(1)
    audit.write(Entry(Action.TOKEN_REFUSED, "/v1/progress", {"why": "Bearer planted-8f3a", "token": "planted-8f3a"}))
    assert "planted" not in stream.getvalue() + (tmp_path / "audit.log").read_text()
    assert verify(read(tmp_path / "audit.log")).broken is None


def test_each_action_is_explained() -> None:
    assert list(MEANING) == list(Action)
    assert (Action.BEGAN, Action.ENDED) == (audit_log.BEGAN, audit_log.ENDED)
    assert json.loads(chain(1)[0])["action"] == Action.ADMITTED
