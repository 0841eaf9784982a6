"""What the status of a TrainingJob says, in the few words that fit a table or a line. Pure."""

from datetime import datetime

from trainyard.api.training_job import TrainingJob

NOTHING = "-"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_NODES_SHOWN = 4


def phase(job: TrainingJob) -> str:
    """Pending until the operator has looked at it."""
    return job.status.phase or "Pending"


def ended(job: TrainingJob) -> bool:
    return is_true(job, "Complete") or is_true(job, "Failed")


def is_true(job: TrainingJob, kind: str) -> bool:
    """Whether a condition of that type holds."""
    return any(each.type == kind and each.status == "True" for each in job.status.conditions)


def message(job: TrainingJob, kind: str) -> str:
    """What the condition of that type says."""
    return next((each.message for each in job.status.conditions if each.type == kind), "")


def name(job: TrainingJob) -> str:
    return f"{job.metadata.namespace}/{job.metadata.name}"


def position(job: TrainingJob) -> str:
    return NOTHING if job.status.queue_position is None else str(job.status.queue_position)


def gpus(job: TrainingJob) -> str:
    return str(job.status.gpus or job.gpus())


def progress(job: TrainingJob) -> str:
    """120/500 24%, or 120 where nobody knows how many there are."""
    found = job.status.progress
    if found is None:
        return NOTHING
    if not found.total_steps:
        return str(found.step)
    return f"{found.step}/{found.total_steps} {100 * found.step // found.total_steps}%"


def eta(job: TrainingJob, now: datetime) -> str:
    """Time until a running job ends, or until a waiting one starts."""
    status = job.status
    if status.phase == "Running" and status.progress is not None and status.progress.eta:
        return status.progress.eta
    if status.admission is not None or status.eta is None or ended(job):
        return NOTHING
    left = (status.eta.likely - now).total_seconds()
    return f"starts in {span(left)}" if left > 0 else "starts soon"


def age(since: datetime | None, now: datetime) -> str:
    return NOTHING if since is None else span((now - since).total_seconds())


def nodes(job: TrainingJob, most: int = _NODES_SHOWN) -> str:
    """Each node once, with how many of the gang's pods it has: gpu-1*2,gpu-2."""
    admission = job.status.admission
    if admission is None:
        return NOTHING
    counts: dict[str, int] = {}
    for role in admission.roles:
        for run in role.runs:
            node = role.prefix + run.node
            counts[node] = counts.get(node, 0) + run.count
    named = [node if count == 1 else f"{node}*{count}" for node, count in list(counts.items())[:most]]
    return ",".join(named) + (f" and {len(counts) - most} more" if len(counts) > most else "")


def loss(job: TrainingJob) -> str:
    found = job.status.progress
    return NOTHING if found is None or found.loss is None else f"{found.loss:.4g}"


def throughput(job: TrainingJob) -> str:
    """Samples per second over all workers."""
    found = job.status.progress
    return NOTHING if found is None or found.throughput is None else f"{found.throughput:.0f}/s"


def checkpoint(job: TrainingJob) -> str:
    """Step of the last durable one."""
    return NOTHING if job.status.checkpoint is None else str(job.status.checkpoint.step)


def last_failure(job: TrainingJob) -> str:
    return NOTHING if job.status.last_failure is None else job.status.last_failure.kind.value


def span(seconds: float) -> str:
    """As kubectl writes an age: 45s, 3m20s, 47m, 5h12m, 30h, 6d4h, 90d."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // _MINUTE, whole // _HOUR, whole // _DAY
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if minutes < 10:  # noqa: PLR2004  as kubectl
        return _two(minutes, "m", whole % _MINUTE, "s")
    if hours < 3:  # noqa: PLR2004
        return f"{minutes}m"
    if hours < 8:  # noqa: PLR2004
        return _two(hours, "h", minutes % 60, "m")
    if days < 2:  # noqa: PLR2004
        return f"{hours}h"
    return _two(days, "d", hours % 24, "h") if days < 8 else f"{days}d"  # noqa: PLR2004


def _two(large: int, unit: str, small: int, lesser: str) -> str:
    return f"{large}{unit}" + (f"{small}{lesser}" if small else "")
