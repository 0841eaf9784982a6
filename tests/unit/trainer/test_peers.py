"""Agents that talk: what pod 0's says to those that come back, and how long it waits for answers."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trainer.environment import Environment, read_environment
from trainer.peers import REPLACED, Coordinator, Peer
from trainer.progress import SIZE_FILE
from trainer.rounds import Member, Rounds


def environment(index: int, port: int, folder: Path) -> Environment:
    return read_environment(
        {
            "TRAINYARD_JOB_UID": "u",
            "TRAINYARD_CONTROL_PORT": str(port),
            "TRAINYARD_RUN_DIR": str(folder),
            "PET_NNODES": "2",
            "PET_NODE_RANK": str(index),
            "PET_MASTER_ADDR": "127.0.0.1",
        }
    )


class Pod0:
    """Pod 0's agent, which hears others at `port`."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("", 0))
            self.port = probe.getsockname()[1]
        self.hangs: list[str] = []
        self.connections: list[socket.socket] = []
        self.rounds = Rounds(2, left=3, patience=60)
        self.coordinator = Coordinator(environment(0, self.port, folder), self.rounds, self.hangs.append)
        self.rounds.joined(0, running=True, anew=False, now=0)

    def agent(self, start: str, host: str = "127.0.0.1") -> socket.socket:
        """A connection of pod 1's agent."""
        found = socket.create_connection((host, self.port), timeout=10)
        self.connections.append(found)
        say(found, uid="u", attempt=1, index=1, start=start, running=True)
        return found


def say(connection: socket.socket, **message: Any) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def hear(connection: socket.socket) -> list[str]:
    """Names in all messages until the other side closes."""
    with connection.makefile() as lines:
        return [name for line in lines for name in json.loads(line)]


def until(done: Callable[[], Any]) -> None:
    limit = time.monotonic() + 30
    while not done():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.fixture
def pod0(tmp_path: Path) -> Iterator[Pod0]:
    made = Pod0(tmp_path)
    yield made
    for each in made.connections:
        each.close()


@pytest.mark.fault(68)
def test_an_agent_in_whose_stead_another_came_is_told_so_and_ends_no_round(pod0: Pod0) -> None:
    old = pod0.agent("old")
    until(lambda: 1 in pod0.rounds.members)
    new = pod0.agent("new")
    until(lambda: pod0.rounds.failures)
    hear(old)
    say(new, idle=True)
    until(lambda: pod0.rounds.members[1] is Member.IDLE)
    assert hear(pod0.agent("old")) == ["replaced"]
    assert (len(pod0.rounds.failures), pod0.rounds.members[1]) == (1, Member.IDLE)


@pytest.mark.fault(99)
@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_agents_find_pod_0_by_either_family(pod0: Pod0, host: str) -> None:
    pod0.agent("a", host)
    until(lambda: 1 in pod0.rounds.members)


def test_when_all_that_join_are_here_pod_0_is_asked_to_stop_in_order(pod0: Pod0, tmp_path: Path) -> None:
    asked: list[bool] = []
    Peer(environment(0, pod0.port, tmp_path), lambda _: None, lambda: asked.append(True))
    pod0.agent("a")
    until(lambda: pod0.rounds.members.keys() == {0, 1})
    (tmp_path / SIZE_FILE).write_text('{"workers": 3}')
    joiner = socket.create_connection(("127.0.0.1", pod0.port), timeout=10)
    pod0.connections.append(joiner)
    say(joiner, uid="u", attempt=1, index=2, start="j", running=False)
    until(lambda: asked)
    assert (pod0.rounds.pods, pod0.rounds.ending_since) == (2, None)


@pytest.mark.fault(68)
def test_an_agent_that_only_lost_its_connection_is_the_same_as_before(pod0: Pod0) -> None:
    pod0.agent("same")
    until(lambda: 1 in pod0.rounds.members)
    again = pod0.agent("same")
    say(again, hangs="look", round=1)
    until(lambda: pod0.hangs)
    assert not pod0.rounds.failures


def test_what_a_pod_sees_of_a_round_that_is_over_is_not_judged(pod0: Pod0) -> None:
    agent = pod0.agent("a")
    say(agent, hangs="late", round=0)
    say(agent, hangs="now", round=1)
    until(lambda: pod0.hangs)
    assert pod0.hangs == ["now"]


def test_stacks_are_there_as_soon_as_all_have_answered(pod0: Pod0) -> None:
    agent = pod0.agent("a")
    until(lambda: 1 in pod0.rounds.members)
    say(agent, stacks=[{"rank": 1, "state": "S", "text": "x"}])
    time.sleep(0.1)  # an answer to an earlier question counts for nothing
    threading.Timer(0.2, lambda: say(agent, stacks=[{"rank": 1, "state": "T", "text": ""}])).start()
    began = time.monotonic()
    asked = pod0.coordinator.ask_for_stacks()
    assert [(each.rank, each.pod, each.state) for each in asked] == [(1, 1, "T")]
    assert time.monotonic() - began < 2


def test_a_pod_that_was_replaced_ends_its_program_and_looks_for_nobody_any_more(pod0: Pod0, tmp_path: Path) -> None:
    stops: list[bool] = []
    peer = Peer(environment(1, pod0.port, tmp_path), stops.append, lambda: None)
    until(lambda: peer.connected and 1 in pod0.rounds.members)
    pod0.agent("new")
    until(lambda: peer.replaced)
    assert stops[-1] is True
    assert peer.is_over
    assert peer.orders.get(timeout=5) == {"leave": REPLACED}


@pytest.mark.parametrize(
    "hello",
    [
        b'{"uid": "other", "attempt": 1, "index": 1, "start": "s", "running": true}\n',
        b'{"uid": "u", "attempt": 2, "index": 1, "start": "s", "running": true}\n',
        b'{"uid": "u", "attempt": 1}\n',
        b'{"uid": "u", "attempt": 1, "index": "first", "start": "s", "running": true}\n',
        b'{"uid": "u", "attempt": 1, "index": -1, "start": "s", "running": true}\n',
        b"[]\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xfe\n",
    ],
)
def test_whoever_is_no_agent_of_the_attempt_is_hung_up_on(pod0: Pod0, hello: bytes) -> None:
    with socket.create_connection(("127.0.0.1", pod0.port), timeout=10) as stranger:
        stranger.sendall(hello)
        assert stranger.recv(1) == b""
    agent = pod0.agent("one")
    until(lambda: 1 in pod0.coordinator._lines)
    agent.close()
