"""A real node: kubelet, containerd and kube-proxy in namespaces of their own, as in a small virtual machine.

One process, `probe hold`, is the first of a new process namespace and owns its mounts. When it dies the kernel ends
everything else in there and drops the mounts, which makes `kill` a power cut and leaves `down` little to clean.
Neighbours: `node_files` has the configuration, `network` and `cgroups` the rest of the machine.
"""

import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dev.cluster import cgroups, gpus, images, network, node_files
from dev.cluster.addresses import Addresses
from dev.cluster.api import Api
from dev.cluster.binaries import Binaries
from dev.cluster.cluster import Node
from dev.cluster.control_plane import ControlPlane, Layout
from dev.cluster.errors import ClusterError, CommandError, StartError
from dev.cluster.kwok import GPU, LABEL_GPU_MODEL, is_ready
from dev.cluster.packages import cni_programs
from dev.cluster.processes import ProcessRecord, alive, kill, run, spawn, stat_fields, tail
from dev.cluster.progress import Say
from dev.cluster.state import NodeRecord, StateFile

READY_SECONDS = 90
_CONTAINERD_SECONDS = 30


class RealNode(Node):
    """One node, known by its record; its processes stand in the cluster's state file."""

    def __init__(self, record: NodeRecord, file: StateFile, addresses: Addresses, programs: Binaries) -> None:
        self.record = record
        self.name = record.name
        self.file = file
        self.addresses = addresses
        self.programs = programs
        self.layout = Layout(file.folder)
        self.folder = file.folder / "nodes" / record.name

    def prepare(self, plane: ControlPlane, *, with_images: bool, say: Say) -> None:
        """Make the node's folders, files, images, network and control group."""
        for part in ("lib", "log", "etc/cni"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        if with_images:
            images.clone_store(self._containerd_root, say)
        ip = self.addresses.node_ip(self.record.number)
        certificate, key = plane.authority.issue(
            f"kubelet-{self.name}", f"system:node:{self.name}", hosts=[ip, self.name]
        )
        etc = self.folder / "etc"
        plugins = cni_programs()
        assert plugins is not None, "packages.prepare installs them first"
        for setting, value in node_files.KERNEL_SETTINGS.items():
            (etc / setting.replace("/", ".")).write_text(f"{value}\n")
        (etc / "resolv.conf").write_text(f"nameserver {self.addresses.gateway}\n")
        (etc / "cni" / "10-pods.conflist").write_text(node_files.cni(self.addresses.node_pods(self.record.number)))
        (etc / "containerd.toml").write_text(node_files.containerd(self._containerd_root, plugins, etc / "cni"))
        (etc / "kubelet.json").write_text(
            node_files.kubelet(
                cgroup=cgroups.path_of(self.file.state.name, self.name),
                authority=plane.authority.certificate,
                certificate=certificate,
                key=key,
                resolvers=etc / "resolv.conf",
            )
        )
        network.add_node(self.addresses, self.name, self.record.number)
        cgroups.create(self.file.state.name, self.name)

    def start(self) -> None:
        """Start the node's namespaces and servers."""
        self._hold()
        self._spawn("containerd", ["containerd", f"--config={self.folder / 'etc' / 'containerd.toml'}"])
        self._await_containerd()
        if images.PROBE_IMAGE not in self.images():
            self.import_archive(self.file.folder / "probe.tar")
        self._spawn("kubelet", [str(self.programs.path("kubelet")), *self._kubelet_flags()])
        self._spawn("kube-proxy", [str(self.programs.path("kube-proxy")), *self._proxy_flags()])

    def kill(self) -> None:
        self.thaw()  # a frozen process cannot die
        left = kill([record for record in self.file.state.processes if record.role == self._role("first")])
        left += kill([record for record in self.file.state.processes if record.role.startswith(self._role(""))])
        if left:
            raise ClusterError(f"node {self.name}: process {left[0].pid} does not end")
        self.cut_network()

    def revive(self) -> None:
        self.restore_network()
        shutil.rmtree(self.folder / "lib" / "cni", ignore_errors=True)  # addresses of pods that are no more
        self.start()

    def freeze(self) -> None:
        cgroups.freeze(self.file.state.name, self.name, frozen=True)

    def thaw(self) -> None:
        cgroups.freeze(self.file.state.name, self.name, frozen=False)

    def cut_network(self) -> None:
        network.set_cable(self.addresses, self.record.number, plugged=False)

    def restore_network(self) -> None:
        network.set_cable(self.addresses, self.record.number, plugged=True)

    def images(self) -> list[str]:
        """The names of the images that the node has."""
        return self.ctr("images", "ls", "--quiet").split()

    def import_archive(self, archive: Path) -> None:
        """Import an image archive that lies outside of the node's own folders."""
        self.ctr("images", "import", str(archive), timeout=900)

    def ctr(self, *args: str, timeout: float = 60) -> str:
        """Run containerd's client inside the node."""
        return run(
            [*self._inside(), "ctr", f"--address={node_files.SOCKET}", "--namespace=k8s.io", *args], timeout=timeout
        )

    def run(self, *argv: str) -> str:
        """Run a command of this machine as the node sees files, network and processes."""
        return run([*self._inside(), *argv])

    def containerd_socket(self) -> Path:
        """containerd's socket as this machine sees it."""
        return Path(f"/proc/{self._first().pid}/root{node_files.SOCKET}")

    def describe(self) -> str:
        """The ends of the node's logs, for an error message."""
        return "\n".join(f"--- {log}\n{tail(log)}" for log in sorted((self.layout.logs / self.name).glob("*.log")))

    def _hold(self) -> None:
        """Start the first process of the node's namespaces and give it its own /var/lib, /var/log and /run."""
        namespace = network.NAMESPACES / self.addresses.namespace(self.name)
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=slave"]
        argv = ["nsenter", f"--net={namespace}", "--", *unshare, str(self.programs.path("probe")), "hold"]
        outer = self._spawn_raw("outer", argv)
        self.file.add_process(_first_child(outer, self._role("first")))
        for words in (
            ["mount", "--make-rshared", "/"],
            ["mount", "--bind", str(self.folder / "lib"), "/var/lib"],
            ["mount", "--bind", str(self.folder / "log"), "/var/log"],
            ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"],
            *self._kernel_settings(),
        ):
            run([*self._inside(), *words])

    def _kernel_settings(self) -> list[list[str]]:
        """Mounts that put the node's kernel settings in place of the machine's, where it has such a setting."""
        etc, system = self.folder / "etc", Path("/proc/sys")
        return [
            ["mount", "--bind", str(etc / setting.replace("/", ".")), str(system / setting)]
            for setting in node_files.KERNEL_SETTINGS
            if (system / setting).exists()
        ]

    def _inside(self) -> list[str]:
        return ["nsenter", f"--target={self._first().pid}", "--mount", "--net", "--pid", "--"]

    def _first(self) -> ProcessRecord:
        first = self.file.process(self._role("first"))
        if first is None or not alive(first):
            raise ClusterError(f"node {self.name} is not running")
        return first

    @property
    def _containerd_root(self) -> Path:
        """The same path inside and outside of the node, since the image builder puts layers there from outside."""
        return self.folder / "containerd"

    def _spawn(self, program: str, argv: Sequence[str]) -> ProcessRecord:
        return self._spawn_raw(program, [*self._inside(), *argv])

    def _spawn_raw(self, program: str, argv: Sequence[str]) -> ProcessRecord:
        command = cgroups.inside(self.file.state.name, self.name, argv)
        log = self.layout.logs / self.name / f"{program}.log"
        return self.file.add_process(spawn(self._role(program), command, folder=self.file.folder, log=log))

    def _role(self, program: str) -> str:
        return f"node/{self.name}/{program}"

    def _await_containerd(self) -> None:
        deadline = time.monotonic() + _CONTAINERD_SECONDS
        while True:
            try:
                self.ctr("version")
            except CommandError:
                if time.monotonic() > deadline:
                    raise StartError(f"containerd of {self.name} does not answer:\n{self.describe()}") from None
                time.sleep(0.1)
            else:
                return

    def _kubelet_flags(self) -> list[str]:
        labels = {"trainyard.dev/node-kind": "real"}
        if self.record.gpus:
            labels[LABEL_GPU_MODEL] = self.file.state.gpu_model
        return [
            f"--config={self.folder / 'etc' / 'kubelet.json'}",
            f"--kubeconfig={self.layout.kubeconfig_of(f'system:node:{self.name}')}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.addresses.node_ip(self.record.number)}",
            f"--node-labels={','.join(f'{key}={value}' for key, value in labels.items())}",
            "--root-dir=/var/lib/kubelet",
            "--cert-dir=/var/lib/kubelet/pki",
        ]

    def _proxy_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self.layout.kubeconfig_of('system:kube-proxy')}",
            f"--hostname-override={self.name}",
            "--proxy-mode=iptables",
            f"--cluster-cidr={self.addresses.network}",
            "--conntrack-max-per-core=0",  # the machine's own limits are not ours to change
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
        ]


def start_nodes(nodes: Sequence[RealNode], plane: ControlPlane, api: Api, *, with_images: bool, say: Say) -> None:
    """Start nodes side by side and wait until each is Ready with its GPUs."""
    first = nodes[0]
    images.write_probe_archive(first.programs.path("probe"), first.file.folder / "probe.tar")
    for node in nodes:
        node.prepare(plane, with_images=with_images, say=say)
    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(RealNode.start, nodes))
    await_ready(nodes, api)


def await_ready(nodes: Sequence[RealNode], api: Api, seconds: float = READY_SECONDS) -> None:
    """Wait until nodes are Ready and offer their GPUs."""
    pending = {node.name: node for node in nodes}
    asked: set[str] = set()
    deadline = time.monotonic() + seconds
    while pending:
        for item in api.items("/api/v1/nodes"):
            node = pending.get(item["metadata"]["name"])
            if node is None:
                continue
            if node.record.gpus and node.name not in asked:
                gpus.ask(api, node.name, node.record.gpus, node.file.state.gpu_model)
                asked.add(node.name)
            offered = int(item["status"].get("allocatable", {}).get(GPU, "0"))
            if is_ready(item) and offered == node.record.gpus:
                del pending[node.name]
        if time.monotonic() > deadline:
            node = next(iter(pending.values()))
            raise StartError(f"node {node.name} was not Ready within {seconds:.0f} s:\n{node.describe()}")
        time.sleep(0.2)


def _first_child(outer: ProcessRecord, role: str) -> ProcessRecord:
    """The process that `unshare` made in the new namespace."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and alive(outer):
        for pid in (int(word) for word in children.read_text().split()):
            fields = stat_fields(pid)
            # Between fork and exec it is still unshare; /proc is its own only once it runs the program.
            if fields and Path(f"/proc/{pid}/comm").read_text().strip() == "probe":
                return ProcessRecord(role, pid, int(fields[19]))
        time.sleep(0.01)
    raise StartError(f"the first process of {role.split('/')[1]} did not start")
