"""Which addresses a cluster uses, all of them derived from one small number.

Pure, apart from asking the machine what is taken. A cluster with index i has the loopback address 127.77.i.1 for
servers that nobody else should reach, and 10.(200+i).0.0/16 for its bridge, nodes and pods: parallel clusters
cannot collide because no two share an index.
"""

import ipaddress
import json
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from dev.cluster.errors import ClusterError
from dev.cluster.processes import run

MAX_INDEX = 54
SERVICE_RANGE = "10.96.0.0/16"  # seen only inside nodes' own networks, so every cluster may use it
SERVICE_API = "10.96.0.1"
SERVICE_DNS = "10.96.0.10"
DNS_DOMAIN = "cluster.local"

Network = ipaddress.IPv4Network


@dataclass(frozen=True)
class Addresses:
    """The addresses of one cluster. `alias` marks its links and rules, so that they can be found again."""

    cluster: str
    index: int

    @property
    def loopback(self) -> str:
        return f"127.77.{self.index}.1"

    @property
    def network(self) -> Network:
        return Network(f"10.{200 + self.index}.0.0/16")

    @property
    def gateway(self) -> str:
        """The bridge's address: this machine, as pods see it."""
        return f"10.{200 + self.index}.0.1"

    @property
    def bridge(self) -> str:
        return f"tyb{self.index}"

    @property
    def alias(self) -> str:
        return alias_of(self.cluster)

    @property
    def kwok_pods(self) -> str:
        """Made-up addresses for pods of simulated nodes, apart from those of real ones."""
        return f"10.{200 + self.index}.128.0/17"

    def node_ip(self, number: int) -> str:
        return f"10.{200 + self.index}.0.{10 + number}"

    def node_pods(self, number: int) -> str:
        return f"10.{200 + self.index}.{number}.0/24"

    def veth(self, number: int) -> str:
        return f"tyv{self.index}n{number}"

    def namespace(self, node: str) -> str:
        return f"{namespace_prefix(self.cluster)}{node}"


def alias_of(cluster: str) -> str:
    """The mark on a cluster's links and iptables rules."""
    return f"trainyard:{cluster}"


def namespace_prefix(cluster: str) -> str:
    """How the names of a cluster's network namespaces begin; `.` cannot be in a cluster's name."""
    return f"trainyard.{cluster}."


def choose_index(taken: Collection[int], networks: Iterable[Network], *, needs_network: bool) -> int:
    """The lowest index that no cluster has and, for a cluster with real nodes, whose /16 meets no network in use."""
    in_use = list(networks)
    for index in range(MAX_INDEX + 1):
        if index in taken:
            continue
        wanted = Addresses("any", index).network
        if needs_network and any(wanted.overlaps(other) for other in in_use):
            continue
        return index
    raise ClusterError(
        f"no free subnet: all of 10.200.0.0/16 to 10.{200 + MAX_INDEX}.0.0/16 are in use; take clusters down"
    )


def parse_networks(addresses_json: str, routes_json: str) -> list[Network]:
    """The IPv4 networks that `ip -j -4 address` and `ip -j -4 route` tell of; the default route is none."""
    found = [
        Network(f"{item['local']}/{item['prefixlen']}", strict=False)
        for link in json.loads(addresses_json)
        for item in link.get("addr_info", [])
        if "local" in item
    ]
    targets = (route.get("dst", "default") for route in json.loads(routes_json))
    found += [Network(target, strict=False) for target in targets if target != "default"]
    return found


def networks_in_use() -> list[Network]:
    """The IPv4 networks this machine knows."""
    return parse_networks(run(["ip", "-j", "-4", "address"]), run(["ip", "-j", "-4", "route"]))


def free_port(address: str) -> int:
    """A TCP port that is free at that address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port
