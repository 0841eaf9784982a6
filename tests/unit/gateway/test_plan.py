"""The table: one situation, the commands it must give."""

from dataclasses import replace

import pytest
from gateway.members import Member, Membership, Wish
from gateway.observed import Observed, Server
from gateway.plan import RuntimeCommand, Verb, is_applied, plan
from gateway.split import Split

SHARE = 4
OLD_DIGEST = "sha256:" + "a" * 64
NEW_DIGEST = "sha256:" + "b" * 64
ACTIVE = Member("a", "10.0.0.1", 8080)
DRAINING = replace(ACTIVE, wish=Wish.DRAIN)
SERVING = Server("a", "10.0.0.1", 8080, maxconn=SHARE)
ADDED = replace(SERVING, weight=0, check_passed=False)
SPEAKING = Server("a", "10.0.0.1", 8001, maxconn=SHARE, backend="replicas-grpc")
STAND_IN = Server("dns_10-0-0-1-8080", "10.0.0.1", 8080, maxconn=SHARE)


def wanted(*members: Member) -> Membership:
    return Membership(7, members)


def seen(*servers: Server, digests: tuple[str, ...] = ()) -> Observed:
    return Observed("1@1", servers, frozenset(digests) | {server.name for server in servers if server.digest})


def verbs(commands: list[RuntimeCommand]) -> list[Verb]:
    return [command.verb for command in commands]


JOIN = [Verb.ADD, Verb.ENABLE_HEALTH, Verb.READY]

TABLE = {
    "nothing to do": (wanted(ACTIVE), seen(SERVING), []),
    "a new member joins": (wanted(ACTIVE), seen(), JOIN),
    "a new member with a digest": (wanted(replace(ACTIVE, digest=NEW_DIGEST)), seen(), [Verb.ADD_DIGEST, *JOIN]),
    "a map entry of an earlier life is replaced before the server is added": (
        wanted(replace(ACTIVE, digest=NEW_DIGEST)),
        seen(digests=("a",)),
        [Verb.SET_DIGEST, *JOIN],
    ),
    "a member added but not checked gets no weight": (wanted(ACTIVE), seen(ADDED), []),
    "a first passed check brings the weight": (
        wanted(ACTIVE),
        seen(replace(ADDED, check_passed=True)),
        [Verb.WEIGHT],
    ),
    "an add that was cut short is completed": (
        wanted(ACTIVE),
        seen(replace(ADDED, maintenance=True, check_enabled=False)),
        [Verb.ENABLE_HEALTH, Verb.READY],
    ),
    "a member that is down is left alone": (
        wanted(ACTIVE),
        seen(replace(SERVING, running=False, check_passed=False)),
        [],
    ),
    "a canary's weight changes": (wanted(replace(ACTIVE, weight=5)), seen(SERVING), [Verb.WEIGHT]),
    "the share of this gateway changed": (wanted(ACTIVE), seen(replace(SERVING, maxconn=9)), [Verb.MAXCONN]),
    "a member's digest changed": (
        wanted(replace(ACTIVE, digest=NEW_DIGEST)),
        seen(replace(SERVING, digest=OLD_DIGEST)),
        [Verb.SET_DIGEST],
    ),
    "a canary that becomes stable serves on where it is until it is up": (
        wanted(ACTIVE),
        seen(replace(SERVING, backend="canary")),
        [Verb.ADD_KNOB, *JOIN],
    ),
    "a canary that has become stable leaves its old place": (
        wanted(ACTIVE),
        seen(replace(SERVING, backend="canary"), SERVING),
        [Verb.DRAIN],
    ),
    "the canary's share changes": (
        replace(wanted(ACTIVE), split=Split(weight=500)),
        replace(seen(SERVING), knobs={"weight": "100", "header": "X-Try"}),
        [Verb.SET_KNOB, Verb.DROP_KNOB],
    ),
    "a sample is compared": (
        replace(wanted(ACTIVE), split=Split(shadow=100)),
        seen(SERVING),
        [Verb.ADD_KNOB],
    ),
    "a member drains": (wanted(DRAINING), seen(SERVING), [Verb.DRAIN]),
    "a draining member is kept while it is listed": (wanted(DRAINING), seen(replace(SERVING, drain=True)), []),
    "a draining member that HAProxy forgot is not added": (wanted(DRAINING), seen(), []),
    "the operator takes a drain back": (wanted(ACTIVE), seen(replace(SERVING, drain=True)), [Verb.READY]),
    "an absent member is drained first": (wanted(), seen(SERVING), [Verb.DRAIN]),
    "an absent member in use is waited for": (wanted(), seen(replace(SERVING, drain=True, in_use=1)), []),
    "an absent idle member is deleted": (
        wanted(),
        seen(replace(SERVING, drain=True)),
        [Verb.MAINTENANCE, Verb.DELETE],
    ),
    "a refused deletion is tried again": (wanted(), seen(replace(SERVING, maintenance=True)), [Verb.DELETE]),
    "the digest of a deleted server is dropped": (wanted(), seen(digests=("a",)), [Verb.DROP_DIGEST]),
    "a name at a new address leaves before it joins": (
        wanted(replace(ACTIVE, address="10.0.0.9")),
        seen(SERVING),
        [Verb.DRAIN],
    ),
    "a member back while it is being removed starts from the beginning": (
        wanted(ACTIVE),
        seen(replace(SERVING, maintenance=True)),
        [Verb.DELETE],
    ),
    "a stand-in serves until the first real member is up": (wanted(ACTIVE), seen(STAND_IN, ADDED), []),
    "a stand-in leaves when a real member is up": (wanted(ACTIVE), seen(STAND_IN, SERVING), [Verb.DRAIN]),
    "a replica that no longer speaks gRPC leaves that side only": (
        wanted(ACTIVE),
        seen(SERVING, SPEAKING),
        [Verb.DRAIN],
    ),
    "a stand-in of gRPC serves until the first real member is up there": (
        wanted(replace(ACTIVE, grpc_port=8001)),
        seen(SERVING, replace(STAND_IN, backend="replicas-grpc"), replace(SPEAKING, weight=0, check_passed=False)),
        [],
    ),
    "a stand-in leaves when nobody is wanted": (wanted(), seen(STAND_IN), [Verb.DRAIN]),
}


@pytest.mark.parametrize(("want", "observed", "expected"), TABLE.values(), ids=TABLE.keys())
def test_plan(want: Membership, observed: Observed, expected: list[Verb]) -> None:
    assert verbs(plan(want, observed, SHARE)) == expected


def test_an_added_server_gets_its_address_and_the_share_of_this_gateway() -> None:
    added = plan(wanted(replace(ACTIVE, address="fd00::1")), seen(), SHARE)[0]
    assert added == RuntimeCommand(Verb.ADD, "a", text="[fd00::1]:8080", number=SHARE)


def test_a_replica_that_speaks_grpc_is_two_servers_with_one_health_check_and_one_digest() -> None:
    member = replace(ACTIVE, grpc_port=8001, digest=NEW_DIGEST)
    commands = plan(wanted(member), seen(), SHARE)
    assert verbs(commands) == [Verb.ADD_DIGEST, *JOIN, Verb.ADD_GRPC, *JOIN[1:]]
    assert commands[4] == RuntimeCommand(
        Verb.ADD_GRPC, "a", text="10.0.0.1:8001 port 8080", number=SHARE, backend="replicas-grpc"
    )
    both = seen(replace(SERVING, digest=NEW_DIGEST), replace(SPEAKING, digest=NEW_DIGEST))
    assert plan(wanted(member), both, SHARE) == []


@pytest.mark.parametrize(
    ("want", "observed", "expected"),
    [
        (wanted(ACTIVE), seen(SERVING), True),
        (wanted(ACTIVE), seen(), False),
        (wanted(ACTIVE), seen(ADDED), True),
        (wanted(ACTIVE), seen(replace(ADDED, check_passed=True)), False),
        (wanted(ACTIVE), seen(replace(SERVING, drain=True)), False),
        (wanted(DRAINING), seen(SERVING), False),
        (wanted(DRAINING), seen(replace(SERVING, drain=True, in_use=3)), True),
        (wanted(), seen(SERVING), False),
        (wanted(), seen(replace(SERVING, drain=True, in_use=3)), True),
        (wanted(), seen(), True),
        (wanted(ACTIVE), seen(replace(SERVING, backend="canary")), False),
        (wanted(ACTIVE), seen(SERVING, replace(SERVING, backend="canary", drain=True)), True),
        (replace(wanted(ACTIVE), split=Split(weight=5)), seen(SERVING), False),
        (wanted(ACTIVE), replace(seen(SERVING), knobs={"retry": "4"}), True),
        (wanted(replace(ACTIVE, grpc_port=8001)), seen(SERVING), False),
        (wanted(replace(ACTIVE, grpc_port=8001)), seen(SERVING, SPEAKING), True),
    ],
)
def test_a_generation_is_applied_when_routing_follows_it(want: Membership, observed: Observed, expected: bool) -> None:
    assert is_applied(want, observed) is expected
