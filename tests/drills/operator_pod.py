"""The operator's pod on a cluster without kubelets: kwok plays it, and its log is the one of the operator's process.

So `kubectl get pods` and `kubectl logs` of runbooks take the way that they take in a datacentre, through the API server to the port of a
node, and read what the operator really wrote.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from dev.cluster.certificates import Authority
from dev.cluster.kwok import KwokNodes
from dev.cluster.local_provider import LocalCluster
from tests.apiserver.operator_process import SYSTEM

NAME = "trainyard-operator-0"
_LABELS = {
    "app.kubernetes.io/name": "trainyard",
    "app.kubernetes.io/part-of": "trainyard",
    "app.kubernetes.io/component": "operator",
}


@contextmanager
def operator_pod(cluster: LocalCluster, log: Path) -> Iterator[None]:
    """Make the node and the pod, and serve the log for as long as the block runs. log: of the operator's process."""
    address = cluster.addresses.loopback
    server = ThreadingHTTPServer((address, 0), _kubelet(log))
    certificate, key = Authority(cluster.layout.pki).issue("kubelet-system", "kubelet", hosts=[address])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        _make(cluster, address, server.server_port)
        yield
    finally:
        server.shutdown()
        server.server_close()


def _make(cluster: LocalCluster, address: str, port: int) -> None:
    (node,) = cluster.add_kwok(KwokNodes(1, gpus=0, prefix="system"))
    reached = {
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "addresses": [{"type": "InternalIP", "address": address}],
    }
    cluster.api.patch(f"/api/v1/nodes/{node}/status", {"status": reached})
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": SYSTEM, "labels": _LABELS},
        "spec": {"nodeName": node, "containers": [{"name": "operator", "image": "trainyard"}]},
    }
    cluster.api.create(f"/api/v1/namespaces/{SYSTEM}/pods", pod)


def _kubelet(log: Path) -> type[BaseHTTPRequestHandler]:
    """As much of a kubelet's server as `kubectl logs` needs. A process that was started again goes on in the same file."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            if asked.path != f"/containerLogs/{SYSTEM}/{NAME}/operator":
                self.send_error(404)
                return
            lines = log.read_bytes().splitlines(keepends=True)
            tail = parse_qs(asked.query).get("tailLines")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"".join(lines[-int(tail[0]) :] if tail else lines))

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    return Handler
