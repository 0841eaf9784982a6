"""How the agents of an attempt's pods talk: each keeps a connection to pod 0's, which keeps the rounds (rounds.py).

Lines of JSON over TCP. Who connects must know the job's uid and attempt, which only its pods are told. A pod that says
nothing for a while is gone, and a pod that hears nothing looks for pod 0 again under its name, which may have moved.
"""

import json
import logging
import queue
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

from trainer.environment import Environment
from trainer.rounds import Failure, Leave, Order, Rounds, Start, Stop, parse_failure
from trainer.stacks import Stack, collect

log = logging.getLogger("trainer.agent")

BEAT_SECONDS: Final = 2.0
SILENCE_SECONDS: Final = 10.0
_LONGEST_LINE: Final = 262_144
_STACKS_SECONDS: Final = 4.0
_RETRY_SECONDS: Final = 0.5


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
        with self._lock:
            self._connection.close()


class Coordinator:
    """Pod 0's side: listens, and turns what agents say into orders to all of them."""

    def __init__(self, environment: Environment, rounds: Rounds) -> None:
        self._environment, self._rounds = environment, rounds
        self._lock = threading.Lock()
        self._lines: dict[int, Line] = {}
        self._stacks: list[Stack] = []
        self._starts: dict[int, str] = {}
        """Which start of each pod's agent is known: a pod that was replaced is another."""
        self._server = socket.create_server(("", environment.control_port), reuse_port=False)
        for run in (self._accept, self._tick):
            threading.Thread(target=run, name=run.__name__, daemon=True).start()

    def ask_for_stacks(self) -> list[Stack]:
        """Where the workers of the other pods are; of pods that do not answer soon there is nothing."""
        with self._lock:
            self._stacks = []
            for index, line in self._lines.items():
                if index != self._environment.node_rank:
                    line.send({"stacks": True})
        time.sleep(_STACKS_SECONDS)
        with self._lock:
            return list(self._stacks)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        line = Line(connection)
        hello = line.receive()
        ours = (self._environment.job_uid, self._environment.attempt)
        if hello is None or (hello.get("uid"), hello.get("attempt")) != ours:
            line.close()
            return
        index, start = int(hello["index"]), str(hello["start"])
        with self._lock:
            self._lines[index] = line
            anew = self._starts.setdefault(index, start) != start
            self._starts[index] = start
            joined = self._rounds.joined(index, running=bool(hello["running"]), anew=anew, now=time.monotonic())
            self._send(joined)
        while (message := line.receive()) is not None:
            with self._lock:
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
                self._stacks += [
                    Stack(int(each["rank"]), index, str(each["state"])[:1], str(each["text"]))
                    for each in message["stacks"]
                ]
                return ()
        except (KeyError, TypeError, ValueError):
            log.warning("pod %d said what makes no sense", index)
            return ()
        if "idle" in message:
            return self._rounds.idle(index)
        return self._rounds.done(index) if "done" in message else ()

    def _tick(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            with self._lock:
                for line in self._lines.values():
                    line.send({"beat": True})
                self._send(self._rounds.tick(time.monotonic()))

    def _send(self, orders: Sequence[Order]) -> None:
        for order in orders:
            match order:
                case Stop(index):
                    if index in self._lines:
                        self._lines[index].send({"stop": self._rounds.round})
                case Start(round_, failure):
                    log.info("round %d begins: pod %d: %s", round_, failure.index, failure.cause)
                    self._tell_all({"start": round_, "failure": failure.as_json()})
                case Leave(why):
                    self._tell_all({"leave": why})

    def _tell_all(self, message: dict[str, Any]) -> None:
        for line in self._lines.values():
            line.send(message)


class Peer:
    """Every pod's side, pod 0's too: tells how its program does, and hears what to do."""

    def __init__(self, environment: Environment, stop: Callable[[], None]) -> None:
        """stop: called when the program of the current round is to end."""
        self._environment, self._stop = environment, stop
        self.running = True
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
        document = failure.as_json() | {"consequence": failure.consequence}
        if self._line is not None:
            self._line.send({"failed": document})

    def idle(self) -> None:
        """The program was stopped, as was asked for."""
        self.running = False
        if self._line is not None:
            self._line.send({"idle": True})

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
        if self._line is not None:
            self._line.send({"done": True})

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
                        self._stop()
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
