"""Whether the kernel killed a process of this pod since its memory limit was reached: that is all a SIGKILL leaves to see."""

from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
_COUNTS: Final = ("memory.events", "memory/memory.oom_control")
_LIMITS: Final = ("memory.max", "memory/memory.limit_in_bytes")
_MEBIBYTE: Final = 2**20
_NO_LIMIT: Final = 2**60
"""The first version of control groups says no limit as a very large one."""


def killed(groups: Path = _GROUPS) -> int:
    """Processes of this container that were killed so, in all; 0 where the kernel does not tell."""
    for file in _COUNTS:
        for name, *values in map(str.split, _lines(groups / file)):
            if name == "oom_kill" and values:
                return int(values[0])
    return 0


def words(groups: Path = _GROUPS) -> str:
    """What is said of it."""
    limits = [int(line) for file in _LIMITS for line in _lines(groups / file) if line.isdecimal()]
    known = min((limit for limit in limits if limit < _NO_LIMIT), default=None)
    of = f" of {known // _MEBIBYTE} MiB" if known else ""
    return f"out of memory: the kernel killed a process of this pod since the container's memory limit{of} was reached"


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
