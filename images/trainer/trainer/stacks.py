"""Where the workers of a pod are, when nothing moves: their states and the stacks of their threads.

A worker leaves its process id and lets a signal write its stacks, which works while its interpreter is stuck in a call into
torch. Of a process that is stopped there is no stack, and that is the answer.
"""

import contextlib
import faulthandler
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from trainer.environment import Environment

_SIGNAL: Final = signal.SIGUSR2
_WAIT_SECONDS: Final = 1.5
_LOOK_SECONDS: Final = 0.1
_MOST_BYTES: Final = 65_536
STOPPED: Final = "T"
_STATES: Final = {
    STOPPED: "is stopped by a signal",
    "t": "is held by a debugger",
    "Z": "has died",
    "D": "waits for a disk",
}
_SILENT: Final = frozenset({STOPPED, "t", "Z"})
"""States in which a process does not even handle a signal."""
_open: list[TextIO] = []
"""Kept, since the handler writes into them whenever the signal comes."""


@dataclass(frozen=True)
class Stack:
    """A worker: its process's state as the kernel names it, and the stacks of its threads, empty if it gave none."""

    rank: int
    pod: int
    state: str
    text: str

    @property
    def top(self) -> str:
        """File and function in which its main thread is."""
        _, _, own = self.text.rpartition("Current thread")
        return next((line.strip() for line in own.splitlines() if line.lstrip().startswith("File ")), "")

    def as_json(self) -> dict[str, Any]:
        return {"rank": self.rank, "pod": self.pod, "state": self.state, "text": self.text[:4000]}


def register(environment: Environment) -> None:
    """Let the agent find this worker and ask where it is; without an agent there is no folder, and nothing to do."""
    folder = environment.run_directory
    if _open or not folder.is_dir():
        return
    with contextlib.suppress(OSError):
        file = (folder / f"stacks-{environment.rank}.txt").open("w")
        _open.append(file)
        faulthandler.register(_SIGNAL, file=file, all_threads=True, chain=False)
        (folder / f"worker-{environment.rank}.pid").write_text(str(os.getpid()))


def collect(folder: Path, pod: int) -> list[Stack]:
    """Ask each worker of this pod and wait for its answer, for a second and a half at most: one that is stopped gives none."""
    asked = []
    for rank, pid in _workers(folder):
        file = folder / f"stacks-{rank}.txt"
        with contextlib.suppress(OSError):
            asked.append((rank, _state(pid), file, file.stat().st_size))
            os.kill(pid, _SIGNAL)
    awaited = [(file, size) for _, state, file, size in asked if state not in _SILENT]
    limit = time.monotonic() + _WAIT_SECONDS
    while awaited and time.monotonic() < limit:
        before = [_since(file, size) for file, size in awaited]
        time.sleep(_LOOK_SECONDS)
        if all(text and text == _since(file, size) for text, (file, size) in zip(before, awaited, strict=True)):
            break
    return [Stack(rank, pod, state, _since(file, size)) for rank, state, file, size in asked]


def stopped(folder: Path) -> list[int]:
    """Ranks of this pod's workers whose process a signal has stopped; one that a debugger holds is not."""
    found = []
    for rank, pid in _workers(folder):
        with contextlib.suppress(OSError, IndexError):
            if _state(pid) == STOPPED:
                found.append(rank)
    return found


def forget(folder: Path) -> None:
    """Remove what workers of an earlier start left."""
    for file in [*folder.glob("worker-*.pid"), *folder.glob("stacks-*.txt")]:
        file.unlink(missing_ok=True)


def culprit(stacks: Sequence[Stack]) -> tuple[Stack, str] | None:
    """The worker that the others wait for, with words for it: one that cannot run, else one that is elsewhere than most."""
    for each in stacks:
        if each.state in _STATES:
            return each, f"the process of rank {each.rank} {_STATES[each.state]}"
    tops = Counter(each.top for each in stacks if each.top)
    if len(tops) > 1:
        rare = min(stacks, key=lambda each: (tops[each.top] if each.top else 0, each.rank))
        return rare, f"rank {rare.rank} is in {rare.top or 'no Python code'}, most are elsewhere"
    return None


def keep(stacks: Sequence[Stack], folder: Path) -> None:
    """Write the stacks where people find them; a volume that fails must not stop a restart."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for each in stacks:
            (folder / f"rank-{each.rank}.txt").write_text(f"state {each.state}\n{each.text}")


def _workers(folder: Path) -> list[tuple[int, int]]:
    """Rank and process id of each worker that has said so."""
    found = []
    for file in folder.glob("worker-*.pid"):
        with contextlib.suppress(OSError, ValueError):
            found.append((int(file.stem.partition("-")[2]), int(file.read_text())))
    return sorted(found)


def _state(pid: int) -> str:
    # The name in parentheses may hold blanks and parentheses of its own.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _since(file: Path, size: int) -> str:
    with contextlib.suppress(OSError), file.open("rb") as stream:
        stream.seek(size)
        return stream.read(_MOST_BYTES).decode(errors="replace")
    return ""
