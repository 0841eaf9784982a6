"""Any sequence of wishes and accidents: what always holds, and that it ends where it should."""

from dataclasses import dataclass, field, replace

from gateway.members import Member, Membership, Wish
from gateway.observed import Observed, Server
from gateway.plan import RuntimeCommand, Verb, is_applied, plan
from hypothesis import example, given, settings
from hypothesis import strategies as st

SHARE = 4
NAMES = ("a", "b", "dns_c")
DIGESTS = ("", "sha256:" + "a" * 64, "sha256:" + "b" * 64)


@dataclass
class FakeHaproxy:
    """As much of HAProxy 2.6 as the plan relies on, with refusals where the real one refuses."""

    servers: dict[str, Server] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def observe(self) -> Observed:
        servers = tuple(replace(one, digest=self.digests.get(one.name, "")) for one in self.servers.values())
        return Observed("1@1", servers, frozenset(self.digests))

    def apply(self, command: RuntimeCommand) -> None:
        name, server = command.server, self.servers.get(command.server)
        match command.verb:
            case Verb.ADD_DIGEST:
                assert name not in self.digests, "a second entry of the same key would shadow the first"
                self.digests[name] = command.text
            case Verb.SET_DIGEST:
                assert name in self.digests
                self.digests[name] = command.text
            case Verb.DROP_DIGEST:
                self.digests.pop(name, None)
            case Verb.ADD:
                assert server is None, "HAProxy refuses a name it has"
                address, _, port = command.text.rpartition(":")
                self.servers[name] = Server(
                    name, address, int(port), maintenance=True, check_enabled=False, check_passed=False, weight=0,
                    maxconn=command.number,
                )  # fmt: skip
            case Verb.DELETE:
                assert server is not None
                if server.maintenance and server.in_use == 0:
                    del self.servers[name]
            case _:
                assert server is not None
                self.servers[name] = _changed(server, command)

    def accident(self, kind: str, name: str) -> None:
        if kind == "restart":
            self.servers, self.digests = {}, {}
        elif (server := self.servers.get(name)) is None:
            return
        elif kind == "check passes" and server.check_enabled and not server.maintenance:
            self.servers[name] = replace(server, check_passed=True, running=True)
        elif kind == "check fails" and server.check_enabled and not server.maintenance:
            self.servers[name] = replace(server, check_passed=False, running=False)
        elif kind == "request" and server.up:
            self.servers[name] = replace(server, in_use=server.in_use + 1)
        elif kind == "answer" and server.in_use:
            self.servers[name] = replace(server, in_use=server.in_use - 1)


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
    ),
    max_size=3,
    unique_by=lambda member: member.name,
)
steps = st.lists(
    st.one_of(
        members.map(lambda found: Membership(1, tuple(found))),
        st.tuples(
            st.sampled_from(["check passes", "check fails", "request", "answer", "restart"]), st.sampled_from(NAMES)
        ),
        st.integers(0, 4),  # one round of the sidecar that dies after so many commands
    ),
    max_size=25,
)


def serves(member: Member | None, server: Server) -> bool:
    return member is not None and member.active and (member.address, member.port) == (server.address, server.port)


def check_commands(wanted: Membership, observed: Observed, commands: list[RuntimeCommand]) -> None:
    by_name, existing = wanted.by_name(), observed.by_name()
    for command in commands:
        server, member = existing.get(command.server), by_name.get(command.server)
        if server is not None and serves(member, server) and not server.maintenance:
            assert command.verb not in (Verb.DRAIN, Verb.MAINTENANCE, Verb.DELETE), "an active member was dropped"
        if member is None or not member.active:
            assert command.verb not in (Verb.READY, Verb.ADD, Verb.WEIGHT), "a drained member was resurrected"
        if command.verb is Verb.DELETE:
            assert server is not None
            assert server.drain or server.maintenance, "a server was deleted that could still get requests"
            assert server.in_use == 0 or serves(member, server), "a server was deleted in use"
        if command.verb is Verb.WEIGHT and command.number:
            assert server is not None
            assert server.check_passed, "a server got weight before a check of its own passed"


@given(steps, members)
@example([Membership(1, (Member("dns_c", "10.0.0.2", 8080),)), 3], [Member("dns_c", "10.0.0.1", 8080)])  # moved
@settings(max_examples=300, deadline=None)
def test_any_history_keeps_the_rules_and_converges(
    history: list[Membership | tuple[str, str] | int], last: list[Member]
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
    wanted = Membership(2, tuple(last))
    for _ in range(12):  # calm: every request is answered, every check that is due passes
        for name, server in haproxy.servers.items():
            haproxy.servers[name] = replace(server, in_use=0)
            haproxy.accident("check passes", name)
        observed = haproxy.observe()
        commands = plan(wanted, observed, SHARE)
        check_commands(wanted, observed, commands)
        for command in commands:
            haproxy.apply(command)
    observed = haproxy.observe()
    assert plan(wanted, observed, SHARE) == []
    assert is_applied(wanted, observed)
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
