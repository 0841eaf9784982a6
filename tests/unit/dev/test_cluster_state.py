"""The state file: what a second process reads is what the first one wrote, and processes are known for certain."""

import os
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dev.cluster import processes
from dev.cluster.errors import CommandError, MissingTool
from dev.cluster.processes import ProcessRecord, alive, kill, marked, run, spawn
from dev.cluster.state import FILE, NodeRecord, State, StateFile, decode, encode

STATE = State(
    name="demo",
    provider="local",
    index=3,
    boot="b",
    server="https://127.77.3.1:6443",
    token="secret",
    processes=(ProcessRecord("etcd", 12, 3456),),
    nodes=(NodeRecord("node-1", 1, 2),),
)


def test_a_state_survives_writing_and_reading() -> None:
    assert decode(encode(STATE)) == STATE


def test_a_folder_without_a_state_is_no_cluster(tmp_path: Path) -> None:
    assert StateFile.read(tmp_path) is None


def test_every_change_is_on_disk_at_once_and_for_its_owner_only(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "demo", STATE)

    file.add_process(ProcessRecord("kwok", 13, 4567))

    assert StateFile.read(tmp_path / "demo") is not None
    assert decode((tmp_path / "demo" / FILE).read_text()).processes == file.state.processes
    assert stat.S_IMODE((tmp_path / "demo" / FILE).stat().st_mode) == 0o600


def test_a_process_started_anew_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    file = StateFile(tmp_path, STATE)

    file.add_process(ProcessRecord("etcd", 99, 1))

    assert file.state.processes == (ProcessRecord("etcd", 99, 1),)


def sleeper(folder: Path) -> ProcessRecord:
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    return spawn("sleeper", argv, folder=folder, log=folder / "log")


def test_a_started_process_is_found_by_its_mark_and_killed(tmp_path: Path) -> None:
    record = sleeper(tmp_path)
    try:
        deadline = time.monotonic() + 5  # the mark is there once the program is
        while record.pid not in {item.pid for item in marked(tmp_path)} and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [item.pid for item in marked(tmp_path)] == [record.pid]
    finally:
        left = kill([record])

    assert left == []
    assert not alive(record)
    assert marked(tmp_path) == []


def test_a_reused_process_id_is_not_killed(tmp_path: Path) -> None:
    record = sleeper(tmp_path)
    try:
        kill([replace(record, started=record.started - 1)])
        assert alive(record)
    finally:
        kill([record])


def test_this_process_is_alive() -> None:
    fields = processes.stat_fields(os.getpid())

    assert fields is not None
    assert alive(ProcessRecord("me", os.getpid(), int(fields[19])))


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingTool, match="no-such-program"):
        spawn("x", ["no-such-program"], folder=tmp_path, log=tmp_path / "log")


def test_a_failing_command_tells_what_it_printed() -> None:
    with pytest.raises(CommandError, match="ended with 3: so bad"):
        run([sys.executable, "-c", "import sys; sys.stderr.write('so bad'); sys.exit(3)"])
