"""What the operator is told, and when the pod is ready."""

from dataclasses import replace

import pytest
from gateway.config import ConfigError, Settings, from_environment
from gateway.members import Member, Membership, Wish
from gateway.observed import Observed, Server
from gateway.render import render
from gateway.report import Standing, report, state_of

SETTINGS = Settings(service="digits", service_uid="uid-1", namespace="team", pod="gw-0")
SERVER = Server("a", "10.0.0.1", 8080, in_use=2)
WANTED = Membership(4, (Member("a", "10.0.0.1", 8080),))


def seen(*servers: Server, boot: str = "1@1", requests: int = 10, held: int = 0) -> Observed:
    return Observed(boot, servers, frozenset(), queued=3, requests=requests, held=held)


def test_the_report_has_the_fields_of_the_contract() -> None:
    standing = Standing().seen(seen(SERVER), WANTED)
    assert report(SETTINGS, standing) == {
        "namespace": "team",
        "service": "digits",
        "serviceUid": "uid-1",
        "pod": "gw-0",
        "generation": 4,
        "members": {"a": {"state": "UP", "inUse": 2}},
        "held": 0,
        "queued": 3,
        "inFlight": 2,
        "requests": 10,
        "ejected": [],
    }


def test_a_generation_is_reported_only_once_it_is_seen_applied() -> None:
    before = Standing().seen(seen(SERVER), WANTED)
    draining = Membership(5, (replace(WANTED.members[0], wish=Wish.DRAIN),))
    assert before.seen(seen(SERVER), draining).applied == 4
    assert before.seen(seen(replace(SERVER, drain=True)), draining).applied == 5


def test_without_haproxy_nothing_is_applied_and_the_pod_is_not_ready() -> None:
    before = Standing().seen(seen(SERVER), WANTED)
    assert before.ready()
    away = before.seen(None, WANTED)
    assert (away.applied, away.ready(), report(SETTINGS, away)["members"]) == (0, False, {})


def test_the_count_of_requests_survives_a_restart_of_haproxy() -> None:
    standing = Standing().seen(seen(SERVER), WANTED).seen(None, WANTED)
    again = standing.seen(seen(boot="1@2", requests=1), WANTED)
    assert (again.requests, again.haproxy_restarts, again.applied) == (11, 1, 0)
    assert again.seen(seen(SERVER, boot="1@2", requests=2), WANTED).requests == 12


def test_readiness_needs_a_member_that_is_up() -> None:
    assert not Standing().seen(seen(), Membership(1, ())).ready()
    assert not Standing().seen(seen(replace(SERVER, running=False)), WANTED).ready()
    assert not Standing().seen(seen(SERVER), None).ready()


def test_a_gateway_that_holds_requests_is_ready_without_a_member() -> None:
    empty = Standing().seen(seen(held=2), Membership(1, ()))
    assert empty.ready(holds=True)
    assert not Standing().seen(seen(), WANTED).ready(holds=True), "its list is not applied yet"
    assert report(SETTINGS, empty)["held"] == 2


def test_a_member_in_both_backends_is_reported_once_with_all_that_it_does() -> None:
    leaving = replace(SERVER, backend="canary", drain=True, in_use=3)
    assert report(SETTINGS, Standing().seen(seen(SERVER, leaving), WANTED))["members"] == {
        "a": {"state": "UP", "inUse": 5}
    }


@pytest.mark.parametrize(
    ("server", "state"),
    [
        (SERVER, "UP"),
        (replace(SERVER, check_passed=False), "UP"),
        (replace(SERVER, weight=0), "UP"),
        (replace(SERVER, weight=0, check_passed=False), "DOWN"),
        (replace(SERVER, running=False), "DOWN"),
        (replace(SERVER, drain=True), "DRAIN"),
        (replace(SERVER, maintenance=True, running=False), "DRAIN"),
    ],
)
def test_a_members_state_in_one_word(server: Server, state: str) -> None:
    assert state_of(server) == state


def test_the_share_of_one_gateway_is_rounded_up() -> None:
    assert replace(SETTINGS, server_maxconn=5, gateways=2).server_share == 3


def test_the_configuration_is_rendered_with_the_services_own_values() -> None:
    text = render(replace(SETTINGS, queue_limit=12, max_body_bytes=99))
    assert "hdr X-Trainyard-Service uid-1 " in text
    assert "{ queue(replicas) ge 12 }" in text
    assert "{ req.body_size gt 99 }" in text
    assert "$" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [("TRAINYARD_SERVICE_UID", "a b"), ("TRAINYARD_GATEWAYS", "0"), ("TRAINYARD_MEMBERS_DNS", "name:http")],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    good = {"TRAINYARD_SERVICE": "digits", "TRAINYARD_SERVICE_UID": "uid-1"}
    with pytest.raises(ConfigError, match=name):
        from_environment(good | {name: value})
