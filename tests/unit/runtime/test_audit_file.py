"""The audit trail's file: a restart goes on where the last one ended, and a volume that fails or hangs holds nobody up."""

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from trainyard.api.audit import Action
from trainyard.runtime import audit_writer
from trainyard.runtime.audit_chain import Entry, Link, verify
from trainyard.runtime.audit_file import AuditFile
from trainyard.runtime.audit_log import AuditLog
from trainyard.runtime.clock import SystemClock

LONG = 60.0
"""Seconds that nothing here takes."""


def an_audit(
    file: AuditFile | Path, limit: int = 1 << 20, keep: int = 2, waiting: int = 100, lost: list[int] | None = None
) -> AuditLog:
    made = AuditFile(file, limit, keep) if isinstance(file, Path) else file
    return AuditLog("operator-1", SystemClock(), made, lambda: lost.append(1) if lost is not None else None, waiting)


def admit(audit: AuditLog, *names: str) -> None:
    for name in names:
        audit.write(Entry(Action.ADMITTED, name))


def read(*paths: Path) -> list[bytes]:
    return [line for path in paths for line in path.read_bytes().splitlines()]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():  # noqa: ASYNC110  it is about a thread, or what that has written
            await asyncio.sleep(0.01)


async def test_an_orderly_restart_goes_on_without_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for epoch in (1, 2):
        audit = an_audit(path)
        await audit.begin(epoch, LONG)
        admit(audit, "a", "b")
        await audit.end(LONG)
    verdict = verify(read(path))
    assert (verdict.records, verdict.broken) == (8, None)
    assert verdict.gaps == ((1, "there is no earlier record"),)


async def crashed(path: Path, *names: str) -> None:
    """A process that wrote these, and ended without a word."""
    audit = an_audit(path)
    await audit.begin(1, LONG)
    admit(audit, *names)
    await audit.end(LONG)
    cut(path, lines=1)


def cut(path: Path, *, lines: int = 0, to: int | None = None) -> None:
    """Take that many lines off the end, and leave so many bytes of the last of those that stay."""
    kept = path.read_bytes().splitlines(keepends=True)
    kept = kept[: len(kept) - lines]
    path.write_bytes(b"".join(kept) if to is None else b"".join(kept[:-1]) + kept[-1][:to])


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


async def test_a_crash_leaves_a_gap_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await crashed(path, "a")
    after = an_audit(path)
    await after.begin(2, LONG)
    await after.end(LONG)
    verdict = verify(read(path))
    assert verdict.broken is None
    assert verdict.gaps[1] == (3, "who wrote before ended without a word: its last records may lack")


@pytest.mark.parametrize("left", [1, 40, 150])
async def test_a_record_that_a_crash_cut_off_is_told_and_the_chain_goes_on_after_it(tmp_path: Path, left: int) -> None:
    path = tmp_path / "audit.log"
    await crashed(path, "a", "b")
    cut(path, to=left)
    after = an_audit(path)
    await after.begin(2, LONG)
    admit(after, "c")
    await after.end(LONG)
    verdict = verify(read(path))
    assert (verdict.broken, verdict.records) == (None, 5)
    assert verdict.gaps[1] == (4, "the record before was not written to its end")


async def test_a_record_that_was_cut_off_after_an_orderly_end_is_told_also_when_its_line_was_ended_since(
    tmp_path: Path,
) -> None:
    path = tmp_path / "audit.log"
    for epoch in (1, 2):
        audit = an_audit(path)
        await audit.begin(epoch, LONG)
        await audit.end(LONG)
    cut(path, lines=1, to=150)
    AuditFile(path, 1 << 20, 2).last()  # the process tried once more, and was killed
    after = an_audit(path)
    await after.begin(3, LONG)
    await after.end(LONG)
    verdict = verify(read(path))
    assert verdict.broken is None
    assert verdict.gaps[1] == (4, "the record before was not written to its end")


async def test_a_record_that_lacks_only_its_end_of_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await crashed(path, "a")
    cut(path, to=-1)
    after = an_audit(path)
    await after.begin(2, LONG)
    await after.end(LONG)
    assert (verify(read(path)).broken, verify(read(path)).records) == (None, 4)


async def test_a_full_file_is_renamed_and_the_chain_goes_through_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    audit = an_audit(path, limit=1000)
    await audit.begin(1, LONG)
    admit(audit, *(str(number) for number in range(20)))
    await audit.end(LONG)
    assert names(tmp_path) == ["audit.log", "audit.log.1", "audit.log.2"]
    verdict = verify(read(tmp_path / "audit.log.2", tmp_path / "audit.log.1", path))
    assert (verdict.broken, verdict.gaps, verdict.head.serial) == (None, (), 22)


# A file that fails.


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_writer, "_AGAIN_SECONDS", 0.01)


@pytest.mark.usefixtures("at_once")
async def test_what_waits_for_a_file_that_fails_is_written_when_it_can_be(tmp_path: Path) -> None:
    folder, lost = tmp_path / "volume", list[int]()
    audit = an_audit(folder / "audit.log", lost=lost)
    await audit.begin(1, LONG)
    admit(audit, "a", "b")
    await until(lambda: audit.stalled)
    folder.mkdir()
    await until(lambda: not audit.stalled)
    await audit.end(LONG)
    verdict = verify(read(folder / "audit.log"))
    assert (verdict.records, verdict.broken, verdict.gaps, lost) == (4, None, ((1, "there is no earlier record"),), [])


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("through", [0, 1, 100, 330, 100_000])
async def test_nothing_is_lost_or_written_twice_when_a_write_fails_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, through: int
) -> None:
    path, write, failed = tmp_path / "audit.log", os.write, list[int]()

    def fails_once(file: int, text: bytes) -> int:
        if not failed:
            failed.append(write(file, text[:through]))
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, text)

    audit = an_audit(path)
    await audit.begin(1, LONG)
    await until(path.exists)
    await until(lambda: not audit.stalled)
    monkeypatch.setattr(os, "write", fails_once)
    admit(audit, "a", "b")
    await audit.end(LONG)
    verdict = verify(read(path))
    assert failed
    assert (verdict.records, verdict.broken, len(verdict.gaps)) == (4, None, 1)


# A file that hangs.


class Pipe:
    """A file whose writes block, in the kernel, until somebody reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = b""
        os.mkfifo(path)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def answer(self) -> None:
        self._thread.start()

    def lines(self) -> list[bytes]:
        return self.text.splitlines()

    def _read(self) -> None:
        # Open for writing, too: it does not end when a writer closes it.
        file = os.open(self.path, os.O_RDWR)
        while True:
            self.text += os.read(file, 65536)


async def test_decisions_go_on_while_the_file_hangs_and_what_it_missed_is_declared_in_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipe, lost = Pipe(tmp_path / "audit.log"), list[int]()
    audit = an_audit(pipe.path, waiting=5, lost=lost)
    with caplog.at_level("INFO", "trainyard.audit"):
        await audit.begin(1, LONG)
        await until(lambda: audit.stalled)
        began = time.monotonic()
        admit(audit, *(str(number) for number in range(20)))
        assert time.monotonic() - began < LONG / 2
        hung = audit.stalled
        await asyncio.sleep(0.05)
        assert audit.stalled > hung
        pipe.answer()
        await until(lambda: not audit.stalled)
        await until(lambda: b"Missed" in pipe.text)
        admit(audit, "after")
        await audit.end(LONG)
    await until(lambda: b"Ended" in pipe.text)
    records = [record.__dict__["audit"] for record in caplog.records if "audit" in record.__dict__]
    verdict = verify(pipe.lines())
    assert (verdict.broken, verdict.records, len(lost)) == (None, 5 + 3, 16)
    assert verdict.gaps[1] == (6, f"16 records are in the log only, from {records[5]['hash']} to {records[20]['hash']}")
    assert len(records) == 24


async def test_a_line_that_is_taken_out_beside_a_declared_gap_is_named(tmp_path: Path) -> None:
    pipe = Pipe(tmp_path / "audit.log")
    audit = an_audit(pipe.path, waiting=5)
    await audit.begin(1, LONG)
    admit(audit, *(str(number) for number in range(20)))
    pipe.answer()
    await until(lambda: b"Missed" in pipe.text)
    await audit.end(LONG)
    await until(lambda: b"Ended" in pipe.text)
    lines = pipe.lines()
    assert verify(lines).broken is None
    for gone in range(1, len(lines) - 1):
        broken = verify(lines[:gone] + lines[gone + 1 :]).broken
        assert broken is not None
        assert broken[0] == gone + 1


async def test_an_orderly_end_does_not_wait_for_a_file_that_hangs(tmp_path: Path) -> None:
    pipe = Pipe(tmp_path / "audit.log")
    audit = an_audit(pipe.path)
    await audit.begin(1, LONG)
    async with asyncio.timeout(LONG):
        await audit.end(0.1)
    assert audit.stalled
    pipe.answer()


class Gate(AuditFile):
    """Writes when it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, 1 << 20, 2)
        self.opened = threading.Event()

    def append(self, lines: Sequence[bytes]) -> None:
        self.opened.wait()
        super().append(lines)


async def test_after_it_was_given_up_nothing_more_is_written_between_the_lines_of_a_successor(tmp_path: Path) -> None:
    file = Gate(tmp_path / "audit.log")
    audit = an_audit(file)
    await audit.begin(1, LONG)
    await until(lambda: audit.stalled)
    admit(audit, "a")
    await audit.end(0.1)
    file.opened.set()
    await until(lambda: not any(each.name == "audit-file" for each in threading.enumerate()))
    assert [b'"Began"' in line for line in read(tmp_path / "audit.log")] == [True], "what was under way, and no more"


class Hangs(AuditFile):
    """Does not say where it ends until it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, 1 << 20, 2)
        self.answers = threading.Event()

    def last(self) -> tuple[Link, str]:
        self.answers.wait()
        return super().last()


async def test_a_leader_begins_while_the_file_hangs_and_joins_it_later(tmp_path: Path) -> None:
    path, lost = tmp_path / "audit.log", list[int]()
    await crashed(path, "a", "b")
    file = Hangs(path)
    audit = an_audit(file, lost=lost)
    await audit.begin(2, 0.1)
    admit(audit, "c", "d")
    assert (len(lost), len(read(path))) == (3, 3)
    file.answers.set()
    await until(lambda: b"Missed" in path.read_bytes())
    await audit.end(LONG)
    lines = read(path)
    verdict = verify(lines)
    assert (verdict.broken, verdict.records) == (None, 5)
    assert verdict.gaps[1][1].startswith("3 records are in the log only")
    assert verify(lines[:2] + lines[3:]).broken is not None


async def test_that_the_file_hangs_and_answers_again_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainyard.runtime.audit_log.STALLED_SECONDS", 0.1)
    pipe = Pipe(tmp_path / "audit.log")
    audit = an_audit(pipe.path)
    await audit.begin(1, LONG)
    watch = asyncio.create_task(audit.watch())
    await until(lambda: "has not answered" in caplog.text)
    pipe.answer()
    await until(lambda: "takes records again" in caplog.text)
    watch.cancel()
    await audit.end(LONG)
