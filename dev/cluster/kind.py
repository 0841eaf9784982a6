"""The provider `kind`: nodes are Docker containers. Taken where Docker works, since most developers know it.

The volumes' folder is mounted into every node at its own path, so the same caretaker serves claims as in `local`.
"""

import json
import shutil
from collections.abc import Sequence

from dev.cluster import access, gpus
from dev.cluster.binaries import Binaries
from dev.cluster.cluster import Node
from dev.cluster.errors import ClusterError, SpecError
from dev.cluster.processes import kill, marked, run
from dev.cluster.progress import Say, timed
from dev.cluster.providers import NODE_IMAGE
from dev.cluster.recorded import RecordedCluster, allocate
from dev.cluster.spec import ClusterSpec
from dev.cluster.state import NodeRecord

_NETWORK = "kind"
_START_SECONDS = 300
_NOT_DEFAULT = {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "false"}}}


class KindNode(Node):
    """A worker node: a container that Docker can kill, pause and take off the network."""

    def __init__(self, name: str) -> None:
        self.name = name

    def kill(self) -> None:
        run(["docker", "kill", self.name])

    def revive(self) -> None:
        run(["docker", "start", self.name])

    def freeze(self) -> None:
        run(["docker", "pause", self.name])

    def thaw(self) -> None:
        run(["docker", "unpause", self.name])

    def cut_network(self) -> None:
        # The node must come back under the address it has, and Docker forgets that on disconnecting.
        self._address = run(
            ["docker", "inspect", "--format", f"{{{{.NetworkSettings.Networks.{_NETWORK}.IPAddress}}}}", self.name]
        )
        run(["docker", "network", "disconnect", _NETWORK, self.name])

    def restore_network(self) -> None:
        run(["docker", "network", "connect", f"--ip={self._address.strip()}", _NETWORK, self.name])


class KindCluster(RecordedCluster):
    """A running cluster of this provider."""

    provider = "kind"
    _nodes: list[Node] | None = None

    @property
    def nodes(self) -> list[Node]:
        if self._nodes is None:
            self._nodes = [KindNode(record.name) for record in self.file.state.nodes]
        return self._nodes

    @property
    def host_address(self) -> str:
        found = json.loads(run(["docker", "network", "inspect", _NETWORK]))
        return gateway(found)

    def load(self, images: Sequence[str]) -> None:
        self.kind("load", "docker-image", *images)

    def kind(self, *args: str) -> str:
        """Run kind for this cluster."""
        argv = [str(self.programs.path("kind")), *args, f"--name={self.name}"]
        return run(argv, timeout=_START_SECONDS)

    def down(self) -> list[str]:
        kill(self.file.state.processes)
        kill(marked(self.file.folder))
        self.kind("delete", "cluster", f"--kubeconfig={self.kubeconfig}")
        shutil.rmtree(self.file.folder, ignore_errors=True)
        left = [f"process {record.pid}" for record in marked(self.file.folder)]
        if self.name in run([str(self.programs.path("kind")), "get", "clusters"]).split():
            left.append(f"kind cluster {self.name}")
        return left + ([f"folder {self.file.folder}"] if self.file.folder.exists() else [])


def start(spec: ClusterSpec, programs: Binaries, say: Say) -> KindCluster:
    """Bring a cluster up; on any failure nothing of it stays."""
    if spec.audit:
        raise SpecError("an audit log is kept only by the provider local: use CLUSTER=local")
    programs.ensure("kind", "kubectl", *(["kwok"] if spec.kwok_nodes else []))
    cluster = KindCluster(allocate(spec, "kind", worker_records(spec)), programs)
    try:
        _start_parts(cluster, spec, say)
    except BaseException:
        cluster.down()
        raise
    return cluster


def worker_records(spec: ClusterSpec) -> tuple[NodeRecord, ...]:
    """The names that kind gives to workers."""
    names = [f"{spec.name}-worker{number if number > 1 else ''}" for number in range(1, spec.nodes + 1)]
    return tuple(NodeRecord(name, number, spec.gpus_per_node) for number, name in enumerate(names, start=1))


def configuration(spec: ClusterSpec, volumes: str) -> str:
    """kind's configuration: workers labelled as ours, the volumes' folder in every node."""
    mounts = [{"hostPath": volumes, "containerPath": volumes}]
    worker = {"role": "worker", "extraMounts": mounts, "labels": {"trainyard.dev/node-kind": "real"}}
    nodes = [{"role": "control-plane", "extraMounts": mounts}, *([worker] * spec.nodes)]
    return json.dumps({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes})


def gateway(networks: list[dict[str, dict[str, list[dict[str, str]]]]]) -> str:
    """The IPv4 address of this machine in `docker network inspect` output."""
    for item in networks[0]["IPAM"]["Config"]:
        address = item.get("Gateway", "")
        if address and ":" not in address:
            return address
    raise ClusterError(f"Docker's network {_NETWORK} has no IPv4 gateway")


def _start_parts(cluster: KindCluster, spec: ClusterSpec, say: Say) -> None:
    volumes = cluster.layout.folder / "volumes"
    volumes.mkdir()
    config = cluster.layout.folder / "kind.json"
    config.write_text(configuration(spec, str(volumes)))
    with timed("kind cluster ready", say):
        options = [f"--image={NODE_IMAGE}", f"--config={config}", "--wait=180s"]
        cluster.kind("create", "cluster", f"--kubeconfig={cluster.kubeconfig}", *options)
    server, token = access.log_in(cluster.programs.path("kubectl"), cluster.kubeconfig, cluster.layout.pki)
    cluster.file.update(server=server, token=token)
    cluster.kubectl("patch", "storageclass", "standard", "--patch", json.dumps(_NOT_DEFAULT))
    cluster.add_storage()
    for record in cluster.file.state.nodes:
        gpus.ask(cluster.api, record.name, record.gpus, spec.gpu_model)
    if spec.nodes and spec.images:
        from dev import images  # noqa: PLC0415 - only clusters with real nodes need it

        cluster.load(list(images.build(progress=say)))
    if spec.kwok_nodes:
        cluster.add_kwok_nodes(spec.kwok_nodes, gpus=spec.kwok_gpus, gpu_model=spec.gpu_model)
