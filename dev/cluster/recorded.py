"""What all providers share: a state file, an admin's API client, simulated nodes and the caretaker.

Each runs beside the cluster on this machine, whoever started the API server. Neighbours: `local`, `kind`, `current`.
"""

import sys
import time
from pathlib import Path

from dev.cluster import kwok
from dev.cluster.addresses import Addresses, choose_index, networks_in_use
from dev.cluster.api import Api
from dev.cluster.binaries import Binaries
from dev.cluster.cluster import Cluster
from dev.cluster.control_plane import Layout
from dev.cluster.errors import ClusterError, SpecError, StartError
from dev.cluster.paths import REPOSITORY, cluster_folder
from dev.cluster.processes import alive, spawn, tail
from dev.cluster.spec import ClusterSpec
from dev.cluster.state import NodeRecord, State, StateFile, all_states, boot_id, registry_lock
from dev.cluster.storage import storage_classes

_FOLDER_MODE = 0o711  # others may pass through to a volume they know, but not look around
_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"


class RecordedCluster(Cluster):
    """A cluster with a state file, from which any process can rebuild this object."""

    def __init__(self, file: StateFile, programs: Binaries) -> None:
        self.file = file
        self.layout = Layout(file.folder)
        super().__init__(file.state.name, self.layout.kubeconfig, programs)
        self.addresses = Addresses(file.state.name, file.state.index)

    @property
    def api(self) -> Api:
        return Api(self.file.state.server, self.file.state.token, self.layout.pki / "ca.crt")

    @property
    def audit_log(self) -> Path:
        if not self.file.state.audit:
            raise ClusterError(
                f"cluster {self.name} keeps no audit log: it was started without ClusterSpec(audit=True)"
            )
        return self.layout.audit_log

    def add_kwok(self, nodes: kwok.KwokNodes, *, wait: float = 60.0) -> list[str]:
        self._ensure_kwok()
        kwok.create(self.api, nodes, self.name)
        names = nodes.names()
        deadline = time.monotonic() + wait
        while kwok.ready_count(self.api, set(names)) < len(names):
            if time.monotonic() > deadline:
                log = self.layout.logs / "kwok.log"
                raise StartError(f"simulated nodes were not Ready within {wait:.0f} s, see {log}:\n{tail(log)}")
            time.sleep(0.2)
        return names

    def add_storage(self) -> None:
        """Make the storage classes and start what serves their claims."""
        for item in storage_classes():
            self.api.create(_CLASSES, item)
        token = self.layout.pki / "caretaker.token"
        token.touch(mode=0o600)
        token.write_text(self.file.state.token)
        argv = [sys.executable, "-m", "dev.cluster.caretaker", self.file.state.server]
        argv += [str(self.layout.pki / "ca.crt"), str(self.layout.folder / "volumes"), str(token)]
        self.spawn("caretaker", argv, {"PYTHONPATH": str(REPOSITORY)})

    def spawn(self, role: str, argv: list[str], env: dict[str, str] | None = None) -> None:
        """Start a process of this cluster and record it."""
        log = self.layout.logs / f"{role}.log"
        self.file.add_process(spawn(role, argv, folder=self.layout.folder, log=log, env=env))

    def _ensure_kwok(self) -> None:
        record = self.file.process("kwok")
        if record is None or not alive(record):
            program, state = self.programs.path("kwok"), self.file.state
            self.spawn(
                "kwok",
                kwok.command(program, self.kwok_kubeconfig, self.addresses.kwok_pods, state.not_ready_seconds),
            )

    @property
    def kwok_kubeconfig(self) -> Path:
        """As whom kwok acts: a user of its own where there is one, so that an audit tells them apart."""
        own = self.layout.kubeconfig_of("kwok")
        return own if own.exists() else self.kubeconfig


def allocate(spec: ClusterSpec, provider: str, nodes: tuple[NodeRecord, ...] = ()) -> StateFile:
    """Reserve a name and an index for a cluster; SpecError when the name is taken."""
    folder = cluster_folder(spec.name)
    with registry_lock():
        if folder.exists():
            hint = f"`python -m dev.cluster down {spec.name}` removes it"
            raise SpecError(f"cluster {spec.name} is there already; {hint}")
        own_network = provider == "local" and bool(nodes)
        taken = {item.state.index for item in all_states()}
        index = choose_index(taken, networks_in_use() if own_network else [], needs_network=own_network)
        state = State(
            spec.name,
            provider,
            index,
            boot_id(),
            audit=spec.audit,
            gpu_model=spec.gpu_model,
            not_ready_seconds=spec.not_ready_seconds,
            nodes=nodes,
        )
        file = StateFile(folder, state)
        file.save()
        folder.chmod(_FOLDER_MODE)
        return file
