"""The provider `current`: the cluster of the kubeconfig at hand, for CI systems and people who have one.

Tests create and delete things, so a context is used only when its name is on an allow-list that its owner wrote.
"""

import os
import shutil
import socket
import urllib.parse
from collections.abc import Sequence
from typing import Any

from dev.cluster import access, kwok
from dev.cluster.binaries import Binaries
from dev.cluster.cluster import Node
from dev.cluster.errors import ClusterError, CommandError, SpecError
from dev.cluster.processes import kill, marked, run
from dev.cluster.progress import Say
from dev.cluster.recorded import RecordedCluster, allocate
from dev.cluster.spec import ClusterSpec

ALLOWED = "TRAINYARD_ALLOWED_CONTEXTS"


class CurrentCluster(RecordedCluster):
    """A cluster that is not ours: what we add is removed, its machines are left alone."""

    provider = "current"

    @property
    def nodes(self) -> list[Node]:
        return []  # nobody's machines are killed here

    @property
    def host_address(self) -> str:
        """This machine's address on the way to the API server; whether pods can reach it is up to the network."""
        host = urllib.parse.urlsplit(self.file.state.server).hostname or ""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # sends nothing
            return str(probe.getsockname()[0])

    def load(self, images: Sequence[str]) -> None:
        raise ClusterError(
            f"{', '.join(images)}: push to a registry that the cluster reads, images cannot be loaded here"
        )

    def down(self) -> list[str]:
        for name in self._simulated():
            self.api.delete(f"/api/v1/nodes/{name}")
        kill(self.file.state.processes)
        kill(marked(self.file.folder))
        left = [f"simulated node {name}" for name in self._simulated()]
        access.log_out(self.programs.path("kubectl"), self.kubeconfig)
        shutil.rmtree(self.file.folder, ignore_errors=True)
        return left + [f"process {record.pid}" for record in marked(self.file.folder)]

    def _simulated(self) -> list[str]:
        marks = ((node["metadata"]["name"], node["metadata"].get("annotations", {})) for node in self._all_nodes())
        return [name for name, annotations in marks if annotations.get(kwok.OWNER) == self.name]

    def _all_nodes(self) -> list[dict[str, Any]]:
        return self.api.items("/api/v1/nodes")


def start(spec: ClusterSpec, programs: Binaries, say: Say) -> CurrentCluster:
    """Use the cluster at hand, after making sure that its owner allows it."""
    if spec.audit:
        raise SpecError("an audit log is kept only by the provider local: use CLUSTER=local")
    kubectl = str(programs.path("kubectl"))
    try:
        context = run([kubectl, "config", "current-context"]).strip()
    except CommandError as error:
        raise SpecError(f"CLUSTER=current needs a kubeconfig with a current context: {error.output.strip()}") from error
    refuse_unless_allowed(context, os.environ.get(ALLOWED, ""))
    cluster = CurrentCluster(allocate(spec, "current"), programs)
    try:
        _connect(cluster, kubectl)
        if spec.kwok_nodes:
            cluster.add_kwok_nodes(spec.kwok_nodes, gpus=spec.kwok_gpus, gpu_model=spec.gpu_model)
    except BaseException:
        shutil.rmtree(cluster.file.folder, ignore_errors=True)
        kill(cluster.file.state.processes)
        raise
    say(f"using context {context}; its nodes, storage classes and images are as its owner made them")
    return cluster


def refuse_unless_allowed(context: str, allowed: str) -> None:
    """SpecError unless the context is named in the comma-separated allow-list."""
    if context not in {name.strip() for name in allowed.split(",") if name.strip()}:
        raise SpecError(
            f"context {context!r} is not on the allow-list: tests create and delete things in it. "
            f"If that is what you want, set {ALLOWED}={context}"
        )


def _connect(cluster: CurrentCluster, kubectl: str) -> None:
    cluster.kubeconfig.touch(mode=0o600)
    cluster.kubeconfig.write_text(run([kubectl, "config", "view", "--raw", "--minify", "--flatten"]))
    server, token = access.log_in(cluster.programs.path("kubectl"), cluster.kubeconfig, cluster.layout.pki)
    cluster.file.update(server=server, token=token)
