"""A hang is told from a long step, and the worker that the others wait for is named."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from trainer.stacks import Stack, collect, culprit, stopped
from trainer.watch import STOPPED_SECONDS, Pace, Stops, Watch


def learned(seconds: float, least: float = 10) -> tuple[Pace, float]:
    """A pace that has seen steps of so many seconds."""
    pace, now = Pace(least), 0.0
    for step in range(8):
        now += seconds
        assert pace.saw(step, training=True, now=now) is None
    return pace, now


@pytest.mark.parametrize(
    ("step", "silent", "hangs"), [(0.1, 9, False), (0.1, 11, True), (5, 49, False), (5, 51, True), (5, 11, False)]
)
def test_ten_steps_of_silence_are_a_hang_if_they_are_long(step: float, silent: float, hangs: bool) -> None:
    pace, now = learned(step)
    assert (pace.saw(7, training=True, now=now + silent) is not None) is hangs


def test_before_a_step_is_known_nothing_is_judged() -> None:
    pace = Pace(10)
    pace.saw(0, training=True, now=0)
    assert pace.saw(0, training=True, now=10_000) is None


def test_time_of_evaluation_and_saving_does_not_count() -> None:
    pace, now = learned(0.1)
    assert pace.saw(7, training=False, now=now + 100) is None
    assert pace.saw(7, training=True, now=now + 105) is None
    assert pace.saw(7, training=True, now=now + 111) is not None


def test_a_restart_from_a_checkpoint_is_no_step() -> None:
    pace, now = learned(1.0)
    pace.saw(3, training=True, now=now + 60)
    assert pace.typical == 1.0


def stack(rank: int, state: str = "S", where: str = "all_reduce") -> Stack:
    text = f'Thread 0x1 (most recent call first):\n  File "other.py", line 1 in run\n\nCurrent thread 0x2 (most recent call first):\n  File "x.py", line 7 in {where}\n'
    return Stack(rank, rank, state, text if state == "S" else "")


@pytest.mark.parametrize(
    ("stacks", "rank", "word"),
    [
        ([stack(0), stack(1, "T"), stack(2)], 1, "stopped"),
        ([stack(0), stack(1), stack(2, where="sleep")], 2, "sleep"),
        ([stack(0, where="read"), stack(1), stack(2)], 0, "read"),
    ],
)
def test_the_worker_that_the_others_wait_for_is_named(stacks: list[Stack], rank: int, word: str) -> None:
    found = culprit(stacks)
    assert found is not None
    assert found[0].rank == rank
    assert word in found[1]


def test_where_all_are_at_one_place_nobody_is_blamed() -> None:
    assert culprit([stack(0), stack(1)]) is None


def test_a_process_that_was_stopped_for_a_moment_is_let_be() -> None:
    stops = Stops()
    assert not stops.saw([1], now=0)
    assert not stops.saw([1], now=STOPPED_SECONDS / 2)
    assert not stops.saw([], now=STOPPED_SECONDS)
    assert not stops.saw([1], now=2 * STOPPED_SECONDS)
    assert not stops.saw([1, 2], now=2.5 * STOPPED_SECONDS)
    assert stops.saw([1], now=3 * STOPPED_SECONDS)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[int]:
    """A process that has said that it is rank 0."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        (tmp_path / "worker-0.pid").write_text(str(process.pid))
        (tmp_path / "stacks-0.txt").touch()
        yield process.pid
        process.kill()


@pytest.mark.fault(56)
def test_a_stopped_worker_is_a_hang_within_two_seconds_whatever_silence_is_allowed(tmp_path: Path, worker: int) -> None:
    seen: list[str] = []
    watch = Watch(tmp_path, 60, seen.append)
    try:
        os.kill(worker, signal.SIGSTOP)
        limit = time.monotonic() + STOPPED_SECONDS + 1
        while not seen:
            assert time.monotonic() < limit
            time.sleep(0.05)
    finally:
        watch.end()
    assert "stopped" in seen[0]


def test_nobody_waits_for_the_answer_of_a_process_that_is_stopped(tmp_path: Path, worker: int) -> None:
    assert stopped(tmp_path) == []
    os.kill(worker, signal.SIGSTOP)
    while stopped(tmp_path) != [0]:
        time.sleep(0.01)
    began = time.monotonic()
    assert collect(tmp_path, pod=3) == [Stack(0, 3, "T", "")]
    assert time.monotonic() - began < 0.5
