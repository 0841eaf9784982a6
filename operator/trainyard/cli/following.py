"""Follows TrainingJobs to their end: a line that renews itself on a terminal, a line for each change elsewhere.

The jobs are asked for every few seconds rather than watched: it needs no further right, and a cluster that is away for a while changes
nothing.
"""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from trainyard.api.training_job import TrainingJob
from trainyard.cli import job_facts as facts
from trainyard.cli import jobs
from trainyard.cli.api_server import ApiServer, explained
from trainyard.cli.errors import CliError
from trainyard.cluster.errors import ClusterError, NotFound, TooManyRequests
from trainyard.cluster.resources import TRAINING_JOBS, Object
from trainyard.runtime.clock import Clock, SystemClock

PERIOD_SECONDS = 2.0
PATIENCE_SECONDS = 300.0
"""So long a cluster may be away."""


class Screen(Protocol):
    """Where the state of jobs is shown."""

    def show(self, job: TrainingJob, now: datetime) -> None:
        """What it is now."""
        ...

    def close(self) -> None:
        """Nothing follows."""
        ...


class Changes:
    """One line for each change."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}

    def show(self, job: TrainingJob, now: datetime) -> None:
        line, change = described(job, now), described(job, None)
        if self._shown.get(job.metadata.uid) != change:
            self._shown[job.metadata.uid] = change
            print(line, flush=True)

    def close(self) -> None:
        pass


class Live:
    """One line that renews itself; of a phase that is over the last one stays."""

    def __init__(self) -> None:
        self._phase: tuple[str, str] | None = None

    def show(self, job: TrainingJob, now: datetime) -> None:
        phase = (facts.phase(job), job.status.reason)
        if self._phase not in (None, phase):
            sys.stdout.write("\n")
        self._phase = phase
        width = shutil.get_terminal_size().columns - 1
        sys.stdout.write(f"\r\x1b[K{described(job, now)[:width]}")
        sys.stdout.flush()

    def close(self) -> None:
        if self._phase is not None:
            sys.stdout.write("\n")
            sys.stdout.flush()


def described(job: TrainingJob, now: datetime | None) -> str:
    """Phase, reason, step and time left. now: None leaves out what changes by itself as time goes by."""
    status = job.status
    parts = [f"{facts.name(job)}: {facts.phase(job)}"]
    if status.reason and status.reason != status.phase:
        parts[0] += f" ({status.reason})"
    parts += [f"attempt {status.attempt}"] if status.attempt > 1 else []
    parts += [f"position {status.queue_position} in queue {job.spec.queue}"] if status.queue_position else []
    parts += [f"step {facts.progress(job)}"] if status.progress else []
    if now is not None and (eta := facts.eta(job, now)) != facts.NOTHING:
        parts.append(eta if eta.startswith("starts") else f"{eta} left")
    return ", ".join(parts)


def follow(
    server: ApiServer,
    created: Sequence[Object],
    pause: Callable[[float], None] = time.sleep,
    clock: Clock | None = None,
) -> None:
    """Returns when all are Complete; raises CliError if one is not, or cannot be followed."""
    screen: Screen = Live() if sys.stdout.isatty() and len(created) == 1 else Changes()
    try:
        ended = _until_all_ended(server, created, screen, pause, clock or SystemClock())
    finally:
        screen.close()
    failed = [each for each in ended if facts.is_true(each, "Failed")]
    if failed:
        raise CliError("\n".join(_why_failed(each) for each in failed))


def _until_all_ended(
    server: ApiServer, created: Sequence[Object], screen: Screen, pause: Callable[[float], None], clock: Clock
) -> list[TrainingJob]:
    left, ended = list(created), []
    heard = clock.monotonic()
    silent = False
    while left:
        for each in tuple(left):
            try:
                job = _now(server, each)
            except ClusterError as error:
                if not (error.ambiguous or isinstance(error, TooManyRequests)):
                    raise explained(error, server) from None
                if clock.monotonic() - heard > PATIENCE_SECONDS:
                    raise CliError(
                        f"{explained(error, server)} The jobs go on by themselves; `trainyard get` tells of them"
                    ) from None
                if not silent:
                    print(f"no answer, asking again: {error.message}", file=sys.stderr)
                silent = True
                break
            heard, silent = clock.monotonic(), False
            screen.show(job, clock.now())
            if facts.ended(job):
                left.remove(each)
                ended.append(job)
        if left:
            pause(PERIOD_SECONDS)
    return ended


def _now(server: ApiServer, created: Object) -> TrainingJob:
    """Raises ClusterError, or CliError if the job is gone."""
    meta = created["metadata"]
    try:
        raw = server.get(TRAINING_JOBS.path(meta["namespace"], meta["name"]))
    except NotFound as error:
        if not jobs.names_the_object(error, meta["name"]):
            raise
        raw = {}
    if (raw.get("metadata") or {}).get("uid") != meta["uid"]:
        raise CliError(
            f"TrainingJob {meta['namespace']}/{meta['name']} is gone before it was seen to end: somebody deleted it, or spec.ttlSecondsAfterFinished is very short"
        )
    return jobs.understood(raw)


def _why_failed(job: TrainingJob) -> str:
    text = f"TrainingJob {facts.name(job)} failed: {job.status.reason}: {facts.message(job, 'Failed')}"
    failure = job.status.last_failure
    return f"{text}. What usually helps: {failure.remedy}" if failure and failure.remedy else text
