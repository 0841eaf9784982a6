"""Starting servers that outlive this Python, and ending exactly those.

A process is known by its id *and* its start time, so a reused id is never killed. Every one also carries the
cluster's folder in its environment, so that `down` finds it even when the start was not recorded in time.
Neighbours: `state` keeps the records in a file, `residue` looks for what is left.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.errors import CommandError, MissingTool

MARKER = "TRAINYARD_CLUSTER_FOLDER"
_STATE_FIELD, _START_FIELD = 0, 19  # of /proc/PID/stat, counted from after the name in parentheses


@dataclass(frozen=True)
class ProcessRecord:
    """One started process: what it is for, its id and its start in clock ticks since boot."""

    role: str
    pid: int
    started: int


def stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the program's name, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def alive(record: ProcessRecord) -> bool:
    """Whether that very process still runs; a zombie or a reused id does not count."""
    _reap(record.pid)
    fields = stat_fields(record.pid)
    return fields is not None and fields[_STATE_FIELD] != "Z" and int(fields[_START_FIELD]) == record.started


def spawn(
    role: str, argv: Sequence[str], *, folder: Path, log: Path, env: Mapping[str, str] | None = None
) -> ProcessRecord:
    """Start a server in a session of its own, its output appended to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **(env or {}), MARKER: str(folder)}
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        pid = os.posix_spawnp(argv[0], list(argv), environment, file_actions=actions, setsid=True)
    except FileNotFoundError:
        raise MissingTool(f"{argv[0]} is not there; run `python -m dev.cluster prepare` first") from None
    fields = stat_fields(pid)
    return ProcessRecord(role, pid, int(fields[_START_FIELD]) if fields else 0)


def kill(records: Iterable[ProcessRecord], sig: int = signal.SIGKILL, *, wait: float = 10.0) -> list[ProcessRecord]:
    """Send `sig` to each that still runs, wait for them to be gone, return those that are not."""
    pending = [record for record in records if alive(record)]
    for record in pending:
        try:
            os.kill(record.pid, sig)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + wait
    while pending and time.monotonic() < deadline:
        pending = [record for record in pending if alive(record)]
        if pending:
            time.sleep(0.02)
    return pending


def marked(folder: Path) -> list[ProcessRecord]:
    """Every running process that was started for the cluster in `folder`, its own children included, but never us."""
    needle = f"{MARKER}={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if needle in environment.split(b"\0"):
            fields = stat_fields(int(entry.name))
            if fields and fields[_STATE_FIELD] != "Z":
                found.append(ProcessRecord("marked", int(entry.name), int(fields[_START_FIELD])))
    return found


def run(
    argv: Sequence[str], *, stdin: str | None = None, env: Mapping[str, str] | None = None, timeout: float = 120
) -> str:
    """Run a command to its end and return what it printed; CommandError when it fails."""
    try:
        done = subprocess.run(  # noqa: PLW1510 - the code is checked below, with the output in the message
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **env} if env else None,
        )
    except FileNotFoundError:
        raise MissingTool(f"{argv[0]} is not there; run `python -m dev.cluster prepare` first") from None
    except subprocess.TimeoutExpired:
        raise CommandError(list(argv), 124, f"no end within {timeout:.0f} s") from None
    if done.returncode:
        raise CommandError(list(argv), done.returncode, done.stderr or done.stdout)
    return done.stdout


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log, for an error message."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _reap(pid: int) -> None:
    """Collect a child of ours that has ended, so that it does not stay as a zombie."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
