"""Notices, in every Python process of a job, when a file of another job is opened, listed or changed.

The agent puts this folder on PYTHONPATH, so that Python itself runs this before the program. It imports nothing that is not loaded
anyway, gets out of the way of a program's own sitecustomize, and whatever fails in it fails silently: training goes on. What is
opened without Python's doing (by a library in C, C++ or Rust, by another program) is not noticed, nor what a file descriptor leads to.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from os.path import islink, realpath

TYPE_CHECKING = False  # as in typing, which is not loaded otherwise
if TYPE_CHECKING:
    from collections.abc import Callable

GROUNDS = "TRAINYARD_GROUNDS"
EVENTS = frozenset(
    {"open", "os.listdir", "os.scandir", "os.remove", "os.rmdir", "os.truncate", "os.mkdir", "os.rename", "os.link"}
)
TWO_PATHS = frozenset({"os.rename", "os.link"})
OWNER_FILE = "ATTEMPT"
"""What the folder of a job has, and others have not."""
MOST_PATHS = 8
"""Of a process, so many are told by name; the others are counted."""
LONGEST_PATH = 256
MOST_BYTES = 1 << 20
"""Of the notes of all processes."""
MOST_FOLDERS = 4096
"""Folders of which it is remembered where they lead."""
LOOK_AGAIN_SECONDS = 30.0
"""So long after it was looked at a folder may have become one of a job."""
_DOTS = frozenset({"", ".", ".."})


class Grounds:
    """What the agent says of the job's files. roots: where claims are mounted. own: name of the job's folder there.

    named: files and folders elsewhere on them that the job's manifest names.
    """

    def __init__(self, text: str) -> None:
        head, _, named = text.partition("\n\n")
        self.notes, self.own, *self.roots = head.split("\n")
        self.named = named.split("\n") if named else []


class Notes:
    """What this process leaves for the agent: a line for each new path, and for each doubling of the count."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """A process that was forked counts from 0."""
        self._count = 0
        self._paths: set[str] = set()

    def add(self, path: str) -> None:
        self._count += 1
        new = path not in self._paths and len(self._paths) < MOST_PATHS
        if new:
            self._paths.add(path)
        if new or self._count & (self._count - 1) == 0:
            # ascii() makes one line of any path. O_NOFOLLOW, and no O_CREAT: nothing is written but what the agent made.
            line = f"{os.getpid()} {self._count} {ascii(path)[1:-1][:LONGEST_PATH]}\n".encode()
            file = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(file).st_size < MOST_BYTES:
                    os.write(file, line)
            finally:
                os.close(file)


def judge(grounds: Grounds) -> Callable[[str], str | None]:
    """A function that says of a path, absolute or not, where it lies if that is in the folder of another job."""
    roots = tuple(f"{realpath(root)}/" for root in grounds.roots)
    named = tuple(realpath(each) for each in grounds.named)
    within = tuple(f"{each}/" for each in named)
    places: dict[str, str] = {}
    jobs: set[str] = set()
    none_at: dict[str, float] = {}

    def where(path: str) -> str:
        """Links are followed: of folders once, of files each time."""
        directory, _, name = path.rpartition("/")
        if name in _DOTS:
            return realpath(path)
        place = places.get(directory)
        if place is None:
            if len(places) >= MOST_FOLDERS:
                places.clear()
            place = places[directory] = realpath(directory or "/").rstrip("/")
        found = f"{place}/{name}"
        return realpath(found) if islink(found) else found

    def of_a_job(folder: str) -> bool:
        if folder in jobs:
            return True
        now = time.monotonic()
        if now - none_at.get(folder, -LOOK_AGAIN_SECONDS) < LOOK_AGAIN_SECONDS:
            return False
        try:
            found = stat.S_ISREG(os.stat(f"{folder}/{OWNER_FILE}").st_mode)
        except OSError:
            found = False
        if found:
            jobs.add(folder)
        elif len(none_at) < MOST_FOLDERS:
            none_at[folder] = now
        return found

    def stray(path: str) -> str | None:
        found = where(path if path[:1] == "/" else f"{os.getcwd()}/{path}")
        for root in roots:
            if found.startswith(root):
                first = found[len(root) :].partition("/")[0]
                if first == grounds.own or found in named or found.startswith(within):
                    return None
                return found if of_a_job(root + first) else None
        return None

    return stray


def install(grounds: Grounds) -> None:
    """For the rest of this process: Python has no way back."""
    stray, notes = judge(grounds), Notes(grounds.notes)
    # All names are local: when the interpreter ends, files are still closed and removed, and globals are gone.
    events, two, own_file, fsdecode, note = EVENTS, TWO_PATHS, notes.file, os.fsdecode, notes.add
    failures = (OSError, ValueError, TypeError)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in events:
            return
        for path in arguments[: 2 if event in two else 1]:
            try:
                if type(path) is not str:
                    if type(path) is int:  # a file that is open already
                        continue
                    path = "." if path is None else fsdecode(path)  # type: ignore[arg-type]  # noqa: PLW2901
                if path != own_file and (found := stray(path)) is not None:
                    note(found)
            except failures:  # a signal's own exception passes
                continue

    sys.addaudithook(hook)


def _give_way() -> None:
    """Run the sitecustomize that Python would have run without this one."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [each for each in sys.path if os.path.abspath(each) != here]
    from importlib.machinery import PathFinder

    found = PathFinder.find_spec("sitecustomize", sys.path)
    if found is not None and found.loader is not None:
        from importlib.util import module_from_spec

        sys.modules["sitecustomize"] = module = module_from_spec(found)
        found.loader.exec_module(module)


if GROUNDS in os.environ:
    try:
        install(Grounds(os.environ[GROUNDS]))
    except (OSError, ValueError):
        pass
    _give_way()
