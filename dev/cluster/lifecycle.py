"""Bringing clusters up and down by name, with whichever provider."""

from collections.abc import Callable

from dev.cluster import current, kind, local_provider
from dev.cluster.binaries import Binaries, binaries
from dev.cluster.cluster import Cluster
from dev.cluster.errors import ClusterError
from dev.cluster.paths import cluster_folder
from dev.cluster.progress import Say, to_stderr
from dev.cluster.providers import from_environment
from dev.cluster.recorded import RecordedCluster
from dev.cluster.spec import ClusterSpec
from dev.cluster.state import StateFile
from dev.cluster.teardown import down as down_local

_START: dict[str, Callable[[ClusterSpec, Binaries, Say], Cluster]] = {
    "kind": kind.start,
    "local": local_provider.start,
    "current": current.start,
}
_KINDS: dict[str, type[RecordedCluster]] = {
    "kind": kind.KindCluster,
    "local": local_provider.LocalCluster,
    "current": current.CurrentCluster,
}


def up(spec: ClusterSpec, progress: Say = to_stderr) -> Cluster:
    """Bring a cluster up and return it ready for use. What takes long is told to `progress`."""
    choice = from_environment(spec.provider, audit=spec.audit)
    progress(f"cluster {spec.name}: provider {choice.provider} ({choice.reason})")
    return _START[choice.provider](spec, binaries(progress), progress)


def attach(name: str) -> Cluster:
    """The running cluster of that name, started by any process of this user."""
    file = StateFile.read(cluster_folder(name))
    if file is None:
        raise ClusterError(f"no cluster is called {name}; `python -m dev.cluster list` shows what there is")
    return _KINDS[file.state.provider](file, binaries())


def down(name: str) -> list[str]:
    """Remove a cluster, running or half started; returns what is left behind."""
    file = StateFile.read(cluster_folder(name))
    if file is None or file.state.provider == "local":
        return down_local(name)
    return attach(name).down()
