"""Nothing from the operator's reply reaches HAProxy's socket unchecked."""

from pathlib import Path
from typing import Any

import pytest
from gateway import store
from gateway.answers import Tolerance
from gateway.fallback import stand_in
from gateway.members import InvalidMembership, Member, Membership, Wish, parse_membership
from gateway.split import Split

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
MEMBER = {"name": "pod-a", "address": "10.0.0.1", "port": 8080, "state": "active", "weight": 5}


def reply(*members: object, **changes: Any) -> dict[str, Any]:
    return {"generation": 3, "digest": DIGEST, "members": list(members)} | changes


def test_a_reply_is_understood() -> None:
    assert parse_membership(reply(MEMBER, MEMBER | {"name": "b", "state": "drain"})) == Membership(
        3,
        (
            Member("pod-a", "10.0.0.1", 8080, Wish.ACTIVE, 5, DIGEST),
            Member("b", "10.0.0.1", 8080, Wish.DRAIN, 5, DIGEST),
        ),
    )


def test_a_canary_and_its_share_are_understood_and_kept() -> None:
    header = {"name": "X-Try", "value": "new"}
    given = reply(
        MEMBER | {"canary": True, "revision": "v2"},
        split={"weight": 500, "header": header, "shadow": 10, "tolerance": {"relative": 0.5, "absolute": 0}},
        startSeconds=40,
    )
    found = parse_membership(given)
    assert found.members == (Member("pod-a", "10.0.0.1", 8080, Wish.ACTIVE, 5, DIGEST, "v2", canary=True),)
    assert (found.split, found.start_seconds) == (Split(500, 10, "X-Try", "new", Tolerance(0.5, 0.0)), 40)
    assert parse_membership(found.as_json()) == found


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "the reply is a list; expected an object"),
        (reply(generation=-1), "generation is -1"),
        (reply(generation=True), "generation is True"),
        (reply(members={}), r"members is \{\}; expected a list"),
        (reply(7), "a member is 7; expected an object"),
        (reply(MEMBER, MEMBER), "members holds a name twice"),
        (reply(MEMBER | {"name": "a; shutdown sessions"}), "a member's name is 'a; shutdown sessions'"),
        (reply(MEMBER | {"name": "a\nb"}), "a member's name is"),
        (reply(MEMBER | {"name": "a\n"}), "a member's name is"),
        (reply(MEMBER | {"address": "example.org"}), "member pod-a: 'example.org' does not appear to be"),
        (reply(MEMBER | {"port": 0}), "port is 0; expected a whole number, 1 to 65535"),
        (reply(MEMBER | {"weight": 257}), "weight is 257; expected a whole number, 0 to 256"),
        (reply(MEMBER | {"revision": "a b"}), "member pod-a: revision is 'a b'"),
        (reply(MEMBER | {"canary": 1}), "member pod-a: canary is 1; expected true or false"),
        (reply(MEMBER, split=[]), r"split is \[\]; expected an object"),
        (reply(MEMBER, split={"weight": 10_001}), "split.weight is 10001; expected a whole number, 0 to 10000"),
        (reply(MEMBER, split={"tolerance": 1}), "split.tolerance is 1; expected an object or null"),
        (
            reply(MEMBER, split={"tolerance": {"relative": -1, "absolute": 0}}),
            "split.tolerance.relative is -1; expected",
        ),
        (reply(MEMBER, split={"tolerance": {"relative": 0}}), "split.tolerance.absolute is None; expected a number"),
        (reply(MEMBER, split={"header": {"name": "X Y", "value": "a"}}), "split.header.name is 'X Y'"),
        (reply(MEMBER, split={"header": {"name": "X", "value": "a\nb"}}), r"split.header.value is 'a\\nb'"),
        (reply(MEMBER, startSeconds=-1), "startSeconds is -1"),
        (reply(MEMBER | {"state": "gone"}), "'gone' is not a valid Wish"),
        (reply(MEMBER, digest="sha256:short"), "the digest of the reply is 'sha256:short'"),
    ],
)
def test_a_bad_reply_is_refused_whole(bad: object, message: str) -> None:
    with pytest.raises(InvalidMembership, match=message):
        parse_membership(bad)


def test_a_new_model_does_not_change_what_old_pods_must_prove() -> None:
    before = parse_membership(reply(MEMBER))
    after = parse_membership(reply(MEMBER, MEMBER | {"name": "new"}, digest=OTHER), before)
    assert [member.digest for member in after.members] == [DIGEST, OTHER]


def test_a_members_own_digest_wins() -> None:
    before = parse_membership(reply(MEMBER))
    assert parse_membership(reply(MEMBER | {"digest": OTHER}), before).members[0].digest == OTHER


def test_a_name_at_a_new_address_is_a_new_pod() -> None:
    before = parse_membership(reply(MEMBER))
    assert parse_membership(reply(MEMBER | {"address": "10.0.0.2"}, digest=OTHER), before).members[0].digest == OTHER


def test_a_gateway_without_grpc_leaves_that_side_of_its_members_alone() -> None:
    membership = parse_membership(reply(MEMBER | {"grpcPort": 8001}))
    assert [(one.backend, one.port, one.check_port) for one in membership.servers()] == [
        ("replicas", 8080, 0),
        ("replicas-grpc", 8001, 8080),
    ]
    assert [one.backend for one in membership.without_grpc().servers()] == ["replicas"]


def test_what_was_saved_is_read_back(tmp_path: Path) -> None:
    membership = parse_membership(reply(MEMBER | {"grpcPort": 8001}, MEMBER | {"name": "b", "state": "drain"}))
    store.save(tmp_path / "members.json", membership)
    assert store.load(tmp_path / "members.json") == membership


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]"])
def test_an_unreadable_file_is_as_good_as_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "members.json").write_bytes(content)
    assert store.load(tmp_path / "members.json") is None


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1"])
def test_a_stand_in_has_a_name_that_a_reply_could_carry(address: str) -> None:
    member = stand_in(address, 8080)
    assert parse_membership(reply(MEMBER | {"name": member.name})).members[0].name == member.name
