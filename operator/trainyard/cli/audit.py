"""`trainyard audit`: whether the records of the audit trail are as they were written, and what they say."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from trainyard.cli import output
from trainyard.cli.errors import CliError
from trainyard.runtime.audit_chain import Verdict, verify


def add_to(commands: Any) -> None:
    """The parser of the command."""
    parser = commands.add_parser(
        "audit",
        help="check the audit trail",
        description="Checks the chain of an audit trail: each record carries the hash of the one before.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser(
        "verify",
        help="name the first line that is not as it was written",
        description="Reads files in the order in which they were written, oldest first (audit.log.2 audit.log.1 audit.log), or a log of the operator. Names the first broken line, and each place at which the records say themselves that others may lack.",
    )
    check.add_argument("files", nargs="+", metavar="FILE", help="- is standard input")
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print what is found; a broken chain is an error."""
    places: list[tuple[str, int]] = []
    verdict = verify(_lines(options.files, places))
    for number, why in verdict.gaps:
        output.print_line(f"{_place(places, number)}:", f"records may lack before this one: {why}")
    if verdict.broken is not None:
        number, why = verdict.broken
        raise CliError(f"{_place(places, number)}: {why}; the {_count(verdict)} before are as they were written")
    if not verdict.records:
        raise CliError(f"{', '.join(options.files)}: no record of an audit trail in it")
    output.print_line(
        f"{_count(verdict)} as they were written;", f"the newest is {verdict.head.serial}, {verdict.head.hash}"
    )


def _count(verdict: Verdict) -> str:
    return f"{verdict.records} record{'' if verdict.records == 1 else 's'}"


def _lines(files: Sequence[str], places: list[tuple[str, int]]) -> Iterator[bytes]:
    """Lines of all files, noting where each stands."""
    for name in files:
        try:
            with sys.stdin.buffer if name == "-" else open(name, "rb") as file:  # noqa: PTH123  standard input too
                for number, line in enumerate(file, 1):
                    places.append((name, number))
                    yield line
        except OSError as error:
            raise CliError(f"{name}: {error.strerror}") from None


def _place(places: Sequence[tuple[str, int]], number: int) -> str:
    name, line = places[number - 1]
    return f"{name} line {line}"
