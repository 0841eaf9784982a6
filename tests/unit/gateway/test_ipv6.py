"""A gateway on a cluster of IPv6 alone: it listens there, finds its replicas there, and is found by those of IPv4 as before."""

import socket

import pytest
from gateway.config import from_environment
from gateway.members import Member, Membership, parse_membership
from gateway.plan import plan

from dev.ports import HeldPort
from tests.unit.gateway.rig import Replica, haproxy, needs_haproxy, replicas

pytestmark = pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
LOOPBACK = "::1"


@needs_haproxy
@pytest.mark.fault(99)
async def test_a_gateway_serves_a_replica_of_ipv6_to_callers_of_both_families() -> None:
    replica, port = Replica("a"), HeldPort()
    async with replicas(replica, host=LOOPBACK), haproxy(traffic_bind=f":{port}", ipv6=True) as running:
        member = Member("a", LOOPBACK, replica.port)
        observed = await running.follow(member)
        assert plan(Membership(1, (member,)), observed, running.settings.server_share) == [], (
            "its address is recognised"
        )
        for host in (f"[{LOOPBACK}]", "127.0.0.1"):
            async with running.session.post(f"http://{host}:{running.port}/infer", data=b"{}") as answer:
                assert await answer.json() == {"from": "a"}


@needs_haproxy
@pytest.mark.fault(99)
async def test_kubelet_and_prometheus_reach_the_gateway_by_ipv6() -> None:
    port = HeldPort()
    url = f"http://[{LOOPBACK}]:{port}/healthz"
    async with haproxy(metrics_bind=f":{port}", ipv6=True) as running, running.session.get(url) as answer:
        assert answer.status == 200


def test_ports_are_of_both_families_where_the_machine_has_both() -> None:
    env = {"TRAINYARD_SERVICE": "digits", "TRAINYARD_SERVICE_UID": "uid-1"}
    assert from_environment(env).ipv6


def test_addresses_of_members_are_written_in_one_way_however_they_come() -> None:
    entry = {"name": "a", "address": "FD00:0:0::0001", "port": 8080}
    (member,) = parse_membership({"generation": 1, "members": [entry]}).members
    assert member.address == "fd00::1"
