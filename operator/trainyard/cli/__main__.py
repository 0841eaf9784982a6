"""`python -m trainyard.cli`, `trainyard` and `kubectl trainyard`."""

import argparse
import os
import sys
from collections.abc import Sequence

from trainyard.cli import questions, simulate
from trainyard.cli.errors import CliError

_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Of all commands."""
    made = argparse.ArgumentParser(
        prog="trainyard",
        description="Asks Trainyard's scheduler: why a job waits, whether one would start, who holds what, and how a trace would go.",
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    questions.add_to(commands)
    simulate.add_to(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 if it could not be done, 2 for a wrong call."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except CliError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except BrokenPipeError:
        # Whoever reads has seen enough; Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
