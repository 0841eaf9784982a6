"""The cluster's network on this machine: a bridge, a network namespace for each real node, routes to the pods.

Links carry the cluster's alias and iptables rules its comment, so `residue` can tell ours from anybody's.
Neighbour: `addresses` says which ones.
"""

import json
import os
from pathlib import Path

from dev.cluster.addresses import Addresses, alias_of, namespace_prefix
from dev.cluster.errors import CommandError, MissingTool, SpecError
from dev.cluster.paths import cache_folder, clusters_folder
from dev.cluster.processes import run

NAMESPACES = Path("/run/netns")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_HIDDEN = ("/run", "/var/lib", "/var/log")  # a real node has its own ones in place of these


def check_machine() -> None:
    """Say at once, and in words, why this machine cannot have real nodes."""
    if os.getuid() != 0:
        raise MissingTool("real nodes need root: network namespaces and containers are made; use kwok nodes without")
    for folder in (cache_folder().resolve(), clusters_folder().resolve()):
        if any(folder.is_relative_to(hidden) for hidden in _HIDDEN):
            raise SpecError(
                f"{folder} is below one of {', '.join(_HIDDEN)}, which real nodes replace; set XDG_CACHE_HOME"
            )


def create(addresses: Addresses) -> None:
    """Make the bridge and let what comes from it pass."""
    bridge = addresses.bridge
    run(["ip", "link", "add", bridge, "type", "bridge"])
    run(["ip", "link", "set", bridge, "alias", addresses.alias])
    run(["ip", "address", "add", f"{addresses.gateway}/24", "dev", bridge])
    run(["ip", "link", "set", bridge, "up"])
    _FORWARDING.write_text("1")
    comment = ["-m", "comment", "--comment", addresses.alias]
    run(["iptables", "-w", "-I", "FORWARD", "-i", bridge, *comment, "-j", "ACCEPT"])
    run(["iptables", "-w", "-I", "FORWARD", "-o", bridge, *comment, "-j", "ACCEPT"])
    outside = ["-s", str(addresses.network), "!", "-d", str(addresses.network)]
    run(["iptables", "-w", "-t", "nat", "-A", "POSTROUTING", *outside, *comment, "-j", "MASQUERADE"])


def add_node(addresses: Addresses, node: str, number: int) -> None:
    """Make a node's network namespace with a cable to the bridge, and the route to its pods."""
    namespace, cable, ip = addresses.namespace(node), addresses.veth(number), addresses.node_ip(number)
    run(["ip", "netns", "add", namespace])
    run(["ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace])
    run(["ip", "link", "set", cable, "alias", addresses.alias])
    run(["ip", "link", "set", cable, "master", addresses.bridge, "up"])
    for command in (
        ["link", "set", "lo", "up"],
        ["address", "add", f"{ip}/24", "dev", "eth0"],
        ["link", "set", "eth0", "up"],
        ["route", "add", "default", "via", addresses.gateway],
    ):
        run(["ip", "-n", namespace, *command])
    run(["ip", "route", "add", addresses.node_pods(number), "via", ip, "dev", addresses.bridge])


def set_cable(addresses: Addresses, number: int, *, plugged: bool) -> None:
    """Pull or plug the node's cable at the bridge's end; the node keeps its routes."""
    run(["ip", "link", "set", addresses.veth(number), "up" if plugged else "down"])


def links(cluster: str) -> list[str]:
    """The names of this machine's links with the cluster's alias."""
    return parse_links(run(["ip", "-j", "link"]), alias_of(cluster))


def parse_links(text: str, alias: str) -> list[str]:
    """Names in `ip -j link` output of links with that alias."""
    return [item["ifname"] for item in json.loads(text or "[]") if item.get("ifalias") == alias]


def namespaces(cluster: str) -> list[str]:
    """The names of the cluster's network namespaces."""
    if not NAMESPACES.is_dir():
        return []
    return sorted(entry.name for entry in NAMESPACES.iterdir() if entry.name.startswith(namespace_prefix(cluster)))


def rules(cluster: str) -> list[tuple[str, str]]:
    """The cluster's iptables rules as (table, rule)."""
    found = []
    for table in ("filter", "nat"):
        try:
            text = run(["iptables", "-w", "-t", table, "-S"])
        except (CommandError, MissingTool):  # not root, or no iptables: then there are none of ours either
            continue
        found += [(table, rule) for rule in parse_rules(text, alias_of(cluster))]
    return found


def parse_rules(text: str, alias: str) -> list[str]:
    """The lines of `iptables -S` output with that comment, with or without quotation marks."""
    return [line for line in text.splitlines() if line.startswith("-A ") and alias in line.replace('"', " ").split()]


def remove(cluster: str) -> None:
    """Remove the cluster's rules, namespaces and links; what is gone already is no error."""
    for table, rule in rules(cluster):
        words = ["-D", *rule.replace('"', "").split()[1:]]
        _try(["iptables", "-w", "-t", table, *words])
    for namespace in namespaces(cluster):
        _try(["ip", "netns", "delete", namespace])
    for link in links(cluster):
        _try(["ip", "link", "delete", link])


def _try(argv: list[str]) -> None:
    try:
        run(argv)
    except CommandError:
        return  # `residue` tells when it is really still there
