"""What control groups of either version tell of processes that the kernel killed."""

from pathlib import Path

import pytest
from trainer.memory import killed, words


@pytest.mark.parametrize(
    ("file", "text", "count"),
    [
        ("memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n", 2),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1),
        ("memory.events", "low 0\n", 0),
    ],
)
def test_kills_are_counted(tmp_path: Path, file: str, text: str, count: int) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert killed(tmp_path) == count


def test_where_the_kernel_does_not_tell_nothing_was_killed(tmp_path: Path) -> None:
    assert killed(tmp_path) == 0


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("memory.max", "536870912\n", "limit of 512 MiB was"),
        ("memory/memory.limit_in_bytes", "536870912\n", "limit of 512 MiB was"),
        ("memory.max", "max\n", "limit was"),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", "limit was"),
    ],
)
def test_the_limit_is_named_where_there_is_one(tmp_path: Path, file: str, text: str, said: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert said in words(tmp_path)
    assert words(tmp_path).startswith("out of memory")
