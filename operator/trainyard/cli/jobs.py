"""TrainingJobs as the API server has them, one or a list, with errors that help."""

import difflib
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from trainyard.api.meta import problems
from trainyard.api.training_job import TrainingJob
from trainyard.cli.api_server import ApiServer, explained
from trainyard.cli.errors import CliError
from trainyard.cluster.errors import ClusterError, NotFound
from trainyard.cluster.resources import TRAINING_JOBS, Object

_NAMED = 5


def one(server: ApiServer, namespace: str, name: str) -> Object:
    """Raises CliError."""
    try:
        return server.get(TRAINING_JOBS.path(namespace, name))
    except NotFound as error:
        if not names_the_object(error, name):
            raise explained(error, server) from None
        hint = _hint(_names(server, namespace), name)
        raise CliError(f"there is no TrainingJob {name!r} in namespace {namespace!r}; {hint}") from None
    except ClusterError as error:
        raise explained(error, server) from None


def several(server: ApiServer, namespace: str | None) -> list[Object]:
    """Of a namespace, or of all. Raises CliError."""
    try:
        return server.items(TRAINING_JOBS.path(namespace))
    except ClusterError as error:
        raise explained(error, server) from None


def names_the_object(error: NotFound, name: str) -> bool:
    """Whether the object is not there, and not its kind or its namespace."""
    return error.reason == "NotFound" and f'"{name}"' in error.message


def understood(raw: Object) -> TrainingJob:
    """Raises CliError for one that another version wrote."""
    try:
        return TrainingJob.model_validate(raw)
    except ValidationError as error:
        meta = raw.get("metadata") or {}
        raise CliError(
            f"TrainingJob {meta.get('namespace')}/{meta.get('name')} cannot be understood: {problems(error)}. Does this command have the version of the operator?"
        ) from None


def all_understood(raw: Sequence[Object]) -> list[TrainingJob]:
    """Without those that are not, which are told of."""
    found = []
    for each in raw:
        try:
            found.append(understood(each))
        except CliError as error:
            print(f"left out: {error}", file=sys.stderr)
    return found


def _names(server: ApiServer, namespace: str) -> list[str]:
    try:
        return sorted(each["metadata"]["name"] for each in server.items(TRAINING_JOBS.path(namespace)))
    except ClusterError:
        return []


def _hint(names: Sequence[str], name: str) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"near to it: {', '.join(near)}"
    if names:
        return f"there are: {', '.join(names[:_NAMED])}{' ...' if len(names) > _NAMED else ''}"
    return "name another namespace with -n, or see them all with `trainyard get -A`"
