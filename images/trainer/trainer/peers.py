"""How the agents of an attempt's pods talk: each keeps a connection to pod 0's, which keeps the rounds (rounds.py).

Lines of JSON over TCP. Who connects must know the job's uid and attempt, which only its pods are told. A pod that says
nothing for a while is gone, and a pod that hears nothing looks for pod 0 again under its name, which may have moved. A pod
in whose stead another has come is told so when it is back: its node was away, and what it runs is of no use any more.
"""

import contextlib
import json
import logging
import queue
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

from trainer.durable import read_json
from trainer.environment import Environment
from trainer.progress import SIZE_FILE
from trainer.rounds import Failure, Leave, Order, Rounds, Start, Stop, StopInOrder, parse_failure
from trainer.stacks import Stack, collect

log = logging.getLogger("trainer.agent")

BEAT_SECONDS: Final = 2.0
SILENCE_SECONDS: Final = 10.0
_LONGEST_LINE: Final = 262_144
_STACKS_SECONDS: Final = 4.0
_RETRY_SECONDS: Final = 0.5
REPLACED: Final = "another pod has come in this one's stead"


class Line:
    """A connection that carries one JSON object a line."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self._lock = threading.Lock()
        connection.settimeout(SILENCE_SECONDS)

    def send(self, message: dict[str, Any]) -> bool:
        """Whether it could be sent; a broken connection is noticed by whoever reads."""
        try:
            with self._lock:
                self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> dict[str, Any] | None:
        """The next object; None when the other side is gone, silent too long, or talks nonsense."""
        try:
            while b"\n" not in self._buffer:
                more = self._connection.recv(4096)
                if not more or len(self._buffer) > _LONGEST_LINE:
                    return None
                self._buffer += more
            line, _, self._buffer = self._buffer.partition(b"\n")
            message = json.loads(line)
        except (OSError, ValueError):
            return None
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        """Close it, also under a thread that reads."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def _listening(port: int) -> socket.socket:
    """On all addresses of this pod; of IPv6, too, where there is any."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _hello(said: dict[str, Any] | None, ours: tuple[str, int]) -> tuple[int, str, bool] | None:
    """Index, start and whether the program runs, as an agent of our attempt says it; None for anybody else."""
    if said is None or (said.get("uid"), said.get("attempt")) != ours:
        return None
    index, start, running = said.get("index"), said.get("start"), said.get("running")
    if not isinstance(index, int) or index < 0 or not isinstance(start, str) or not isinstance(running, bool):
        return None
    return index, start, running


class Coordinator:
    """Pod 0's side: listens, and turns what agents say into orders to all of them."""

    def __init__(self, environment: Environment, rounds: Rounds, on_hang: Callable[[str], None]) -> None:
        """on_hang: called, in a thread of its own, with what another pod saw."""
        self._environment, self._rounds, self._on_hang = environment, rounds, on_hang
        self._lock = threading.Condition()
        self._lines: dict[int, Line] = {}
        self._stacks: dict[int, list[Stack]] = {}
        """By pod, since it was asked last."""
        self._starts: dict[int, str] = {}
        """Which start of each pod's agent is known: a pod that was replaced is another."""
        self._replaced: set[str] = set()
        """Starts of agents in whose stead another came."""
        self._server = _listening(environment.control_port)
        for run in (self._accept, self._tick):
            threading.Thread(target=run, name=run.__name__, daemon=True).start()

    def ask_for_stacks(self) -> list[Stack]:
        """Where the workers of the other pods are; of pods that do not answer soon there is nothing."""
        with self._lock:
            self._stacks = {}
            asked = {index for index in self._lines if index != self._environment.node_rank}
            for index in asked:
                self._lines[index].send({"stacks": True})
            self._lock.wait_for(lambda: asked <= self._stacks.keys(), _STACKS_SECONDS)
            return [each for found in self._stacks.values() for each in found]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        line = Line(connection)
        hello = _hello(line.receive(), (self._environment.job_uid, self._environment.attempt))
        if hello is None:
            line.close()
            return
        index, start, running = hello
        with self._lock:
            known = self._starts.setdefault(index, start)
            if start in self._replaced:
                line.send({"replaced": True})
                line.close()
                return
            if known != start:
                self._replaced.add(known)
            if (before := self._lines.get(index)) is not None:
                before.close()
            self._lines[index], self._starts[index] = line, start
            self._send(self._rounds.joined(index, running=running, anew=known != start, now=time.monotonic()))
            self._look_at_size()
        while (message := line.receive()) is not None:
            with self._lock:
                if self._lines.get(index) is line:
                    if "beat" not in message:
                        self._look_at_size()
                    self._send(self._heard(index, message))
        line.close()
        with self._lock:
            if self._lines.get(index) is line:
                del self._lines[index]
                self._send(self._rounds.gone(index, time.monotonic()))

    def _heard(self, index: int, message: dict[str, Any]) -> Sequence[Order]:
        try:
            if "failed" in message:
                return self._rounds.failed(index, parse_failure(message["failed"]), time.monotonic())
            if "stacks" in message:
                self._stacks[index] = [
                    Stack(int(each["rank"]), index, str(each["state"])[:1], str(each["text"]))
                    for each in message["stacks"]
                ]
                self._lock.notify_all()
                return ()
        except (KeyError, TypeError, ValueError, OverflowError):
            log.warning("pod %d said what makes no sense", index)
            return ()
        if message.get("hangs") and message.get("round") == self._rounds.round:
            threading.Thread(target=self._on_hang, args=(str(message["hangs"]),), daemon=True).start()
        if "leaves" in message:
            return self._rounds.leaves(index, time.monotonic())
        if "idle" in message:
            return self._rounds.idle(index)
        return self._rounds.done(index) if "done" in message else ()

    def _tick(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            with self._lock:
                for line in self._lines.values():
                    line.send({"beat": True})
                self._look_at_size()
                self._send(self._rounds.tick(time.monotonic()))

    def _look_at_size(self) -> None:
        """Whether the operator has told the program how many pods shall train."""
        said = read_json(self._environment.run_directory / SIZE_FILE)
        if said is not None:
            self._send(self._rounds.resized(int(said["workers"])))

    def _send(self, orders: Sequence[Order]) -> None:
        for order in orders:
            match order:
                case Stop(index, at_once):
                    if index in self._lines:
                        self._lines[index].send({"stop": self._rounds.round, "atOnce": at_once})
                case StopInOrder():
                    log.info("%d pods are to train from now on instead of %d", self._rounds.wanted, self._rounds.pods)
                    if (line := self._lines.get(self._environment.node_rank)) is not None:
                        line.send({"stopInOrder": True})
                case Start(round_, failure, pods):
                    log.info("round %d begins with %d pods: pod %d: %s", round_, pods, failure.index, failure.cause)
                    for index in self._lines.keys() & set(range(pods)):
                        self._lines[index].send({"start": round_, "pods": pods, "failure": failure.as_json()})
                case Leave(why):
                    self._tell_all({"leave": why})

    def _tell_all(self, message: dict[str, Any]) -> None:
        for line in self._lines.values():
            line.send(message)


class Peer:
    """Every pod's side, pod 0's too: tells how its program does, and hears what to do."""

    def __init__(
        self, environment: Environment, stop: Callable[[bool], None], stop_in_order: Callable[[], None]
    ) -> None:
        """stop: called when the program of the current round is to end, and whether at once. stop_in_order: when it is to save and end."""
        self._environment, self._stop, self._stop_in_order = environment, stop, stop_in_order
        self.running, self.replaced = not environment.joins, False
        self._round, self._stop_round = 1, 0
        self._start = uuid.uuid4().hex
        self.orders: queue.Queue[dict[str, Any]] = queue.Queue()
        self._line: Line | None = None
        self._leaving = False
        self._failure: Failure | None = None
        threading.Thread(target=self._run, name="peer", daemon=True).start()

    def failed(self, failure: Failure) -> None:
        """The program ended in this pod."""
        self._failure, self.running = failure, False
        self._say({"failed": failure.as_json() | {"consequence": failure.consequence}})

    def idle(self) -> None:
        """The program was stopped, as was asked for."""
        self.running = False
        self._say({"idle": True})

    def hangs(self, seen: str) -> None:
        """The program hangs in this pod; pod 0 asks all of them where they are, and ends it."""
        self._say({"hangs": seen, "round": self._round})

    def started(self, round_: int) -> None:
        """The program runs again."""
        self._failure, self.running, self._round = None, True, round_

    @property
    def is_over(self) -> bool:
        """Whether the round is over for which the program here runs, or is about to."""
        return self._stop_round >= self._round

    @property
    def connected(self) -> bool:
        return self._line is not None

    def done(self) -> None:
        """The program ended here for good."""
        self._leaving = True
        self._say({"done": True})

    def leaves(self) -> None:
        """This pod was asked to end, and ends now."""
        self._leaving = True
        self._say({"leaves": True})

    def _say(self, message: dict[str, Any]) -> None:
        if self._line is not None:
            self._line.send(message)

    def _run(self) -> None:
        address = self._environment.master_address if self._environment.node_rank else "127.0.0.1"
        while not self._leaving:
            try:
                connection = socket.create_connection((address, self._environment.control_port), timeout=BEAT_SECONDS)
            except OSError:
                time.sleep(_RETRY_SECONDS)
                continue
            line = Line(connection)
            hello = {"uid": self._environment.job_uid, "attempt": self._environment.attempt}
            line.send(hello | {"index": self._environment.node_rank, "start": self._start, "running": self.running})
            failure = self._failure
            if failure is not None:  # it ended while nobody listened
                line.send({"failed": failure.as_json() | {"consequence": failure.consequence}})
            self._line = line
            beats = threading.Thread(target=self._beat, args=(line,), daemon=True)
            beats.start()
            while (message := line.receive()) is not None:
                if "stop" in message:
                    self._stop_round = int(message["stop"])
                    if self.is_over:
                        self._stop(bool(message.get("atOnce")))
                elif "stopInOrder" in message:
                    self._stop_in_order()
                elif "replaced" in message:
                    self.replaced, self._leaving, self._stop_round = True, True, self._round
                    self._stop(True)
                    self.orders.put({"leave": REPLACED})
                elif "stacks" in message:
                    found = collect(self._environment.run_directory, self._environment.node_rank)
                    line.send({"stacks": [each.as_json() for each in found]})
                elif "beat" not in message:
                    self.orders.put(message)
            self._line = None
            line.close()

    def _beat(self, line: Line) -> None:
        while self._line is line and line.send({"beat": True}):
            time.sleep(BEAT_SECONDS)
