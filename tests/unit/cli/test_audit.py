"""`trainyard audit verify` names the first line that is not as it was written."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trainyard.cli.__main__ import main
from trainyard.runtime.audit_chain import Entry, Link, encoded, linked


def write(path: Path, head: Link, count: int, gap: str = "") -> Link:
    with path.open("wb") as file:
        for number in range(count):
            made = linked(head, Entry("Admitted", f"job {number}"), "me", datetime.now(UTC), "" if number else gap)
            head, record = made
            file.write(encoded(record) + b"\n")
    return head


def test_a_trail_over_several_files_is_checked_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    older, newer = tmp_path / "audit.log.1", tmp_path / "audit.log"
    head = write(newer, write(older, Link(), 3), 2, gap="it crashed")
    assert main(["audit", "verify", str(older), str(newer)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{newer} line 1: records may lack before this one: it crashed"
    assert printed[1] == f"5 records as they were written; the newest is 5, {head.hash}"


def test_a_broken_line_is_named_with_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    older, newer = tmp_path / "audit.log.1", tmp_path / "audit.log"
    write(newer, write(older, Link(), 3), 3)
    lines = newer.read_bytes().splitlines(keepends=True)
    newer.write_bytes(lines[0] + lines[2])
    assert main(["audit", "verify", str(older), str(newer)]) == 1
    assert f"{newer} line 2: it does not follow record 4" in capsys.readouterr().err


def test_standard_input_is_read_and_what_holds_no_record_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "audit.log", Link(), 1)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "audit.log").read_bytes())))
    assert main(["audit", "verify", "-"]) == 0
    assert "1 record as they were written" in capsys.readouterr().out
    (tmp_path / "empty").touch()
    assert main(["audit", "verify", str(tmp_path / "empty")]) == 1
    assert main(["audit", "verify", str(tmp_path / "none")]) == 1
    assert "none: No such file" in capsys.readouterr().err
