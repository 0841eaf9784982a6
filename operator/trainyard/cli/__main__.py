"""`python -m trainyard.cli`, `trainyard` and `kubectl trainyard`."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from trainyard import __version__
from trainyard.cli.errors import CliError
from trainyard.cli.output import plain

_INTERRUPTED = 130
_A_SHELL_ASKS = "_ARGCOMPLETE"
_QUESTIONS = "trainyard.cli.questions"
_COMMANDS = {
    "submit": "trainyard.cli.submit",
    "get": "trainyard.cli.get",
    "logs": "trainyard.cli.logs",
    "why": _QUESTIONS,
    "plan": _QUESTIONS,
    "top": _QUESTIONS,
    "incidents": "trainyard.cli.incidents",
    "approve": "trainyard.cli.approve",
    "refuse": "trainyard.cli.approve",
    "simulate": "trainyard.cli.simulate",
    "backup": "trainyard.cli.backup.command",
    "restore": "trainyard.cli.backup.command",
    "doctor": "trainyard.cli.doctor.command",
    "bundle": "trainyard.cli.bundle.command",
    "audit": "trainyard.cli.audit",
    "version": "trainyard.cli.version",
    "completion": "trainyard.cli.completion",
}
"""Where each is. What is not asked for is not loaded: it would take longer than the answer."""


def parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Of the command that comes first, or of all."""
    made = argparse.ArgumentParser(
        prog="trainyard",
        description="Submits jobs and tells of them, and asks Trainyard's scheduler: why a job waits, whether one would start, who holds what, and how a trace would go.",
    )
    made.add_argument("--version", action="version", version=f"trainyard {__version__}")
    if arguments[:1] == ["--version"]:
        return made
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    wanted = [_COMMANDS[each] for each in arguments[:1] if each in _COMMANDS] or list(dict.fromkeys(_COMMANDS.values()))
    for module in wanted:
        importlib.import_module(module).add_to(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 if it could not be done, 2 for a wrong call."""
    words = sys.argv[1:] if arguments is None else arguments
    if _A_SHELL_ASKS in os.environ:
        importlib.import_module("trainyard.cli.completion").answer(_COMMANDS, parser)
    options = parser(words).parse_args(words)
    try:
        options.run(options)
        sys.stdout.flush()
    except CliError as error:
        print(f"error: {plain(str(error), sys.stderr)}", file=sys.stderr)
        return error.code
    except BrokenPipeError:
        # Whoever reads has seen enough; Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def complete() -> None:
    """`kubectl_complete-trainyard`, which kubectl runs when a shell asks it what may follow `kubectl trainyard`."""
    importlib.import_module("trainyard.cli.completion").answer_kubectl(sys.argv[1:], _COMMANDS, parser)


if __name__ == "__main__":
    sys.exit(main())
