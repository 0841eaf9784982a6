"""`trainyard incidents`: what interrupted jobs, how long it took until they went on, and what that cost."""

import argparse
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
from pydantic import ValidationError

from trainyard.api.failure import FailureClass
from trainyard.api.incident import Incidents, JobIncident
from trainyard.api.names import INCIDENTS, INCIDENTS_KEY
from trainyard.api.reasons import Reason
from trainyard.cli import asking, jobs, output
from trainyard.cli.access import add_system_namespace_to
from trainyard.cli.api_server import ApiServer, explained
from trainyard.cli.asking import Question, ask
from trainyard.cli.errors import NotAllowedError
from trainyard.cli.incident_table import print_csv, print_incidents
from trainyard.cli.naming import job_name
from trainyard.cli.operator_endpoint import Server
from trainyard.cluster.errors import ClusterError, Forbidden, NotFound
from trainyard.cluster.resources import CONFIG_MAPS, TRAINING_JOBS
from trainyard.questions.incidents import Wanted, incidents

_PLANNED = (
    Reason.PREEMPTED,
    Reason.SUSPENDED,
    Reason.RESIZED,
    Reason.QUEUE_DRAINED,
    Reason.BUDGET_EXHAUSTED,
    Reason.RESTORED,
)
_CAUSES = tuple(dict.fromkeys(each.value for each in (*FailureClass, *_PLANNED)))
_SPAN = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def add_to(commands: Any) -> None:
    """The parser of the command."""
    parser = commands.add_parser(
        "incidents",
        help="what interrupted jobs, how fast they went on, and what was lost",
        description="One line for each interruption of a TrainingJob, the newest first: what struck where, how long after it that was noticed, a place decided on, all pods ran and a new step was made, and what was lost. Interruptions that somebody decided on (preemptions, suspensions) are told with --planned.",
    )
    parser.add_argument("name", metavar="JOB", nargs="?", help="name, or tyj/NAME (default: all of the namespace)")
    asking.add_to(parser, ("text", "wide", "json", "csv"))
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    parser.add_argument("--node", default="", help="only those whose first failure was on this node")
    parser.add_argument(
        "--class",
        dest="cause",
        default="",
        choices=_CAUSES,
        metavar="CLASS",
        help=f"only of this class: {', '.join(_CAUSES)}",
    )
    parser.add_argument(
        "--since", type=moment, metavar="WHEN", help="only since then: 90m, 24h, 7d, or a time as 2026-11-30T12:00:00Z"
    )
    parser.add_argument("--planned", action="store_true", help="also those that somebody decided on")
    add_system_namespace_to(parser)
    parser.set_defaults(run=run)


def moment(text: str) -> datetime:
    """A time, or so long ago."""
    try:
        if (span := _SPAN.fullmatch(text)) is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[span[2]]: int(span[1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a span such as 24h nor a time such as 2026-11-30T12:00:00Z"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def run(options: argparse.Namespace) -> None:
    """Print what was asked for."""
    name = job_name(options.name) if options.name else ""

    async def by_oneself(question: Question) -> Incidents:
        wanted = _wanted(question, name)
        server = ApiServer.of(options)
        try:
            raw = server.items(TRAINING_JOBS.path(wanted.namespace or None))
        except Forbidden as error:
            raise NotAllowedError(str(error)) from None
        except ClusterError as error:
            raise explained(error, server) from None
        return incidents(jobs.all_understood(raw), _remembered(server, options.system_namespace), wanted)

    async def of_operator(question: Question, server: Server) -> Incidents:
        wanted = _wanted(question, name)
        query = {
            "namespace": wanted.namespace,
            "job": wanted.job,
            "node": wanted.node,
            "class": wanted.cause,
            "since": wanted.since.isoformat() if wanted.since else "",
            "planned": "true" if wanted.planned else "",
        }
        return await server.ask(
            Incidents, f"/v1/incidents?{urlencode({key: value for key, value in query.items() if value})}"
        )

    _print(options, ask(options, by_oneself, of_operator))


def _wanted(question: Question, name: str) -> Wanted:
    options = question.options
    namespace = "" if options.all_namespaces else question.namespace
    return Wanted(namespace, name, options.node, options.cause, options.since, options.planned)


def _remembered(server: ApiServer, namespace: str) -> list[JobIncident]:
    """Of jobs that are gone, as far as one may read that."""
    try:
        found = server.get(CONFIG_MAPS.path(namespace, INCIDENTS))
        return [JobIncident.model_validate(each) for each in orjson.loads(found["data"][INCIDENTS_KEY])["incidents"]]
    except NotFound:
        return []  # there was none yet
    except Forbidden:
        print(
            f"incidents of deleted jobs are left out: you may not read ConfigMap {namespace}/{INCIDENTS}; the operator tells of them with --server",
            file=sys.stderr,
        )
    except ClusterError as error:
        raise explained(error, server) from None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        print(
            f"incidents of deleted jobs are left out: ConfigMap {namespace}/{INCIDENTS} cannot be understood: {error!r}",
            file=sys.stderr,
        )
    return []


def _print(options: argparse.Namespace, found: Incidents) -> None:
    if options.output == "json":
        output.print_json(found.model_dump(by_alias=True, mode="json"))
    elif options.output == "csv":
        print_csv(found.incidents)
    elif found.incidents:
        print_incidents("", found.incidents, jobs=True, wide=options.output == "wide")
    else:
        print(
            "nothing of that kind interrupted a job"
            + ("" if options.planned else "; see preemptions and suspensions with --planned"),
            file=sys.stderr,
        )
    if found.left_out:
        print(f"{found.left_out} older ones are left out; ask for less with --since or --node", file=sys.stderr)
