"""Parallel clusters get addresses that meet neither each other nor what the machine has."""

import ipaddress
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.cluster.addresses import MAX_INDEX, Addresses, choose_index, parse_networks
from dev.cluster.errors import ClusterError
from dev.cluster.spec import MAX_REAL_NODES

INDICES = st.integers(0, MAX_INDEX)
ADDRESSES = (
    '[{"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]}, {"ifname": "x", "addr_info": []}]'
)
ROUTES = '[{"dst": "default", "gateway": "192.0.2.1"}, {"dst": "10.200.3.0/24", "dev": "tyb0"}, {"dst": "192.0.2.7"}]'


def test_networks_are_read_from_addresses_and_routes() -> None:
    assert [str(item) for item in parse_networks(ADDRESSES, ROUTES)] == ["127.0.0.0/8", "10.200.3.0/24", "192.0.2.7/32"]


def test_the_lowest_index_that_nobody_has_is_taken() -> None:
    assert choose_index({0, 1, 3}, [], needs_network=True) == 2


def test_a_subnet_that_the_machine_uses_is_passed_over() -> None:
    in_use = [ipaddress.IPv4Network("10.200.3.0/24")]

    assert choose_index(set(), in_use, needs_network=True) == 1


def test_a_cluster_without_real_nodes_needs_no_subnet() -> None:
    assert choose_index(set(), [ipaddress.IPv4Network("10.0.0.0/8")], needs_network=False) == 0


def test_with_every_subnet_in_use_the_error_says_what_to_do() -> None:
    with pytest.raises(ClusterError, match="take clusters down"):
        choose_index(set(), [ipaddress.IPv4Network("10.0.0.0/8")], needs_network=True)


@given(st.sets(INDICES, min_size=2, max_size=6))
def test_no_two_clusters_share_an_address(indices: set[int]) -> None:
    clusters = [Addresses(f"c{index}", index) for index in indices]

    assert len({item.loopback for item in clusters}) == len(clusters)
    assert len({item.bridge for item in clusters}) == len(clusters)
    assert not any(a.network.overlaps(b.network) for a, b in itertools.combinations(clusters, 2))


@given(INDICES)
def test_within_a_cluster_nodes_and_pods_have_ranges_of_their_own(index: int) -> None:
    addresses = Addresses("c", index)
    numbers = range(1, MAX_REAL_NODES + 1)
    ranges = [ipaddress.IPv4Network(addresses.node_pods(number)) for number in numbers]
    ranges += [ipaddress.IPv4Network(f"{addresses.gateway}/24", strict=False)]
    ranges += [ipaddress.IPv4Network(addresses.kwok_pods)]

    assert all(item.subnet_of(addresses.network) for item in ranges)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(ranges, 2))
    assert len({addresses.node_ip(number) for number in numbers} | {addresses.gateway}) == MAX_REAL_NODES + 1


@given(INDICES)
def test_names_of_links_fit_into_what_the_kernel_allows(index: int) -> None:
    addresses = Addresses("c" * 30, index)

    assert max(len(addresses.bridge), len(addresses.veth(MAX_REAL_NODES))) <= 15
