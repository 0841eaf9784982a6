"""`trainyard submit`: creates what a file describes, all of it or nothing, and follows the jobs if asked to."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainyard.cli import access, following
from trainyard.cli.api_server import UNKNOWN_USER, ApiServer, explained
from trainyard.cli.errors import USAGE, CliError
from trainyard.cli.manifests import manifests
from trainyard.cli.submission import Submission, all_of, submissions
from trainyard.cluster.errors import AlreadyExists, ClusterError, Forbidden, Invalid, NotFound
from trainyard.cluster.resources import TRAINING_JOBS, Object

_STRICT = {"fieldManager": "trainyard-cli", "fieldValidation": "Strict"}


def add_to(commands: Any) -> None:
    """The parser of the command."""
    parser = commands.add_parser(
        "submit",
        help="create jobs, and follow them to their end",
        description="Creates the TrainingJobs, InferenceServices, Queues and Flavors of a file. Everything is checked first, here and by the API server, and nothing is created if anything is wrong.",
    )
    parser.add_argument(
        "-f", "--filename", type=Path, required=True, metavar="FILE", help="manifests; - reads standard input"
    )
    access.add_to(parser)
    parser.add_argument(
        "--wait",
        action="store_true",
        help="follow the TrainingJobs until each is Complete or Failed; exit code 0 only if all are Complete",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Create, and wait if asked to."""
    documents = manifests(options.filename)
    if options.wait and not any(each.value.get("kind") == TRAINING_JOBS.kind for each in documents):
        raise CliError("--wait follows TrainingJobs, and there is none in the file; leave it out", USAGE)
    server = ApiServer.of(options)
    wanted = submissions(documents, options.namespace, server.namespace)
    _rehearse(server, wanted)
    created = _create(server, wanted)
    if options.wait:
        following.follow(server, [each for each in created if each["kind"] == TRAINING_JOBS.kind])


def _rehearse(server: ApiServer, wanted: Sequence[Submission]) -> None:
    """What the API server would say to each; raises CliError, with all that it refuses, before the first is created."""
    wrong = []
    for each in wanted:
        try:
            _post(server, each, rehearsal=True)
        except (AlreadyExists, Forbidden, Invalid, NotFound) as error:
            if error.status == UNKNOWN_USER:
                raise explained(error, server) from None
            wrong.append(_refused(each, error, server))
        except ClusterError as error:
            raise explained(error, server) from None
    if wrong:
        raise all_of("nothing was created:", wrong)


def _create(server: ApiServer, wanted: Sequence[Submission]) -> list[Object]:
    created: list[Object] = []
    for each in wanted:
        try:
            created.append(_post(server, each))
        except ClusterError as error:
            unknown = " (it may have been created all the same: see `trainyard get`)" if error.ambiguous else ""
            rest = [str(left) for left in wanted[len(created) + 1 :]]
            after = f". Not created either: {', '.join(rest)}" if rest else ""
            raise CliError(f"{_refused(each, error, server)}{unknown}{after}") from None
        print(f"{each} created", flush=True)
    return created


def _post(server: ApiServer, each: Submission, *, rehearsal: bool = False) -> Object:
    query = _STRICT | ({"dryRun": "All"} if rehearsal else {})
    made = server.post(each.resource.path(each.namespace or None), each.body, query)
    return {"apiVersion": each.resource.api_version, "kind": each.resource.kind, **made}


def _refused(each: Submission, error: ClusterError, server: ApiServer) -> CliError:
    """About one object, in words that say what to do."""
    if isinstance(error, AlreadyExists):
        return CliError(f"{each.origin} exists already; delete it first, or create this one under another name")
    if isinstance(error, NotFound) and error.reason == "NotFound" and "namespaces" in error.message:
        return CliError(f"{each.origin}: there is no namespace {each.namespace!r}; create it, or name another with -n")
    if isinstance(error, Invalid):
        return CliError(f"{each.origin}: the API server refuses it: {error.message}")
    return CliError(f"{each.origin}: {explained(error, server)}")
