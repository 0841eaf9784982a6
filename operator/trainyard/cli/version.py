"""`trainyard version`: of what version this command is, and whom it speaks with."""

import argparse
from dataclasses import asdict, dataclass
from typing import Any

from trainyard import __version__
from trainyard.cli import access, output
from trainyard.cli.api_server import ApiServer, explained
from trainyard.cluster.errors import ClusterError, Forbidden
from trainyard.cluster.resources import DEPLOYMENTS

_VERSION_LABEL = "app.kubernetes.io/version"
_OPERATOR = "app.kubernetes.io/component=operator,app.kubernetes.io/part-of=trainyard"


@dataclass(frozen=True, slots=True)
class Versions:
    """Empty where nothing is known of it."""

    command: str
    operator: str = ""
    kubernetes: str = ""


def add_to(commands: Any) -> None:
    """The parser of the command."""
    parser = commands.add_parser(
        "version",
        help="versions of this command, the operator and the cluster",
        description="Of what version this command is, and the operator and the API server that it speaks with.",
    )
    access.add_cluster_to(parser)
    parser.add_argument("--client", action="store_true", help="of this command alone; asks nobody")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text (default) or json")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print them. What the command is, is told although nobody answers."""
    as_json = options.output == "json"
    if not as_json:
        print(f"trainyard {__version__}")
    found = Versions(__version__) if options.client else _ask(options)
    if as_json:
        output.print_json(asdict(found))
    elif not options.client:
        print(f"operator {found.operator or 'of an unknown version'} in namespace {options.system_namespace}")
        print(f"kubernetes {found.kubernetes or 'of an unknown version'}")
        if skew := differs(found.operator):
            print(skew)


def differs(operator: str) -> str:
    """What it means that the operator is of another version; empty if it is not, or nobody knows."""
    if operator in ("", __version__):
        return ""
    return f"the two differ: answers may lack what the other does not know; pip install 'trainyard[cli]=={operator}' brings this command to the operator's version"


def _ask(options: argparse.Namespace) -> Versions:
    """Raises CliError."""
    server = ApiServer.of(options)
    try:
        kubernetes = str(server.get("/version").get("gitVersion", ""))
        return Versions(__version__, _operator(server, options.system_namespace), kubernetes)
    except ClusterError as error:
        raise explained(error, server) from None


def _operator(server: ApiServer, namespace: str) -> str:
    try:
        found = server.items(DEPLOYMENTS.path(namespace), {"labelSelector": _OPERATOR})
    except Forbidden:
        return ""  # not everybody may look there, and it is no reason to tell nothing
    labels = [each["metadata"].get("labels", {}) for each in found]
    return next((str(each[_VERSION_LABEL]) for each in labels if each.get(_VERSION_LABEL)), "")
