"""Finding what a cluster left behind, in the words of the kernel's files and of the tools."""

import json
from pathlib import Path

from dev.cluster.cgroups import parse_processes
from dev.cluster.network import parse_links, parse_rules
from dev.cluster.residue import parse_mounts, residue

MOUNTINFO = """\
21 1 254:0 / / rw shared:1 - ext4 /dev/root rw
40 21 0:30 / /var/tmp/trainyard/demo/nodes/n rw - tmpfs tmpfs rw
41 40 0:31 / /var/tmp/trainyard/demo/nodes/n/a\\040b rw - tmpfs tmpfs rw
42 21 0:32 / /var/tmp/trainyard/demo2/nodes/n rw - tmpfs tmpfs rw
"""
RULES = """\
-P FORWARD ACCEPT
-A FORWARD -i tyb0 -m comment --comment "trainyard:demo" -j ACCEPT
-A FORWARD -i tyb1 -m comment --comment trainyard:demo -j ACCEPT
-A FORWARD -i tyb2 -m comment --comment "trainyard:demo2" -j ACCEPT
-A FORWARD -i eth0 -j ACCEPT
"""


def test_mounts_of_a_cluster_are_found_innermost_first_and_those_of_a_namesake_are_not() -> None:
    found = parse_mounts(MOUNTINFO, Path("/var/tmp/trainyard/demo"))

    assert [str(item) for item in found] == [
        "/var/tmp/trainyard/demo/nodes/n/a b",
        "/var/tmp/trainyard/demo/nodes/n",
    ]


def test_rules_are_known_by_their_whole_comment() -> None:
    assert [line.split()[3] for line in parse_rules(RULES, "trainyard:demo")] == ["tyb0", "tyb1"]


def test_links_are_known_by_their_alias() -> None:
    links = [{"ifname": "eth0"}, {"ifname": "tyb0", "ifalias": "trainyard:demo"}, {"ifname": "a", "ifalias": "other"}]

    assert parse_links(json.dumps(links), "trainyard:demo") == ["tyb0"]


def test_no_links_at_all_are_no_error() -> None:
    assert parse_links("", "trainyard:demo") == []


def test_processes_outside_of_our_view_are_left_out() -> None:
    assert parse_processes(["12\n0\n", "", "34\n12\n"]) == {12, 34}


def test_a_cluster_that_never_was_left_nothing() -> None:
    assert residue("never-was") == []
