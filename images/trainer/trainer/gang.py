"""Starting the program again in the pods that are there: alone where there is one pod, else with the others (peers.py)."""

import logging
import queue
import threading
import time
from dataclasses import dataclass, replace
from typing import Final

from trainer.environment import Environment
from trainer.errors import ExitCode
from trainer.outcome import Outcome
from trainer.peers import REPLACED, SILENCE_SECONDS, Coordinator, Peer
from trainer.processes import Supervisor
from trainer.rounds import Failure, Rounds, parse_failure, restartable
from trainer.stacks import collect, culprit, forget, keep
from trainer.watch import Watch

log = logging.getLogger("trainer.agent")

_PATIENCE_SECONDS: Final = 600.0
_LONGEST_PAUSE: Final = 30.0
_SHORT_SECONDS: Final = 10.0
_ASK_SECONDS: Final = 0.2
_LAST_WORDS_SECONDS: Final = 2.0
"""In which a program that is to be stopped may end by itself, of what stopped the others or as their cause."""
_WITHOUT_COORDINATOR: Final = 3 * SILENCE_SECONDS


@dataclass(frozen=True)
class Round:
    """A start of the program in so many pods, and what ended the one before."""

    round: int
    failure: Failure
    pods: int = 1


class Gang:
    """This pod among the pods of its attempt."""

    def __init__(self, environment: Environment, supervisor: Supervisor) -> None:
        """supervisor: of the program that runs here."""
        self._environment, self._supervisor = environment, supervisor
        self._left, self._round, self._pauses = environment.restarts_left, 1, 0
        self._began, self._starts = time.monotonic(), 0
        self._coordinator: Coordinator | None = None
        self._peer: Peer | None = None
        self._watch: Watch | None = None
        self._hang: Failure | None = None
        self._judging = threading.Lock()
        if (environment.nodes > 1 and environment.restarts_left) or environment.elastic:
            if environment.node_rank == 0:
                epoch = time.time() - time.monotonic()
                rounds = Rounds(environment.nodes, environment.restarts_left, _PATIENCE_SECONDS, epoch=epoch)
                self._coordinator = Coordinator(environment, rounds, self._hangs)
            self._peer = Peer(
                environment,
                lambda at_once: supervisor.end_soon(0 if at_once else _LAST_WORDS_SECONDS),
                supervisor.ask_to_stop,
            )

    def join(self) -> Round | None:
        """Wait until those who train take this pod in; None if that is not to be."""
        return self._with_others(self._peer) if self._peer is not None else None

    def starting(self) -> None:
        """The program is about to start: nothing of an earlier start counts any more."""
        forget(self._environment.run_directory)
        self._hang, self._starts = None, self._starts + 1
        if self._environment.hang_seconds:
            peer = self._peer if self._environment.node_rank else None
            on_hang = peer.hangs if peer else self._hangs
            self._watch = Watch(self._environment.run_directory, self._environment.hang_seconds, on_hang)

    def is_over(self) -> bool:
        """Whether the program that is starting has to end at once: pods were told so in the meantime."""
        return self._peer is not None and self._peer.is_over

    def ended(self, outcome: Outcome) -> Outcome:
        """The program has ended: so, or because it hung."""
        if self._watch is not None:
            self._watch.end()
        if self._peer is not None and self._peer.replaced:
            return Outcome(ExitCode.SUPERSEDED, REPLACED)
        return outcome if self._hang is None else Outcome(self._hang.exit_code, self._hang.cause)

    def _hangs(self, seen: str) -> None:
        """Ask everybody where they are, keep the answers, and end the program here; the others follow."""
        with self._judging:
            if self._hang is None:
                self._judge(seen)

    def _judge(self, seen: str) -> None:
        begun = self._starts
        log.warning("%s: asking all workers where they are", seen)
        stacks = collect(self._environment.run_directory, self._environment.node_rank)
        if self._coordinator is not None:
            stacks += self._coordinator.ask_for_stacks()
        found = culprit(stacks)
        words = found[1] if found else "all workers wait at the same place"
        kept = ""
        if self._environment.directory is not None:
            name = f"stacks/attempt-{self._environment.attempt}-round-{self._round}"
            keep(stacks, self._environment.directory / name)
            kept = f"; stacks of all ranks are in {self._environment.claim_path(self._environment.directory / name)}"
        if self._starts != begun:  # it ended by itself meanwhile
            return
        index = found[0].pod if found else self._environment.node_rank
        self._hang = Failure(index, ExitCode.HANG, f"hang: {seen}; {words}{kept}", at=time.time())
        self._supervisor.kill()

    def next_round(self, outcome: Outcome, *, stopped: bool) -> Round | None:
        """Wait until the program is to start again, or None when it is not. stopped: it ended since it was told to."""
        failure = self._hang or Failure(
            self._environment.node_rank, outcome.exit_code, outcome.cause, outcome.consequence, time.time()
        )
        stopped = stopped and self._hang is None
        if self._peer is None:
            final = self._supervisor.stop_requested or not restartable(outcome.exit_code)
            return None if final else self._alone(failure)
        if self._supervisor.stop_requested:
            self._peer.leaves()
            return None
        if outcome.exit_code == ExitCode.STOPPED:
            # Another pod was asked to end, and all have stopped in order: they wait for the one in its stead.
            failure = replace(failure, consequence=True, counts=False)
        elif not stopped and not restartable(outcome.exit_code):
            self._peer.done()
            return None
        if stopped:
            self._peer.idle()
        else:
            log.warning("%s", outcome.cause)
            self._peer.failed(failure)
        return self._with_others(self._peer)

    def _alone(self, failure: Failure) -> Round | None:
        if self._left <= 0:
            return None
        self._left -= 1
        self._round += 1
        self._pause()
        log.warning("round %d begins: %s", self._round, failure.cause)
        return Round(self._round, failure)

    def _with_others(self, peer: Peer) -> Round | None:
        alone_since: float | None = None
        while True:
            try:
                order = peer.orders.get(timeout=_ASK_SECONDS)
            except queue.Empty:
                if self._supervisor.stop_requested:
                    peer.leaves()
                    return None
                # Pod 0 keeps the rounds: when it has ended for good, there is none to wait for.
                alone_since = None if peer.connected else alone_since or time.monotonic()
                if alone_since is not None and time.monotonic() - alone_since > _WITHOUT_COORDINATOR:
                    peer.done()
                    return None
                continue
            if "start" in order:
                self._pause()
                self._round = int(order["start"])
                peer.started(self._round)
                return Round(self._round, parse_failure(order["failure"]), int(order["pods"]))
            if "leave" in order:
                log.info("no further start in this pod: %s", order["leave"])
                peer.done()
                return None

    def _pause(self) -> None:
        """What fails again at once is not tried as fast as it fails; the first time there is no pause."""
        short = time.monotonic() - self._began < _SHORT_SECONDS
        self._pauses = self._pauses + 1 if short else 0
        if self._pauses > 1:
            time.sleep(min(_LONGEST_PAUSE, 2.0 ** (self._pauses - 1)))
        self._began = time.monotonic()
