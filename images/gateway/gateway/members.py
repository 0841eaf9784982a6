"""Who should get traffic. Pure.

A reply becomes command lines on HAProxy's socket, so every field is checked here: nothing that reaches plan.py can
hold a space, a semicolon or a line break.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from gateway import BACKEND, CANARY, GRPC_BACKEND, GRPC_CANARY
from gateway.split import InvalidSplit, Split, parse_split

STAND_IN_PREFIX = "dns_"
"""Names of members that only DNS told us about; no pod can be called so."""

MAX_WEIGHT = 256
_MAX_PORT = 65535
_MOST_START = 86_400
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_REVISION = re.compile(r"[A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class InvalidMembership(ValueError):  # noqa: N818 - reads as the sentence it starts
    """A reply that must not be acted on; the message names the field."""


class Wish(StrEnum):
    """What the operator wants of a member. Absent from the list means: gone."""

    ACTIVE = "active"
    DRAIN = "drain"


@dataclass(frozen=True)
class Member:
    """A replica. digest is what its health check must prove, "" where that is not known.

    revision is the operator's word for what it runs; a canary gets the canary's share of traffic only.
    grpc_port is 0 where it does not speak gRPC. Where check_port is not 0, this is its gRPC side, whose health is asked there.
    """

    name: str
    address: str
    port: int
    wish: Wish = Wish.ACTIVE
    weight: int = 100
    digest: str = ""
    revision: str = ""
    canary: bool = False
    grpc_port: int = 0
    check_port: int = 0

    @property
    def backend(self) -> str:
        """HAProxy's backend that it belongs to."""
        if self.grpc:
            return GRPC_CANARY if self.canary else GRPC_BACKEND
        return CANARY if self.canary else BACKEND

    @property
    def grpc(self) -> bool:
        return self.check_port > 0

    def speaking_grpc(self) -> "Member":
        """The same replica as a server of gRPC."""
        return replace(self, port=self.grpc_port, check_port=self.port)

    @property
    def active(self) -> bool:
        return self.wish is Wish.ACTIVE


@dataclass(frozen=True)
class Membership:
    """One generation of the list. Names are unique. start_seconds is how long a first replica takes, 0: not known."""

    generation: int
    members: tuple[Member, ...]
    split: Split = field(default_factory=Split)
    start_seconds: int = 0

    def by_name(self) -> Mapping[str, Member]:
        return {member.name: member for member in self.members}

    def servers(self) -> tuple[Member, ...]:
        """The members as HAProxy has them: those that speak gRPC are a server of it besides."""
        return (*self.members, *(one.speaking_grpc() for one in self.members if one.grpc_port))

    def without_grpc(self) -> "Membership":
        """For a gateway that offers none."""
        return replace(self, members=tuple(replace(one, grpc_port=0) for one in self.members))

    def as_json(self) -> dict[str, Any]:
        """The same form as the operator's reply, with every member's own digest."""
        members = [
            {
                "name": one.name,
                "address": one.address,
                "port": one.port,
                "state": one.wish.value,
                "weight": one.weight,
                "digest": one.digest,
                "revision": one.revision,
                "canary": one.canary,
                "grpcPort": one.grpc_port,
            }
            for one in self.members
        ]
        return {
            "generation": self.generation,
            "members": members,
            "split": self.split.as_json(),
            "startSeconds": self.start_seconds,
        }


def parse_membership(reply: object, before: Membership | None = None) -> Membership:
    """Membership of a reply {"generation", "digest", "members", "split", "startSeconds"}. Raises InvalidMembership.

    A member may carry its own digest. Without one, a member we know (same name, address and port) keeps the digest it
    came with and a new one gets the reply's: a pod's model never changes, so a new model must not fail the old pods.
    """
    if not isinstance(reply, dict):
        raise InvalidMembership(f"the reply is a {type(reply).__name__}; expected an object")
    generation = _whole(reply, "generation", 0, None)
    common = _digest(reply, "the reply")
    entries = reply.get("members")
    if not isinstance(entries, list):
        raise InvalidMembership(f"members is {entries!r}; expected a list")
    known = {} if before is None else before.by_name()
    members = tuple(_member(entry, common, known) for entry in entries)
    names = [member.name for member in members]
    if len(set(names)) != len(names):
        raise InvalidMembership(f"members holds a name twice: {sorted(names)}")
    try:
        split = parse_split(reply.get("split"))
    except InvalidSplit as error:
        raise InvalidMembership(str(error)) from error
    start_seconds = _whole(reply, "startSeconds", 0, _MOST_START) if "startSeconds" in reply else 0
    return Membership(generation, members, split, start_seconds)


def _member(entry: object, common: str, known: Mapping[str, Member]) -> Member:
    if not isinstance(entry, dict):
        raise InvalidMembership(f"a member is {entry!r}; expected an object")
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidMembership(f"a member's name is {name!r}; expected a pod name")
    try:
        address = str(ipaddress.ip_address(str(entry.get("address"))))
        wish = Wish(str(entry.get("state", "active")))
    except ValueError as error:
        raise InvalidMembership(f"member {name}: {error}") from error
    port = _whole(entry, "port", 1, _MAX_PORT)
    weight = _whole(entry, "weight", 0, MAX_WEIGHT) if "weight" in entry else 100
    before = known.get(name)
    same = before is not None and (before.address, before.port) == (address, port)
    inherited = before.digest if same and before is not None and before.digest else common
    digest = _digest(entry, f"member {name}") or inherited
    revision, canary = entry.get("revision", ""), entry.get("canary", False)
    if not isinstance(revision, str) or not _REVISION.fullmatch(revision):
        raise InvalidMembership(f"member {name}: revision is {revision!r}; expected at most 63 letters, digits, . _ -")
    if not isinstance(canary, bool):
        raise InvalidMembership(f"member {name}: canary is {canary!r}; expected true or false")
    grpc_port = _whole(entry, "grpcPort", 0, _MAX_PORT) if "grpcPort" in entry else 0
    return Member(name, address, port, wish, weight, digest, revision, canary, grpc_port)


def _digest(fields: Mapping[str, Any], where: str) -> str:
    value = fields.get("digest")
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise InvalidMembership(f"the digest of {where} is {value!r}; expected sha256:<64 hexadecimal digits>")
    return value


def _whole(fields: Mapping[str, Any], key: str, least: int, most: int | None) -> int:
    value = fields.get(key)
    if type(value) is not int or value < least or (most is not None and value > most):
        span = f"at least {least}" if most is None else f"{least} to {most}"
        raise InvalidMembership(f"{key} is {value!r}; expected a whole number, {span}")
    return value
