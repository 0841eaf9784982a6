"""etcd, the API server, the controller manager and the scheduler: started in a few seconds, each a plain process.

What differs from a production cluster is only what makes it quick or private: no fsync, high client rates (the
defaults are what makes small clusters look slow), and listeners on the cluster's own addresses.
Neighbours: `certificates` signs, `real_node` and `kwok` add nodes.
"""

import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.addresses import SERVICE_API, SERVICE_RANGE, Addresses, free_port
from dev.cluster.api import Api
from dev.cluster.binaries import Binaries
from dev.cluster.certificates import Authority
from dev.cluster.errors import StartError
from dev.cluster.processes import alive, spawn, tail
from dev.cluster.state import StateFile

READY_SECONDS = 60
CLIENT_RATE = ("--kube-api-qps=500", "--kube-api-burst=1000")
MASTERS = "system:masters"
USERS = {
    "admin": MASTERS,
    "caretaker": MASTERS,
    "kwok": MASTERS,
    "coredns": MASTERS,
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
    "system:kube-proxy": "",
}
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True)
class Layout:
    """The files of a cluster's control plane."""

    folder: Path

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def kubeconfig_of(self, user: str) -> Path:
        return self.folder / "users" / f"{user.replace(':', '-')}.kubeconfig"


class ControlPlane:
    """Starts the servers of one cluster; their records go to its state file."""

    def __init__(self, file: StateFile, addresses: Addresses, binaries: Binaries) -> None:
        self.file = file
        self.addresses = addresses
        self.binaries = binaries
        self.layout = Layout(file.folder)
        self.authority = Authority(self.layout.pki)

    def start(self, *, host: str, nodes: tuple[str, ...]) -> Api:
        """Start all and wait until the API server is ready. `host`: where it listens; `nodes`: who gets a token."""
        self.authority.create()
        port = free_port(host)
        server = f"https://{host}:{port}"
        tokens = self._write_users(server, nodes)
        self.file.update(server=server, token=tokens["admin"])
        etcd = self._start_etcd()
        self._start_apiserver(host, port, etcd)
        api = Api(server, tokens["admin"], self.authority.certificate)
        self._wait(api)
        self._start_controllers()
        return api

    def _write_users(self, server: str, nodes: tuple[str, ...]) -> dict[str, str]:
        groups = {**USERS, **{f"system:node:{node}": "system:nodes" for node in nodes}}
        tokens = {user: secrets.token_hex(16) for user in groups}
        rows = [f'{tokens[user]},{user},{user},"{group}"' for user, group in groups.items()]
        table = self.layout.pki / "tokens.csv"
        table.touch(mode=0o600)
        table.write_text("\n".join(rows) + "\n")
        for user, token in tokens.items():
            write_kubeconfig(
                self.layout.kubeconfig_of(user), self.file.state.name, server, token, self.authority.certificate
            )
        write_kubeconfig(
            self.layout.kubeconfig, self.file.state.name, server, tokens["admin"], self.authority.certificate
        )
        return tokens

    def _start_etcd(self) -> str:
        address = self.addresses.loopback
        client, peer = (f"http://{address}:{free_port(address)}" for _ in range(2))
        self._spawn(
            "etcd",
            f"--data-dir={self.layout.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # the data need not outlive the machine
            "--quota-backend-bytes=8589934592",
            "--log-level=warn",
        )
        return client

    def _start_apiserver(self, host: str, port: int, etcd: str) -> None:
        pki = self.layout.pki
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
        certificate, key = self.authority.issue(
            "apiserver", "kube-apiserver", hosts=[host, "127.0.0.1", "localhost", SERVICE_API, *names]
        )
        kubelet_certificate, kubelet_key = self.authority.issue("to-kubelet", "kube-apiserver", group=MASTERS)
        loopback = host.startswith("127.")
        self._spawn(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            f"--bind-address={host}",
            f"--secure-port={port}",
            f"--advertise-address={host}",
            # A loopback address is refused as an endpoint of the kubernetes Service; no pod could use it anyway.
            f"--endpoint-reconciler-type={'none' if loopback else 'lease'}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={self.authority.certificate}",
            f"--kubelet-client-certificate={kubelet_certificate}",
            f"--kubelet-client-key={kubelet_key}",
            f"--kubelet-certificate-authority={self.authority.certificate}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki / 'accounts.pub'}",
            f"--service-account-signing-key-file={pki / 'accounts.key'}",
            f"--token-auth-file={pki / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--allow-privileged=true",
            "--profiling=false",
            *self._audit_flags(),
        )

    def _audit_flags(self) -> list[str]:
        if not self.file.state.audit:
            return []
        policy = self.layout.pki / "audit-policy.json"
        policy.write_text(json.dumps(_AUDIT_POLICY))
        return [f"--audit-policy-file={policy}", f"--audit-log-path={self.layout.audit_log}"]

    def _start_controllers(self) -> None:
        for role in ("kube-controller-manager", "kube-scheduler"):
            config = self.layout.kubeconfig_of(f"system:{role}")
            common = [f"--kubeconfig={config}", "--leader-elect=false", "--secure-port=0", *CLIENT_RATE]
            self._spawn(role, *common, *(self._controller_flags() if role == "kube-controller-manager" else ()))

    def _controller_flags(self) -> list[str]:
        return [
            f"--service-account-private-key-file={self.layout.pki / 'accounts.key'}",
            f"--root-ca-file={self.authority.certificate}",
            "--use-service-account-credentials",
            f"--node-monitor-grace-period={self.file.state.not_ready_seconds}s",
            "--node-monitor-period=2s",
        ]

    def _spawn(self, role: str, *flags: str) -> None:
        log = self.layout.logs / f"{role}.log"
        record = spawn(role, [str(self.binaries.path(role)), *flags], folder=self.layout.folder, log=log)
        self.file.add_process(record)

    def _wait(self, api: Api) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not api.ready():
            ended = [record.role for record in self.file.state.processes if not alive(record)]
            if ended or time.monotonic() > deadline:
                role = ended[0] if ended else "kube-apiserver"
                log = self.layout.logs / f"{role}.log"
                raise StartError(f"{role} {'ended' if ended else 'did not become ready'}, see {log}:\n{tail(log)}")
            time.sleep(0.05)


def write_kubeconfig(path: Path, cluster: str, server: str, token: str, authority: Path) -> None:
    """Write a kubeconfig for one user, readable by its owner only."""
    name = f"trainyard-{cluster}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1) + "\n")
