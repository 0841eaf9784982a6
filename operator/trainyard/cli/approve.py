"""`trainyard approve` and `refuse`: a person's word about a node that should be repaired, written to the node with the person's own rights."""

import argparse
from typing import Any

from trainyard.api.names import REMEDY_APPROVED, REMEDY_REFUSED
from trainyard.api.node_health import WORDS
from trainyard.cli import access, output
from trainyard.cli.api_server import ApiServer, explained
from trainyard.cli.errors import CliError
from trainyard.cluster.errors import ClusterError, Conflict, NotFound
from trainyard.cluster.resources import NODES, Object
from trainyard.nodes import care
from trainyard.nodes.signs import Grade, Sign, signs
from trainyard.runtime.clock import SystemClock


def add_to(commands: Any) -> None:
    """The parsers of the commands."""
    approve = commands.add_parser(
        "approve",
        help="take a broken node out of use",
        description="Cordons a node that a monitor calls broken and lets Trainyard's jobs leave it after a checkpoint. It is validated when it was repaired.",
    )
    refuse = commands.add_parser(
        "refuse",
        help="leave a node in use although a monitor calls it broken",
        description="What is said of the node now is not held against it any more: it takes pods, and is not cordoned for the same event again.",
    )
    for parser, run in ((approve, run_approve), (refuse, run_refuse)):
        parser.add_argument("node", metavar="NODE", help="name, or node/NAME")
        access.add_to(parser)
        parser.set_defaults(run=run)


def run_approve(options: argparse.Namespace) -> None:
    """Cordon it, and say for what."""
    server, node, (sign, *_) = _proposal(options)
    _write(server, node, {REMEDY_APPROVED: sign.event}, cordon=True)
    output.print_line(
        f"{node['metadata']['name']}:", f"{sign.words}; cordoned, and its jobs leave it after a checkpoint"
    )
    output.print_line("then:", WORDS[sign.remedy])


def run_refuse(options: argparse.Namespace) -> None:
    """Say that it stays in use, whatever breaks it now. An earlier approval of any of that is taken back."""
    server, node, found = _proposal(options)
    # What was refused before and is still told stays refused: the annotation is the only word of it.
    events = sorted({each.event for each in found} | {each.event for each in _broken(node) if _refused(node, each)})
    approved = node["metadata"].get("annotations", {}).get(REMEDY_APPROVED) in events
    _write(server, node, {REMEDY_REFUSED: " ".join(events)}, cordon=False if approved else None)
    said = "; ".join(each.words for each in found)
    output.print_line(f"{node['metadata']['name']}:", f"{said}; it stays in use, and this is not held against it")


def _proposal(options: argparse.Namespace) -> tuple[ApiServer, Object, tuple[Sign, ...]]:
    """The node, and what breaks it and is not refused or over yet, one at least. Raises CliError."""
    name = options.node.removeprefix("node/").removeprefix("nodes/")
    server = ApiServer.of(options)
    try:
        node = server.get(NODES.path(None, name))
    except NotFound:
        raise CliError(f"there is no node {name!r}; see them all with `kubectl get nodes`") from None
    except ClusterError as error:
        raise explained(error, server) from None
    settled = care.recorded(node).settled
    found = tuple(each for each in _broken(node) if each.event not in settled and not _refused(node, each))
    if not found:
        raise CliError(
            f"nothing is proposed for node {name}: no monitor calls it broken, or that was refused. To empty it all the same: kubectl cordon {name}, then kubectl drain {name}"
        )
    return server, node, found


def _broken(node: Object) -> list[Sign]:
    return [each for each in signs(node, SystemClock().now()) if each.grade is Grade.BROKEN]


def _refused(node: Object, sign: Sign) -> bool:
    return sign.event in node["metadata"].get("annotations", {}).get(REMEDY_REFUSED, "").split()


def _write(server: ApiServer, node: Object, notes: dict[str, str], *, cordon: bool | None) -> None:
    meta = node["metadata"]
    guard = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
    patch: Object = {"metadata": {**guard, "annotations": notes}}
    if cordon is not None:
        patch["spec"] = {"unschedulable": cordon or None}
    try:
        server.patch(NODES.path(None, meta["name"]), patch)
    except Conflict:
        raise CliError(f"node {meta['name']} changed in this moment; look again and repeat the command") from None
    except ClusterError as error:
        raise explained(error, server) from None
