"""Taking a cluster down from its state file and from the marks on what it started.

Works from any process, after a crash half way through `up`, and twice. Only processes that carry the cluster's mark
or stand in its state file with their start time are ended.
"""

import shutil
import time
from pathlib import Path

from dev.cluster import cgroups, network
from dev.cluster.errors import CommandError
from dev.cluster.paths import cluster_folder
from dev.cluster.processes import ProcessRecord, kill, marked, run, stat_fields
from dev.cluster.residue import mounts, residue
from dev.cluster.state import StateFile, boot_id

_PATIENCE_SECONDS = 10.0
_DELETE_SECONDS = 300.0


def down(name: str) -> list[str]:
    """Remove everything of a local cluster; returns what is left behind."""
    folder = cluster_folder(name)
    file = StateFile.read(folder)
    _thaw(name)
    recorded = list(file.state.processes) if file is not None and file.state.boot == boot_id() else []
    # A node's first process goes before all else: the kernel ends the rest of its process namespace with it.
    kill([record for record in recorded if record.role.startswith("node/")])
    kill([record for record in recorded if not record.role.startswith("node/")])
    kill(marked(folder))
    _kill_groups(name)
    for point in mounts(folder):
        _unmount(point)
    if shutil.which("ip"):
        network.remove(name)
    _until_gone(name)
    _delete(folder)
    return residue(name)


def _thaw(name: str) -> None:
    for group in cgroups.folders(name):
        if (group / "freezer.state").exists() or (group / "cgroup.freeze").exists():
            parts = group.parts[-2:]
            if parts[0] == name:
                cgroups.freeze(name, parts[1], frozen=False)


def _kill_groups(name: str) -> None:
    """End what is still in the cluster's control groups, such as containers whose keeper is gone."""
    records = []
    for pid in cgroups.processes(name):
        fields = stat_fields(pid)
        if fields:
            records.append(ProcessRecord("in a control group", pid, int(fields[19])))
    kill(records)


def _until_gone(name: str) -> None:
    """The kernel lets go of a control group a moment after its last process."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while cgroups.folders(name) and time.monotonic() < deadline:
        cgroups.remove(name)
        if cgroups.folders(name):
            time.sleep(0.05)


def _delete(folder: Path) -> None:
    """Delete the folder: `rm` is several times faster than Python on a store's files, and stops at a forgotten mount."""
    try:
        run(["rm", "-rf", "--one-file-system", str(folder)], timeout=_DELETE_SECONDS)
    except CommandError:
        return  # `residue` tells


def _unmount(point: Path) -> None:
    try:
        run(["umount", "--lazy", str(point)])
    except CommandError:
        return  # gone with another one, or `residue` tells
