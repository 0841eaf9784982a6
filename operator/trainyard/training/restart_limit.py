"""How many restarts a job may still have: spec.restart.maxRestarts, of those that its window still counts."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from trainyard.api.restart import Restart
from trainyard.api.training_job import TrainingJob

REMEMBERED = 64
"""Times that the status holds at most: as many as a limit with a window may count."""


def counted(job: TrainingJob, now: datetime | None = None) -> int:
    """Restarts that count against the limit. Without `now`, all that the status remembers."""
    if job.spec.restart.window_seconds is None:
        return job.status.restarts - job.status.disruptions
    times = job.status.counted_restarts
    return len(times if now is None else within(job.spec.restart, times, now))


def restarts_left(job: TrainingJob, now: datetime | None = None) -> int:
    """Restarts that spec.restart.maxRestarts still allows; without `now` never more than that."""
    return max(0, job.spec.restart.max_restarts - counted(job, now))


def remembered(spec: Restart, times: Sequence[datetime], now: datetime, more: int) -> list[datetime]:
    """Times of the restarts that count, after `more` of them now; none where there is no window."""
    if spec.window_seconds is None:
        return []
    return [*within(spec, times, now), *[now] * more][-REMEMBERED:]


def within(spec: Restart, times: Sequence[datetime], now: datetime) -> list[datetime]:
    """Those that are not longer ago than the window."""
    since = now - timedelta(seconds=spec.window_seconds or 0)
    return [time for time in times if time > since]


def words(job: TrainingJob) -> str:
    """What was allowed, for the message of a job that used it up."""
    limit, window = job.spec.restart.max_restarts, job.spec.restart.window_seconds
    return f"{limit} restarts were allowed" + (f" within {window} s" if window else "") + " and used"
