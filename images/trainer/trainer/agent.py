"""PID 1 of a trainer pod: `python -m trainer.agent [-- COMMAND...]`.

Judges the configuration before anything slow starts, makes this attempt the owner of the storage, runs torchrun (or
the user's command, once pod 0 can be found) and leaves the outcome where the kubelet picks it up. It imports no
torch, so that a typing error is answered in a fraction of a second. A program that failed is started again in the same
pod, together with those of the other pods (gang.py): the pod, its place and its image stay.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from trainer import environment as env
from trainer import memory
from trainer.compression.specification import parse_compression
from trainer.environment import Environment, read_environment
from trainer.errors import ConfigurationError, ExitCode, StopRequested, TrainerError, of_signal
from trainer.fencing import claim_attempt
from trainer.gang import Gang, Round
from trainer.outcome import Outcome, decide, forget_outcomes, has_outcomes, record_round, termination_message
from trainer.processes import Supervisor, describe_code
from trainer.rendezvous import wait_for_master
from trainer.specification import parse_specification
from trainer.strays.grounds import NOTES_FILE, grounds_of, hooked
from trainer.strays.telling import Telling

log = logging.getLogger("trainer.agent")

_COUNTED_BY_TORCHRUN: Final = ("auto", "gpu", "cpu")
_NOT_BEGUN: Final = "asked to stop before training began"
_MOST_THREADS: Final = 8
_CPU_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def main(arguments: Sequence[str]) -> int:
    """Run the pod; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s agent %(levelname)s %(message)s")
    supervisor = Supervisor()
    try:
        environment = read_environment()
    except ConfigurationError as error:
        log.error("%s", error)  # noqa: TRY400 - the message is the whole story
        return _leave(Outcome(error.exit_code, str(error)), env.termination_log(), Path(os.devnull))
    try:
        outcome = _run(environment, _command(arguments), supervisor)
    except TrainerError as error:
        log.error("%s", error)  # noqa: TRY400
        outcome = Outcome(error.exit_code, str(error))
    except OSError as error:
        log.exception("the agent failed")
        outcome = Outcome(ExitCode.FAILURE, f"the agent failed: {error}")
    return _leave(outcome, environment.termination_log, environment.run_directory)


def _command(arguments: Sequence[str]) -> list[str]:
    """The user's command, empty for the built-in program."""
    if not arguments:
        return []
    if arguments[0] != "--" or len(arguments) == 1:
        raise ConfigurationError("arguments", " ".join(arguments), "nothing, or -- and a command")
    return list(arguments[1:])


def _run(environment: Environment, command: list[str], supervisor: Supervisor) -> Outcome:
    _check(environment, built_in=not command)
    environment.run_directory.mkdir(parents=True, exist_ok=True)
    forget_outcomes(environment.run_directory)
    if environment.directory is not None and environment.node_rank == 0:
        claim_attempt(environment.directory, environment.attempt)
        log.info("attempt %d owns %s", environment.attempt, environment.directory)
    if command:  # the built-in program waits by itself, when it has imported torch
        wait_for_master(environment)
    if supervisor.stop_requested:
        raise StopRequested(_NOT_BEGUN)
    return _supervise(environment, command, supervisor)


def _check(environment: Environment, *, built_in: bool) -> None:
    """Raise ConfigurationError for what no restart can repair."""
    processes = environment.processes_per_node
    if processes not in _COUNTED_BY_TORCHRUN and not (processes.isdecimal() and int(processes)):
        raise ConfigurationError(
            env.PET_NPROC_PER_NODE, processes, "a whole number of at least 1 or a word", _COUNTED_BY_TORCHRUN
        )
    if environment.nodes > 1 and environment.master_address is None:
        raise ConfigurationError(env.PET_MASTER_ADDR, None, f"the name of pod 0, as there are {environment.nodes} pods")
    if environment.node_rank >= environment.nodes:
        raise ConfigurationError(env.PET_NODE_RANK, environment.node_rank, f"a number below {environment.nodes}")
    if built_in:
        asked = parse_compression(environment.specification, workers=environment.workers())
        if asked is None or asked.parent is None:
            parse_specification(environment.specification, workers=environment.workers())


def _supervise(environment: Environment, command: list[str], supervisor: Supervisor) -> Outcome:
    """Run the program until it ends for good, starting it again in this pod as often as that is allowed and of use."""
    variables = dict(os.environ)
    variables[env.RUN_DIRECTORY] = str(environment.run_directory)
    variables.setdefault("PYTHONUNBUFFERED", "1")
    variables.setdefault("OMP_NUM_THREADS", str(_threads(environment)))
    gang = Gang(environment, supervisor)
    if environment.joins:
        taken_in = gang.join()
        if taken_in is None:
            return Outcome(ExitCode.STOPPED, "was not taken in by those who train")
        variables |= _of_round(environment, taken_in)
    grounds, notes = grounds_of(environment, command, os.environ), environment.run_directory / NOTES_FILE
    if grounds is None:
        return _rounds(environment, command, supervisor, gang, variables)
    with Telling(environment, notes, grounds.roots):
        return _rounds(environment, command, supervisor, gang, variables | hooked(variables, grounds, notes))


def _rounds(
    environment: Environment, command: list[str], supervisor: Supervisor, gang: Gang, variables: dict[str, str]
) -> Outcome:
    """Every start of the program."""
    program = command or [sys.executable, "-m", "trainer.launch"]
    while True:
        log.info("starting %s", " ".join(program))
        gang.starting()
        kills = memory.killed()
        code = supervisor.run(program, variables, whole_group=bool(command), is_over=gang.is_over)
        outcome = _outcome(environment, command, supervisor, code)
        if code and not supervisor.killed and memory.killed() > kills:
            outcome = Outcome(outcome.exit_code, f"{memory.words()}; {outcome.cause}")
        outcome = gang.ended(outcome)
        again = gang.next_round(outcome, stopped=supervisor.killed)
        if again is None or supervisor.stop_requested:
            return outcome
        forget_outcomes(environment.run_directory)
        variables |= _of_round(environment, again)


def _of_round(environment: Environment, begun: Round) -> dict[str, str]:
    """What the program is told of the round that begins."""
    record_round(environment.run_directory, begun)
    told = {env.ROUND: str(begun.round)}
    return told | {env.PET_NNODES: str(begun.pods)} if environment.nodes > 1 or environment.elastic else told


def _outcome(environment: Environment, command: list[str], supervisor: Supervisor, code: int) -> Outcome:
    if supervisor.killed:
        return Outcome(ExitCode.FAILURE, "stopped, as the program of another pod had ended", consequence=True)
    if command:
        words = describe_code(code, command[0])
        return Outcome(code, words or ("finished" if code == 0 else f"{command[0]} ended with exit code {code}"))
    if supervisor.stop_requested and code == of_signal(signal.SIGTERM) and not has_outcomes(environment.run_directory):
        return Outcome(ExitCode.STOPPED, _NOT_BEGUN)
    return decide(environment.run_directory, code)


def _threads(environment: Environment) -> int:
    """Threads of one worker: its share of the pod's CPU limit, and 1 where there is no limit.

    Without a limit nothing says how many others use this machine's cores, and threads that wait for each other on
    busy cores make a worker several times slower, not faster.
    """
    per_node = int(environment.processes_per_node) if environment.processes_per_node.isdecimal() else 1
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        cores = int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return 1
    return max(1, min(_MOST_THREADS, len(os.sched_getaffinity(0)), int(cores / per_node)))


def _leave(outcome: Outcome, termination_log: Path, run_directory: Path) -> int:
    log.info("exit code %d: %s", outcome.exit_code, outcome.cause)
    try:
        # Not atomically: the kubelet mounts this one file, so it cannot be replaced.
        termination_log.write_bytes(termination_message(outcome, run_directory))
    except OSError as error:
        log.warning("%s cannot be written: %s", termination_log, error)
    return int(outcome.exit_code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
