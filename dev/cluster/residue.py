"""What a cluster left on this machine, each kind really looked for.

`down` must leave an empty answer; a test that gets another one has found a bug.
"""

from pathlib import Path

from dev.cluster import cgroups, network
from dev.cluster.paths import cluster_folder
from dev.cluster.processes import ProcessRecord, marked


def residue(name: str) -> list[str]:
    """One line for each process, mount, link, namespace, rule, control group and folder of that cluster."""
    folder = cluster_folder(name)
    return [
        *(f"process {record.pid}: {_command(record)}" for record in processes(name)),
        *(f"mount {point}" for point in mounts(folder)),
        *(f"link {link}" for link in network.links(name)),
        *(f"network namespace {namespace}" for namespace in network.namespaces(name)),
        *(f"iptables rule in table {table}: {rule}" for table, rule in network.rules(name)),
        *(f"control group {group}" for group in cgroups.folders(name)),
        *([f"folder {folder}"] if folder.exists() else []),
    ]


def processes(name: str) -> list[ProcessRecord]:
    """Processes that carry the cluster's mark or are in one of its control groups."""
    found = {record.pid: record for record in marked(cluster_folder(name))}
    for pid in cgroups.processes(name):
        found.setdefault(pid, ProcessRecord("in a control group", pid, 0))
    return [found[pid] for pid in sorted(found)]


def mounts(folder: Path) -> list[Path]:
    """Mount points at or below a folder, the last mounted first."""
    return parse_mounts(Path("/proc/self/mountinfo").read_text(), folder)


def parse_mounts(mountinfo: str, folder: Path) -> list[Path]:
    """Mount points at or below a folder in the text of /proc/PID/mountinfo, the last mounted first."""
    points = [Path(_unescape(line.split()[4])) for line in mountinfo.splitlines() if line.strip()]
    return [point for point in reversed(points) if point.is_relative_to(folder)]


def _unescape(text: str) -> str:
    """The kernel writes blanks and the like as three octal digits."""
    return text.encode().decode("unicode_escape").encode("latin-1").decode()


def _command(record: ProcessRecord) -> str:
    try:
        words = Path(f"/proc/{record.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return record.role
    return b" ".join(words[:3]).decode(errors="replace") or record.role
