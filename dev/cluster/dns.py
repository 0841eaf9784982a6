"""The cluster's resolver: CoreDNS on this machine, reached by pods at the address of the Service kube-dns.

It listens on the bridge only. Answers about the cluster come straight from its watch and live for one second, so
a worker finds its peers as soon as they have addresses.
"""

from pathlib import Path
from typing import Any

from dev.cluster.addresses import DNS_DOMAIN, SERVICE_DNS, Addresses
from dev.cluster.api import Api
from dev.cluster.binaries import Binaries
from dev.cluster.control_plane import Layout
from dev.cluster.processes import spawn
from dev.cluster.state import StateFile

_PORT = 53
_NAMESPACE = "kube-system"
_RESOLVERS = Path("/etc/resolv.conf")


def start_dns(file: StateFile, addresses: Addresses, programs: Binaries, api: Api) -> None:
    """Start CoreDNS and publish it as kube-dns."""
    layout = Layout(file.folder)
    corefile = layout.folder / "Corefile"
    upstream = _RESOLVERS if _RESOLVERS.exists() and "nameserver" in _RESOLVERS.read_text() else None
    corefile.write_text(render(addresses.gateway, layout.kubeconfig_of("coredns"), upstream))
    argv = [str(programs.path("coredns")), "-conf", str(corefile)]
    file.add_process(spawn("coredns", argv, folder=layout.folder, log=layout.logs / "coredns.log"))
    for path, body in published(addresses.gateway):
        api.create(path, body)


def render(address: str, kubeconfig: Path, upstream: Path | None) -> str:
    """The Corefile: the cluster's names from its API, all others from this machine's resolver if it has one."""
    cluster = f"""{DNS_DOMAIN} in-addr.arpa ip6.arpa {{
    bind {address}
    errors
    kubernetes {DNS_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        ttl 1
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
}}
"""
    if upstream is None:
        return cluster
    others = f"""
. {{
    bind {address}
    errors
    cache 30
    forward . {upstream}
}}
"""
    return cluster + others


def published(address: str) -> list[tuple[str, dict[str, Any]]]:
    """The Service without a selector and its endpoint outside of the cluster, as (path, object)."""
    ports = [{"name": "dns", "port": _PORT, "protocol": "UDP"}, {"name": "dns-tcp", "port": _PORT, "protocol": "TCP"}]
    service: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": SERVICE_DNS, "ports": ports},
    }
    endpoints: dict[str, Any] = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kube-dns-local", "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": ports,
    }
    return [
        (f"/api/v1/namespaces/{_NAMESPACE}/services", service),
        (f"/apis/discovery.k8s.io/v1/namespaces/{_NAMESPACE}/endpointslices", endpoints),
    ]
