"""The provider `local`: a whole cluster of plain processes on this machine.

`start` allocates an index, then adds part after part, each recorded in the state file before the next; when one
fails everything is taken down again. Neighbours: `control_plane`, `real_node`, `dns`, `teardown`.
"""

from collections.abc import Sequence

from dev.cluster import images, network, packages
from dev.cluster.binaries import Binaries
from dev.cluster.cluster import Node
from dev.cluster.control_plane import ControlPlane
from dev.cluster.dns import start_dns
from dev.cluster.progress import Say, timed
from dev.cluster.real_node import RealNode, start_nodes
from dev.cluster.recorded import RecordedCluster, allocate
from dev.cluster.spec import ClusterSpec
from dev.cluster.state import NodeRecord
from dev.cluster.teardown import down


class LocalCluster(RecordedCluster):
    """A running cluster of this provider."""

    provider = "local"

    @property
    def nodes(self) -> list[Node]:
        return list(self.real_nodes)

    @property
    def real_nodes(self) -> list[RealNode]:
        """The nodes with what only this provider knows of them."""
        return [RealNode(record, self.file, self.addresses, self.programs) for record in self.file.state.nodes]

    @property
    def host_address(self) -> str:
        return self.addresses.gateway if self.file.state.nodes else self.addresses.loopback

    def load(self, images_wanted: Sequence[str]) -> None:
        images.load(self.real_nodes, images_wanted)

    def down(self) -> list[str]:
        return down(self.name)


def start(spec: ClusterSpec, programs: Binaries, say: Say) -> LocalCluster:
    """Bring a cluster up; on any failure nothing of it stays."""
    if spec.nodes:
        network.check_machine()
        packages.prepare(say)
    needed = ["kube-apiserver", "kubectl", *(["kwok"] if spec.kwok_nodes else [])]
    programs.ensure(*needed, *(["coredns", "probe"] if spec.nodes else []))
    if spec.nodes and spec.images:
        images.build(say)
    records = tuple(NodeRecord(f"node-{n}", n, spec.gpus_per_node) for n in range(1, spec.nodes + 1))
    cluster = LocalCluster(allocate(spec, "local", records), programs)
    try:
        _start_parts(cluster, spec, say)
    except BaseException:
        left = cluster.down()
        if left:
            say("could not be removed: " + "; ".join(left))
        raise
    return cluster


def _start_parts(cluster: LocalCluster, spec: ClusterSpec, say: Say) -> None:
    file, addresses = cluster.file, cluster.addresses
    names = tuple(record.name for record in file.state.nodes)
    with timed("control plane ready", say):
        if spec.nodes:
            network.create(addresses)
        plane = ControlPlane(file, addresses, cluster.programs)
        api = plane.start(host=cluster.host_address, nodes=names)
        cluster.add_storage()
    if spec.nodes:
        start_dns(file, addresses, cluster.programs, api)
        with timed(f"{spec.nodes} real nodes ready", say):
            start_nodes(cluster.real_nodes, plane, api, with_images=spec.images, say=say)
    if spec.kwok_nodes:
        with timed(f"{spec.kwok_nodes} simulated nodes ready", say):
            cluster.add_kwok_nodes(spec.kwok_nodes, gpus=spec.kwok_gpus, gpu_model=spec.gpu_model)
