"""`trainyard logs`: what the pods of a job write, one after the other, or all together as they write it."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import Queue
from threading import Thread
from typing import Any

from trainyard.api.training_job import TrainingJob
from trainyard.cli import access, jobs
from trainyard.cli.api_server import ApiServer
from trainyard.cli.errors import CliError
from trainyard.cli.gang_pods import GangPod, choice, listed, pods_of, why
from trainyard.cli.naming import job_name
from trainyard.cluster.errors import ClusterError, Forbidden, Invalid, NotFound
from trainyard.cluster.resources import PODS

CONTAINER = "trainer"
PERIOD_SECONDS = 2.0
MOST_FOLLOWED = 32
"""Each pod that is followed takes a connection of the API server, and of its kubelet, for as long."""
_WAITING_LINES = 1000


def add_to(commands: Any) -> None:
    """The parser of the command."""
    parser = commands.add_parser(
        "logs",
        help="what the pods of a job write",
        description="Logs of the pods of a TrainingJob's current attempt, each line with role and index of its pod in front if there are several.",
    )
    parser.add_argument("name", metavar="JOB", help="name, or tyj/NAME")
    access.add_to(parser)
    parser.add_argument(
        "--rank", type=_count, metavar="N", help="only the worker that runs the process of this global rank"
    )
    parser.add_argument("--role", help="only pods of this role, e.g. worker")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the pods end")
    parser.add_argument("--tail", type=_count, metavar="N", help="only the last N lines of each pod")
    parser.add_argument("--previous", action="store_true", help="the attempt before the current one")
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def run(options: argparse.Namespace) -> None:
    """Print the logs."""
    name = job_name(options.name)
    server = ApiServer.of(options)
    job = jobs.understood(jobs.one(server, options.namespace or server.namespace, name))
    pods = pods_of(server, job, choice(job, rank=options.rank, role=options.role, previous=options.previous))
    if options.follow and len(pods) > MOST_FOLLOWED:
        raise CliError(
            f"{len(pods)} pods are more than can be followed together ({MOST_FOLLOWED}); choose with --rank or --role, or leave out -f"
        )
    query = {"container": CONTAINER} | ({} if options.tail is None else {"tailLines": str(options.tail)})
    source = Source(server, job.metadata.namespace, query)
    lines = source.as_they_come(pods) if options.follow else source.one_after_the_other(pods)
    failed = _print(lines, prefixed=len(pods) > 1, flushed=options.follow)
    if failed:
        raise _unread(job, failed)


Line = tuple[GangPod, str | ClusterError | CliError]
"""What a pod wrote, or why that cannot be had."""


class Source:
    """Logs of pods of one namespace."""

    def __init__(
        self, server: ApiServer, namespace: str, query: Mapping[str, str], pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._server, self._namespace, self._query, self._pause = server, namespace, query, pause

    def one_after_the_other(self, pods: Sequence[GangPod]) -> Iterator[Line]:
        """All that there is so far."""
        for pod in pods:
            try:
                for line in self._lines(pod, self._server.lines, self._query):
                    yield pod, line
            except ClusterError as error:
                yield pod, error

    def as_they_come(self, pods: Sequence[GangPod]) -> Iterator[Line]:
        """All that there is and will be, until the last pod ends. A pod that has not started is waited for."""
        found: Queue[Line | None] = Queue(_WAITING_LINES)
        for pod in pods:
            Thread(target=self._follow, args=(pod, found), daemon=True).start()
        left = len(pods)
        while left:
            line = found.get()
            if line is None:
                left -= 1
            else:
                yield line

    def _follow(self, pod: GangPod, found: "Queue[Line | None]") -> None:
        said = ""
        try:
            while True:
                try:
                    for line in self._lines(pod, self._server.lines_as_they_come, {**self._query, "follow": "true"}):
                        found.put((pod, line))
                except Invalid as error:
                    if not self._will_start(pod):
                        raise
                    if error.message != said:
                        print(f"{pod} has not started yet: {error.message}", file=sys.stderr)
                    said = error.message
                else:
                    return
                self._pause(PERIOD_SECONDS)
        except (ClusterError, CliError) as error:
            found.put((pod, error))
        finally:
            found.put(None)

    def _lines(
        self, pod: GangPod, read: Callable[[str, Mapping[str, str]], Iterator[str]], query: Mapping[str, str]
    ) -> Iterator[str]:
        empty = True
        for line in read(PODS.path(self._namespace, pod.name, "log"), query):
            empty = False
            yield line
        # Of a pod without a node the API server has an empty log, and no complaint.
        if empty and self._will_start(pod):
            raise Invalid("it waits for its node, or for its containers to be made")

    def _will_start(self, pod: GangPod) -> bool:
        try:
            found = self._server.get(PODS.path(self._namespace, pod.name))
        except Forbidden:
            return False
        return (found.get("status") or {}).get("phase") == "Pending" and "deletionTimestamp" not in found["metadata"]


def _print(lines: Iterator[Line], *, prefixed: bool, flushed: bool) -> list[tuple[GangPod, ClusterError | CliError]]:
    """Returns the pods whose log cannot be had, or not to its end."""
    failed: list[tuple[GangPod, ClusterError | CliError]] = []
    for pod, line in lines:
        if not isinstance(line, str):
            failed.append((pod, line))
            continue
        print(f"{pod} | {line}" if prefixed else line, flush=flushed)
    return failed


def _unread(job: TrainingJob, failed: Sequence[tuple[GangPod, ClusterError | CliError]]) -> CliError:
    first = failed[0][1]
    named = f"the log of {listed([pod for pod, _ in failed])} cannot be read"
    if isinstance(first, NotFound):
        return CliError(f"{named}: the pod was deleted meanwhile")
    if isinstance(first, Invalid):
        return CliError(f"{named}: {first.message}. If it has not started yet, {why(job)} tells of its job")
    return CliError(f"{named}: {first.message if isinstance(first, ClusterError) else first}")
