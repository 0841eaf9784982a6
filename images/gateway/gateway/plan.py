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
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway import BACKEND
from gateway.members import STAND_IN_PREFIX, Member, Membership
from gateway.observed import Observed, Server
from gateway.split import SPLIT_KNOBS


class Verb(StrEnum):
    """One command of HAProxy's runtime socket each."""

    ADD_DIGEST = "add digest"  # text: the digest
    SET_DIGEST = "set digest"  # text: the digest
    DROP_DIGEST = "drop digest"
    ADD = "add"  # text: address:port; number: maxconn. In maintenance, weight 0, checks off
    ADD_GRPC = "add grpc"  # text: address:port, and the port of its health check; the rest as above
    ENABLE_HEALTH = "enable health"
    READY = "ready"
    DRAIN = "drain"
    MAINTENANCE = "maintenance"
    WEIGHT = "weight"  # number
    MAXCONN = "maxconn"  # number
    DELETE = "delete"
    ADD_KNOB = "add knob"  # text: its value
    SET_KNOB = "set knob"  # text: its value
    DROP_KNOB = "drop knob"


@dataclass(frozen=True)
class RuntimeCommand:
    """A change of one server, or of the knob of that name."""

    verb: Verb
    server: str
    text: str = ""
    number: int = 0
    backend: str = BACKEND


def plan(
    wanted: Membership, observed: Observed, maxconn: int, measured: Mapping[str, str] | None = None
) -> list[RuntimeCommand]:
    """Commands, in order. Empty when there is nothing to do.

    maxconn is the share of this gateway for each server; measured are knobs that the sidecar itself sets.
    """
    members = _by_side(wanted)
    moving = {"may": "1"} if _moves(wanted, observed) else {}
    commands = _knobs({**wanted.split.knobs(), **(measured or {}), **moving}, observed)
    for server in observed.servers:
        member = members.get((server.grpc, server.name))
        if member is None and _stands_in(server, wanted, observed):
            continue
        if member is None or not _same_address(member, server):
            commands += _leave(server)
        elif member.active and member.backend != server.backend and _only_here(member, observed):
            continue
        elif member.backend != server.backend:
            commands += _leave(server)
        elif not member.active:
            commands += _drain(server)
        else:
            commands += _serve(member, server, maxconn, observed)
    existing = observed.by_place()
    for member in members.values():
        if member.active and (member.backend, member.name) not in existing:
            commands += _join(member, maxconn, observed)
    kept = {server.name for server in observed.servers} | {member.name for member in wanted.members if member.active}
    commands += [RuntimeCommand(Verb.DROP_DIGEST, name) for name in sorted(observed.digests - kept)]
    return list(dict.fromkeys(commands))  # both sides of a replica ask for its digest


def _by_side(wanted: Membership) -> Mapping[tuple[bool, str], Member]:
    """Wanted servers by name, those of gRPC apart."""
    return {(one.grpc, one.name): one for one in wanted.servers()}


def _moves(wanted: Membership, observed: Observed) -> bool:
    """Whether a canary that becomes stable is not up as such yet: meanwhile it may stand in where it is."""
    return any(
        one.active
        and not one.canary
        and (replace(one, canary=True).backend, one.name) in observed.by_place()
        and _only_here(one, observed)
        for one in wanted.servers()
    )


def _knobs(wanted: Mapping[str, str], observed: Observed) -> list[RuntimeCommand]:
    there = observed.knobs
    commands = [
        RuntimeCommand(Verb.SET_KNOB if name in there else Verb.ADD_KNOB, name, text=value)
        for name, value in wanted.items()
        if there.get(name) != value
    ]
    commands += [RuntimeCommand(Verb.DROP_KNOB, name) for name in sorted(there.keys() - wanted.keys())]
    return commands


def is_applied(wanted: Membership, observed: Observed) -> bool:
    """Whether HAProxy routes as wanted: every active member may get requests as soon as it is healthy, no other may.

    A new member whose first check is still out counts as applied; its state is reported as DOWN.
    """
    members, existing = _by_side(wanted), observed.by_place()
    knobs = wanted.split.knobs()
    if any(observed.knobs.get(name, "") != knobs.get(name, "") for name in SPLIT_KNOBS):
        return False
    for (backend, name), server in existing.items():
        member = members.get((server.grpc, name))
        stays = member is not None and member.active and member.backend == backend and _same_address(member, server)
        if not stays and not (server.drain or server.maintenance):
            return False
    return all(_routes(member, existing) for member in members.values() if member.active)


def _routes(member: Member, existing: Mapping[tuple[str, str], Server]) -> bool:
    server = existing.get((member.backend, member.name))
    if server is None or not _same_address(member, server) or server.drain or server.maintenance:
        return False
    settled = server.weight == member.weight or not server.check_passed
    return settled and server.check_enabled and server.digest == member.digest


def _only_here(member: Member, observed: Observed) -> bool:
    """Whether a replica that changes its backend is not yet up in the new one: until then it serves in the old one."""
    there = observed.by_place().get((member.backend, member.name))
    return member.weight > 0 and (there is None or not there.up)


def _join(member: Member, maxconn: int, observed: Observed) -> Iterator[RuntimeCommand]:
    yield from _expect_digest(member, observed)
    host = f"[{member.address}]" if ":" in member.address else member.address
    name, backend = member.name, member.backend
    verb, place = Verb.ADD, f"{host}:{member.port}"
    if member.grpc:
        verb, place = Verb.ADD_GRPC, f"{place} port {member.check_port}"
    yield RuntimeCommand(verb, name, text=place, number=maxconn, backend=backend)
    yield RuntimeCommand(Verb.ENABLE_HEALTH, name, backend=backend)
    yield RuntimeCommand(Verb.READY, name, backend=backend)


def _expect_digest(member: Member, observed: Observed) -> Iterator[RuntimeCommand]:
    known = member.name in observed.digests
    if member.digest:
        yield RuntimeCommand(Verb.SET_DIGEST if known else Verb.ADD_DIGEST, member.name, text=member.digest)
    elif known:
        yield RuntimeCommand(Verb.DROP_DIGEST, member.name)


def _serve(member: Member, server: Server, maxconn: int, observed: Observed) -> Iterator[RuntimeCommand]:
    name, backend = server.name, server.backend
    if server.maintenance and server.check_passed:
        # It was on its way out. Its last check says nothing about now, so it starts again from the beginning.
        yield RuntimeCommand(Verb.DELETE, name, backend=backend)
        return
    if server.digest != member.digest:
        yield from _expect_digest(member, observed)
    if not server.check_enabled:
        yield RuntimeCommand(Verb.ENABLE_HEALTH, name, backend=backend)
    if server.maxconn != maxconn:
        yield RuntimeCommand(Verb.MAXCONN, name, number=maxconn, backend=backend)
    if server.check_passed and server.check_enabled and server.weight != member.weight:
        yield RuntimeCommand(Verb.WEIGHT, name, number=member.weight, backend=backend)
    if server.maintenance or server.drain:
        yield RuntimeCommand(Verb.READY, name, backend=backend)


def _drain(server: Server) -> Iterator[RuntimeCommand]:
    if not (server.drain or server.maintenance):
        yield RuntimeCommand(Verb.DRAIN, server.name, backend=server.backend)


def _leave(server: Server) -> Iterator[RuntimeCommand]:
    yield from _drain(server)
    if (server.drain or server.maintenance) and server.in_use == 0:
        if not server.maintenance:
            yield RuntimeCommand(Verb.MAINTENANCE, server.name, backend=server.backend)
        yield RuntimeCommand(Verb.DELETE, server.name, backend=server.backend)


def _stands_in(server: Server, wanted: Membership, observed: Observed) -> bool:
    """Whether a server known from DNS must serve on until the first real member does."""
    if not server.name.startswith(STAND_IN_PREFIX) or server.drain or server.maintenance:
        return False
    real = {member.name for member in wanted.members if member.active and member.weight}
    return bool(real) and not any(
        other.up for other in observed.servers if other.name in real and other.grpc == server.grpc
    )


def _same_address(member: Member, server: Server) -> bool:
    return (member.address, member.port) == (server.address, server.port)
