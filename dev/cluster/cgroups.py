"""The control groups of real nodes, on machines with the first and with the second version of them.

Each node has one, /trainyard/CLUSTER/NODE, below which its kubelet puts the pods.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
_TOP = "trainyard"
_SECOND_VERSION_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")


def second_version() -> bool:
    """Whether the machine has only version 2."""
    return (MOUNT / "cgroup.controllers").exists()


def hierarchies() -> list[Path]:
    """The roots of all hierarchies: one in version 2, one for each controller in version 1."""
    if second_version():
        return [MOUNT]
    unique = {entry.resolve() for entry in MOUNT.iterdir() if entry.is_dir()}
    return sorted(entry for entry in unique if (entry / "cgroup.procs").exists())


def path_of(cluster: str, node: str) -> str:
    """A node's group as kubelet wants it named."""
    return f"/{_TOP}/{cluster}/{node}"


def create(cluster: str, node: str) -> None:
    """Make a node's group in every hierarchy."""
    for root in hierarchies():
        folder = root
        for part in (_TOP, cluster, node):
            parent, folder = folder, folder / part
            folder.mkdir(exist_ok=True)
            _enable(parent, folder)


def freeze(cluster: str, node: str, *, frozen: bool) -> None:
    """Stop or continue every process of a node."""
    if second_version():
        (MOUNT / _TOP / cluster / node / "cgroup.freeze").write_text("1" if frozen else "0")
    else:
        state = MOUNT / "freezer" / _TOP / cluster / node / "freezer.state"
        state.write_text("FROZEN" if frozen else "THAWED")


def inside(cluster: str, node: str, argv: Sequence[str]) -> list[str]:
    """The command that runs `argv`, and with it all it starts, in the group that `freeze` stops."""
    root = MOUNT if second_version() else MOUNT / "freezer"
    leaf = root / _TOP / cluster / node / "system"  # version 2 forbids processes in a group that has children
    leaf.mkdir(exist_ok=True)
    return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(leaf / "cgroup.procs"), *argv]


def folders(cluster: str) -> list[Path]:
    """The groups of a cluster that exist, parents first."""
    found = []
    for root in hierarchies():
        top = root / _TOP / cluster
        if top.is_dir():
            found += [top, *(item for item in sorted(top.rglob("*")) if item.is_dir())]
    return found


def processes(cluster: str) -> set[int]:
    """The processes in the cluster's groups."""
    return parse_processes(_read(folder / "cgroup.procs") for folder in folders(cluster))


def parse_processes(texts: Iterable[str]) -> set[int]:
    """The ids in several cgroup.procs files; 0 stands for one outside our view."""
    return {int(line) for text in texts for line in text.split()} - {0}


def remove(cluster: str) -> None:
    """Remove the cluster's groups, children first; one that still has processes stays."""
    for folder in reversed(folders(cluster)):
        _remove_folder(folder)
    for root in hierarchies():
        _remove_folder(root / _TOP)  # the last cluster takes the common parent with it


def _enable(parent: Path, folder: Path) -> None:
    if second_version():
        wanted = " ".join(f"+{name}" for name in _SECOND_VERSION_CONTROLLERS if name in _controllers(parent))
        (parent / "cgroup.subtree_control").write_text(wanted)
        return
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (folder / name).exists() and not (folder / name).read_text().strip():
            (folder / name).write_text((parent / name).read_text())


def _controllers(folder: Path) -> list[str]:
    return (folder / "cgroup.controllers").read_text().split()


def _read(path: Path) -> str:
    """A group's file; empty when the group went away while we looked."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _remove_folder(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
