"""Any sequence of wishes and accidents: what always holds, and that it ends where it should."""

from dataclasses import dataclass, field, replace

from gateway import GRPC_BACKENDS
from gateway.members import Member, Membership, Wish
from gateway.observed import Observed, Server
from gateway.plan import RuntimeCommand, Verb, is_applied, plan
from gateway.split import Split
from hypothesis import example, given, settings
from hypothesis import strategies as st

SHARE = 4
NAMES = ("a", "b", "dns_c")
DIGESTS = ("", "sha256:" + "a" * 64, "sha256:" + "b" * 64)


@dataclass
class FakeHaproxy:
    """As much of HAProxy 2.6 as the plan relies on, with refusals where the real one refuses."""

    servers: dict[tuple[str, str], Server] = field(default_factory=dict)  # by backend and name
    digests: dict[str, str] = field(default_factory=dict)
    knobs: dict[str, str] = field(default_factory=dict)

    def observe(self) -> Observed:
        servers = tuple(replace(one, digest=self.digests.get(one.name, "")) for one in self.servers.values())
        return Observed("1@1", servers, frozenset(self.digests), knobs=dict(self.knobs))

    def apply(self, command: RuntimeCommand) -> None:
        name, place = command.server, (command.backend, command.server)
        server = self.servers.get(place)
        match command.verb:
            case Verb.ADD_DIGEST:
                assert name not in self.digests, "a second entry of the same key would shadow the first"
                self.digests[name] = command.text
            case Verb.SET_DIGEST:
                assert name in self.digests
                self.digests[name] = command.text
            case Verb.DROP_DIGEST:
                self.digests.pop(name, None)
            case Verb.ADD_KNOB:
                assert name not in self.knobs
                self.knobs[name] = command.text
            case Verb.SET_KNOB:
                assert name in self.knobs
                self.knobs[name] = command.text
            case Verb.DROP_KNOB:
                del self.knobs[name]
            case Verb.ADD | Verb.ADD_GRPC:
                assert server is None, "HAProxy refuses a name it has"
                address, _, port = command.text.partition(" ")[0].rpartition(":")
                self.servers[place] = Server(
                    name, address, int(port), maintenance=True, check_enabled=False, check_passed=False, weight=0,
                    maxconn=command.number, backend=command.backend,
                )  # fmt: skip
            case Verb.DELETE:
                assert server is not None
                if server.maintenance and server.in_use == 0:
                    del self.servers[place]
            case _:
                assert server is not None
                self.servers[place] = _changed(server, command)

    def accident(self, kind: str, name: str) -> None:
        if kind == "restart":
            self.servers, self.digests, self.knobs = {}, {}, {}
        for place, server in list(self.servers.items()):
            if place[1] == name:
                self.servers[place] = _struck(server, kind)


def _struck(server: Server, kind: str) -> Server:
    if kind == "check passes" and server.check_enabled and not server.maintenance:
        return replace(server, check_passed=True, running=True)
    if kind == "check fails" and server.check_enabled and not server.maintenance:
        return replace(server, check_passed=False, running=False)
    if kind == "request" and server.up:
        return replace(server, in_use=server.in_use + 1)
    if kind == "answer" and server.in_use:
        return replace(server, in_use=server.in_use - 1)
    return server


def _changed(server: Server, command: RuntimeCommand) -> Server:
    match command.verb:
        case Verb.ENABLE_HEALTH:
            return replace(server, check_enabled=True)
        case Verb.READY:
            return replace(server, maintenance=False, drain=False)
        case Verb.DRAIN:
            return replace(server, drain=True)
        case Verb.MAINTENANCE:
            return replace(server, maintenance=True)
        case Verb.WEIGHT:
            return replace(server, weight=command.number)
        case _:
            return replace(server, maxconn=command.number)


members = st.lists(
    st.builds(
        Member,
        name=st.sampled_from(NAMES),
        address=st.sampled_from(["10.0.0.1", "10.0.0.2"]),
        port=st.just(8080),
        wish=st.sampled_from(Wish),
        weight=st.sampled_from([0, 1, 100]),
        digest=st.sampled_from(DIGESTS),
        canary=st.booleans(),
        grpc_port=st.sampled_from([0, 8001]),
    ),
    max_size=3,
    unique_by=lambda member: member.name,
)
splits = st.builds(
    Split, weight=st.sampled_from([0, 500]), shadow=st.sampled_from([0, 100]), header=st.sampled_from(["", "X-Try"]),
    value=st.just("new"),
)  # fmt: skip
steps = st.lists(
    st.one_of(
        st.builds(lambda found, split: Membership(1, tuple(found), split), members, splits),
        st.tuples(
            st.sampled_from(["check passes", "check fails", "request", "answer", "restart"]), st.sampled_from(NAMES)
        ),
        st.integers(0, 4),  # one round of the sidecar that dies after so many commands
    ),
    max_size=25,
)


def serves(member: Member | None, server: Server) -> bool:
    where = (server.address, server.port, server.backend)
    return member is not None and member.active and (member.address, member.port, member.backend) == where


def check_commands(wanted: Membership, observed: Observed, commands: list[RuntimeCommand]) -> None:
    by_side, existing = {(one.grpc, one.name): one for one in wanted.servers()}, observed.by_place()
    for command in commands:
        if command.verb in (Verb.ADD_KNOB, Verb.SET_KNOB, Verb.DROP_KNOB):
            continue
        server = existing.get((command.backend, command.server))
        member = by_side.get((command.backend in GRPC_BACKENDS, command.server))
        if server is not None and serves(member, server) and not server.maintenance:
            assert command.verb not in (Verb.DRAIN, Verb.MAINTENANCE, Verb.DELETE), "an active member was dropped"
        if member is None or not member.active:
            assert command.verb not in (Verb.READY, Verb.ADD, Verb.ADD_GRPC, Verb.WEIGHT), (
                "a drained member was resurrected"
            )
        if command.verb is Verb.DELETE:
            assert server is not None
            assert server.drain or server.maintenance, "a server was deleted that could still get requests"
            assert server.in_use == 0 or serves(member, server), "a server was deleted in use"
        if command.verb is Verb.WEIGHT and command.number:
            assert server is not None
            assert server.check_passed, "a server got weight before a check of its own passed"


@given(steps, members, splits)
@example([Membership(1, (Member("dns_c", "10.0.0.2", 8080),)), 3], [Member("dns_c", "10.0.0.1", 8080)], Split())
@example(
    [Membership(1, (Member("a", "10.0.0.1", 8080, canary=True),)), 4, ("check passes", "a"), 4],
    [Member("a", "10.0.0.1", 8080)],
    Split(),
)
@example([], [Member("a", "10.0.0.1", 8080, digest=DIGESTS[1], grpc_port=8001)], Split())
@settings(max_examples=300, deadline=None)
def test_any_history_keeps_the_rules_and_converges(
    history: list[Membership | tuple[str, str] | int], last: list[Member], split: Split
) -> None:
    haproxy, wanted = FakeHaproxy(), Membership(1, ())
    for step in history:
        if isinstance(step, Membership):
            wanted = step
        elif isinstance(step, tuple):
            haproxy.accident(*step)
        else:
            observed = haproxy.observe()
            commands = plan(wanted, observed, SHARE)
            check_commands(wanted, observed, commands)
            for command in commands[:step]:
                haproxy.apply(command)
    wanted = Membership(2, tuple(last), split)
    for _ in range(12):  # calm: every request is answered, every check that is due passes
        for place, server in haproxy.servers.items():
            haproxy.servers[place] = _struck(replace(server, in_use=0), "check passes")
        observed = haproxy.observe()
        commands = plan(wanted, observed, SHARE)
        check_commands(wanted, observed, commands)
        for command in commands:
            haproxy.apply(command)
    observed = haproxy.observe()
    assert plan(wanted, observed, SHARE) == []
    assert is_applied(wanted, observed)
    assert {(one.backend, one.name) for one in observed.servers if one.up} == {
        (member.backend, member.name) for member in wanted.servers() if member.active and member.weight
    }
    active = {member.name for member in last if member.active}
    up = {server.name for server in observed.servers if server.up}
    assert up == {member.name for member in last if member.active and member.weight}
    assert active <= set(observed.by_name())
    assert set(observed.by_name()) <= {member.name for member in last}


@given(members, st.sets(st.sampled_from(NAMES)))
@settings(max_examples=100, deadline=None)
def test_planning_twice_on_the_same_state_gives_the_same_commands(found: list[Member], there: set[str]) -> None:
    observed = Observed("1@1", tuple(Server(name, "10.0.0.1", 8080) for name in sorted(there)), frozenset())
    wanted = Membership(1, tuple(found))
    assert plan(wanted, observed, SHARE) == plan(wanted, observed, SHARE)
