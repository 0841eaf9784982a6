"""`trainyard completion`: the script for a shell, and the answers when that asks what may follow.

Commands and options come from the parsers themselves; names of jobs, services, nodes and namespaces from the cluster, if it tells them
within two seconds.
"""

import argparse
import importlib
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, TextIO

import yaml

from trainyard.cli.access import access
from trainyard.cli.api_server import ApiServer
from trainyard.cli.errors import CliError
from trainyard.cluster.errors import ClusterError
from trainyard.cluster.resources import INFERENCE_SERVICES, NAMESPACES, NODES, TRAINING_JOBS, Resource

SHELLS = ("bash", "zsh", "fish")
_PATIENCE_SECONDS = 2.0
_SECOND = 2
_NO_FILES = ":4"
"""What kubectl is told at the end: nothing else completes the word."""
_NAMED: Mapping[str, tuple[Resource, ...]] = {
    "JOB": (TRAINING_JOBS,),
    "WORKLOAD": (TRAINING_JOBS, INFERENCE_SERVICES),
    "NODE": (NODES,),
    "NAMESPACE": (NAMESPACES,),
}
"""What an argument names, by how it is written in the help."""


def add_to(commands: Any) -> None:
    """The parser of the command."""
    parser = commands.add_parser(
        "completion",
        help="the script that lets a shell complete commands, options and names",
        description="Prints a script for the shell. bash: source <(trainyard completion bash); zsh: the same after compinit; fish: trainyard completion fish | source. Put that into the shell's start-up file.",
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the script."""
    print(_library().shellcode(["trainyard"], use_defaults=False, shell=options.shell), end="")


def answer_kubectl(
    words: Sequence[str], commands: Iterable[str], parser: Callable[[list[str]], argparse.ArgumentParser]
) -> None:
    """Tell kubectl, which hands on the words of the line; the last is the one that is being typed."""
    line = " ".join(["trainyard", shlex.join(words[:-1]), *words[-1:]]) if words[1:] else f"trainyard {words[0]}"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_SHELL": "fish", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_DFS": "\t"}
    os.environ.update(asked | {"COMP_LINE": line, "COMP_POINT": str(len(line))})
    out = io.StringIO()
    try:
        answer(commands, parser, out, sys.exit)
    except SystemExit:
        print("\n".join([*out.getvalue().splitlines(), _NO_FILES]))


def answer(
    commands: Iterable[str],
    parser: Callable[[list[str]], argparse.ArgumentParser],
    out: TextIO | None = None,
    leave: Callable[[int], object] = os._exit,
) -> NoReturn:
    """Tell the shell, and end. parser: of the words so far; out: where to, if not where a shell listens."""
    line, point = os.environ.get("COMP_LINE", ""), os.environ.get("COMP_POINT", "")
    before = line[: int(point)] if point.isdecimal() else line
    words = before.split()[1:]
    of_commands = len(words) + before[-1:].isspace() < _SECOND
    made = _names_alone(commands) if of_commands else parser(words)
    library = _library()
    for each in _arguments(made):
        shown = str(each.metavar or each.dest.upper())
        if shown == "FILE":
            each.completer = library.FilesCompleter()  # type: ignore[attr-defined]
        elif shown in _NAMED:
            each.completer = _names_of(_NAMED[shown])  # type: ignore[attr-defined]
    library.autocomplete(
        made,
        always_complete_options=False,
        default_completer=library.SuppressCompleter(),
        output_stream=out,
        exit_method=leave,
    )
    raise SystemExit(1)  # the library ends the process, unless the shell asks for nothing


def _names_alone(commands: Iterable[str]) -> argparse.ArgumentParser:
    """To load all commands for their names would take a second."""
    made = argparse.ArgumentParser(prog="trainyard")
    made.add_argument("--version", action="store_true")
    known = made.add_subparsers()
    for each in commands:
        known.add_parser(each)
    return made


def _library() -> Any:
    """argcomplete is an extra."""
    try:
        return importlib.import_module("argcomplete")
    except ModuleNotFoundError:
        raise CliError("completion needs one more library: pip install 'trainyard[cli]'") from None


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for each in parser._actions:  # noqa: SLF001 - argparse tells its arguments in no other way
        if isinstance(each, argparse._SubParsersAction):  # noqa: SLF001
            for command in each.choices.values():
                yield from _arguments(command)
        else:
            yield each


def _names_of(resources: tuple[Resource, ...]) -> Callable[..., list[str]]:
    def names(parsed_args: argparse.Namespace, **_others: Any) -> list[str]:
        """Nothing where the cluster does not tell: an error would stand in the middle of somebody's line."""
        try:
            reached = access(getattr(parsed_args, "kubeconfig", None), getattr(parsed_args, "context", None))
            server = ApiServer(reached, patience=_PATIENCE_SECONDS)
            namespace = getattr(parsed_args, "namespace", None) or server.namespace
            found = [server.items(each.path(namespace if each.namespaced else None)) for each in resources]
        except (ClusterError, CliError, OSError, yaml.YAMLError):
            return []
        return [str(each["metadata"]["name"]) for items in found for each in items]

    return names
