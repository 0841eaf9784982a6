"""The commands that lead HAProxy from what it does to what the operator wants. Pure.

Called again and again with what was really observed, so it needs no memory: a restart of HAProxy is just a state with
no servers, a command that failed is a difference that is still there.

What holds, and is tested as properties:
- A server gets its first request only after a health check of its own has passed: it is added with weight 0.
- An active member that HAProxy has, at the right address, is never drained, disabled or deleted.
- A member that should drain or go never becomes ready again.
- A server is deleted only when it was seen draining with nothing in use.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.members import STAND_IN_PREFIX, Member, Membership
from gateway.observed import Observed, Server


class Verb(StrEnum):
    """One command of HAProxy's runtime socket each."""

    ADD_DIGEST = "add digest"  # text: the digest
    SET_DIGEST = "set digest"  # text: the digest
    DROP_DIGEST = "drop digest"
    ADD = "add"  # text: address:port; number: maxconn. In maintenance, weight 0, checks off
    ENABLE_HEALTH = "enable health"
    READY = "ready"
    DRAIN = "drain"
    MAINTENANCE = "maintenance"
    WEIGHT = "weight"  # number
    MAXCONN = "maxconn"  # number
    DELETE = "delete"


@dataclass(frozen=True)
class RuntimeCommand:
    """A change of one server."""

    verb: Verb
    server: str
    text: str = ""
    number: int = 0


def plan(wanted: Membership, observed: Observed, maxconn: int) -> list[RuntimeCommand]:
    """Commands, in order. maxconn is the share of this gateway for each server. Empty when there is nothing to do."""
    members = wanted.by_name()
    commands: list[RuntimeCommand] = []
    for server in observed.servers:
        member = members.get(server.name)
        if member is None and _stands_in(server, wanted, observed):
            continue
        if member is None or not _same_address(member, server):
            commands += _leave(server)
        elif not member.active:
            commands += _drain(server)
        else:
            commands += _serve(member, server, maxconn, observed)
    existing = observed.by_name()
    for member in wanted.members:
        if member.active and member.name not in existing:
            commands += _join(member, maxconn, observed)
    kept = existing.keys() | {member.name for member in wanted.members if member.active}
    commands += [RuntimeCommand(Verb.DROP_DIGEST, name) for name in sorted(observed.digests - kept)]
    return commands


def is_applied(wanted: Membership, observed: Observed) -> bool:
    """Whether HAProxy routes as wanted: every active member may get requests as soon as it is healthy, no other may.

    A new member whose first check is still out counts as applied; its state is reported as DOWN.
    """
    members, existing = wanted.by_name(), observed.by_name()
    for name, server in existing.items():
        member = members.get(name)
        stays = member is not None and member.active and _same_address(member, server)
        if not stays and not (server.drain or server.maintenance):
            return False
    return all(_routes(member, existing) for member in wanted.members if member.active)


def _routes(member: Member, existing: Mapping[str, Server]) -> bool:
    server = existing.get(member.name)
    if server is None or not _same_address(member, server) or server.drain or server.maintenance:
        return False
    settled = server.weight == member.weight or not server.check_passed
    return settled and server.check_enabled and server.digest == member.digest


def _join(member: Member, maxconn: int, observed: Observed) -> Iterator[RuntimeCommand]:
    yield from _expect_digest(member, observed)
    host = f"[{member.address}]" if ":" in member.address else member.address
    yield RuntimeCommand(Verb.ADD, member.name, text=f"{host}:{member.port}", number=maxconn)
    yield RuntimeCommand(Verb.ENABLE_HEALTH, member.name)
    yield RuntimeCommand(Verb.READY, member.name)


def _expect_digest(member: Member, observed: Observed) -> Iterator[RuntimeCommand]:
    known = member.name in observed.digests
    if member.digest:
        yield RuntimeCommand(Verb.SET_DIGEST if known else Verb.ADD_DIGEST, member.name, text=member.digest)
    elif known:
        yield RuntimeCommand(Verb.DROP_DIGEST, member.name)


def _serve(member: Member, server: Server, maxconn: int, observed: Observed) -> Iterator[RuntimeCommand]:
    name = server.name
    if server.maintenance and server.check_passed:
        # It was on its way out. Its last check says nothing about now, so it starts again from the beginning.
        yield RuntimeCommand(Verb.DELETE, name)
        return
    if server.digest != member.digest:
        yield from _expect_digest(member, observed)
    if not server.check_enabled:
        yield RuntimeCommand(Verb.ENABLE_HEALTH, name)
    if server.maxconn != maxconn:
        yield RuntimeCommand(Verb.MAXCONN, name, number=maxconn)
    if server.check_passed and server.check_enabled and server.weight != member.weight:
        yield RuntimeCommand(Verb.WEIGHT, name, number=member.weight)
    if server.maintenance or server.drain:
        yield RuntimeCommand(Verb.READY, name)


def _drain(server: Server) -> Iterator[RuntimeCommand]:
    if not (server.drain or server.maintenance):
        yield RuntimeCommand(Verb.DRAIN, server.name)


def _leave(server: Server) -> Iterator[RuntimeCommand]:
    yield from _drain(server)
    if (server.drain or server.maintenance) and server.in_use == 0:
        if not server.maintenance:
            yield RuntimeCommand(Verb.MAINTENANCE, server.name)
        yield RuntimeCommand(Verb.DELETE, server.name)


def _stands_in(server: Server, wanted: Membership, observed: Observed) -> bool:
    """Whether a server known from DNS must serve on until the first real member does."""
    if not server.name.startswith(STAND_IN_PREFIX) or server.drain or server.maintenance:
        return False
    real = {member.name for member in wanted.members if member.active and member.weight}
    return bool(real) and not any(other.up for other in observed.servers if other.name in real)


def _same_address(member: Member, server: Server) -> bool:
    return (member.address, member.port) == (server.address, server.port)
