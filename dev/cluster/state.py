"""The record of a cluster on disk, from which any later process can take it down.

Written whole and renamed into place after every step, so a crash of `up` half way loses at most the last step;
what that step started is found by `processes.MARKER`.
"""

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dev.cluster.paths import clusters_folder
from dev.cluster.processes import ProcessRecord

FILE = "state.json"


@dataclass(frozen=True)
class NodeRecord:
    """A real node: its number in the cluster, from which addresses and names follow."""

    name: str
    number: int
    gpus: int


@dataclass(frozen=True)
class State:
    """Everything `down` and a second process need to know."""

    name: str
    provider: str
    index: int
    boot: str
    server: str = ""
    token: str = ""
    audit: bool = False
    gpu_model: str = "H200"
    not_ready_seconds: int = 20
    processes: tuple[ProcessRecord, ...] = ()
    nodes: tuple[NodeRecord, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)


def boot_id() -> str:
    """The id of this boot of the kernel: process ids of an earlier one mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def decode(text: str) -> State:
    """Parse a state file. What a later version of this program says in addition is passed over: clusters of both may stand side by side."""
    known = {each.name for each in fields(State)}
    raw: dict[str, Any] = {name: value for name, value in json.loads(text).items() if name in known}
    processes = tuple(ProcessRecord(**item) for item in raw.pop("processes"))
    nodes = tuple(NodeRecord(**item) for item in raw.pop("nodes"))
    return State(**raw, processes=processes, nodes=nodes)


def encode(state: State) -> str:
    """Render a state file."""
    return json.dumps(asdict(state), indent=1) + "\n"


class StateFile:
    """The state of one cluster, saved at every change."""

    def __init__(self, folder: Path, state: State) -> None:
        self.folder = folder
        self.state = state
        self._lock = threading.RLock()  # nodes start in threads

    @classmethod
    def read(cls, folder: Path) -> "StateFile | None":
        """The recorded state, or None when there is none."""
        try:
            return cls(folder, decode((folder / FILE).read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def update(self, **changes: Any) -> None:
        """Change fields and save."""
        with self._lock:
            self.state = replace(self.state, **changes)
            self.save()

    def add_process(self, record: ProcessRecord) -> ProcessRecord:
        """Record a started process, in place of an earlier one of the same role."""
        with self._lock:
            kept = tuple(item for item in self.state.processes if item.role != record.role)
            self.update(processes=(*kept, record))
        return record

    def process(self, role: str) -> ProcessRecord | None:
        """The recorded process of that role."""
        return next((item for item in self.state.processes if item.role == role), None)

    def save(self) -> None:
        """Write the file whole, readable by its owner only since it holds the admin's token."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"{FILE}.new"
        draft.touch(mode=0o600)
        draft.write_text(encode(self.state))
        draft.replace(self.folder / FILE)


def all_states() -> list[StateFile]:
    """Every recorded cluster of this user, by name."""
    base = clusters_folder()
    if not base.is_dir():
        return []
    found = (StateFile.read(folder) for folder in sorted(base.iterdir()) if folder.is_dir())
    return [item for item in found if item is not None]


@contextmanager
def registry_lock() -> Iterator[None]:
    """Hold while choosing an index, so that clusters started side by side choose different ones."""
    base = clusters_folder()
    base.mkdir(parents=True, exist_ok=True)
    handle = os.open(base / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def names() -> list[str]:
    """Every cluster that has a folder, also one whose start broke off before its state was written."""
    base = clusters_folder()
    return sorted(folder.name for folder in base.iterdir() if folder.is_dir()) if base.is_dir() else []
