"""A TrainingJob in numbers: from its status, its pods, and what its trainer said since the status was written."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from trainyard.api.training_job import Progress, TrainingJob
from trainyard.metrics import definitions as d
from trainyard.metrics.picture import Picture
from trainyard.metrics.sample import Sample
from trainyard.training.budget import used_gpu_hours
from trainyard.training.observed import Report
from trainyard.training.reports import MOST_MEASURES
from trainyard.training.status import Draft
from trainyard.training.stragglers import current
from trainyard.workloads.pod_state import PodState

_LONGEST = 256
"""Characters of a label's value: no name of Kubernetes is longer, an image reference may be."""
_HOUR = 3600.0
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def training_job_samples(picture: Picture) -> Iterator[Sample]:
    """All series of all jobs."""
    for job in picture.jobs:
        name, uid = (job.metadata.namespace, job.metadata.name), job.metadata.uid
        yield from _life(name, job)
        yield from _budget(name, job, picture.now)
        yield from _workers(name, job, picture.pods.get(uid, ()))
        yield from _progress(name, job, picture.reports.get(uid), picture.now)


def _life(name: tuple[str, str], job: TrainingJob) -> Iterator[Sample]:
    spec, status = job.spec, job.status
    flavor = status.admission.flavor if status.admission else ""
    model = spec.model.name if spec.model else (spec.entrypoint.image if spec.entrypoint else "") or "custom"
    dataset = spec.dataset.name if spec.dataset else ""
    yield Sample(d.JOB_INFO, (*name, job.metadata.uid, spec.queue, flavor, model[:_LONGEST], dataset), 1)
    yield Sample(d.JOB_PHASE, (*name, status.phase or "Pending"), 1)
    yield Sample(d.JOB_GPUS, name, status.gpus or job.gpus())
    yield Sample(d.JOB_RESTARTS, (*name, "failure"), status.restarts - status.disruptions)
    yield Sample(d.JOB_RESTARTS, (*name, "disruption"), status.disruptions)
    if status.checkpoint:
        yield Sample(d.JOB_CHECKPOINT_STEP, name, status.checkpoint.step)
        if status.checkpoint.time:
            yield Sample(d.JOB_CHECKPOINT_TIME, name, status.checkpoint.time.timestamp())
    if status.first_step_time and (since := job.since()):
        waited = (status.first_step_time - since).total_seconds()  # by two clocks
        yield Sample(d.JOB_FIRST_STEP, name, max(0.0, waited))
    for each in current(status.stragglers):
        yield Sample(d.JOB_STRAGGLER, (*name, each.node), each.factor)


def _budget(name: tuple[str, str], job: TrainingJob, now: datetime) -> Iterator[Sample]:
    if job.spec.budget is not None:
        yield Sample(d.JOB_BUDGET, name, job.spec.budget.max_gpu_hours * _HOUR)
        yield Sample(d.JOB_BUDGET_USED, name, used_gpu_hours(job, now) * _HOUR)


def _workers(name: tuple[str, str], job: TrainingJob, pods: tuple[PodState, ...]) -> Iterator[Sample]:
    """Pods as they are now; of those that are gone the status knows how many succeeded."""
    current = [pod for pod in pods if pod.attempt == job.status.attempt]
    counts = {
        "desired": job.spec.pods(),
        "active": sum(not pod.finished for pod in current),
        "ready": sum(pod.running and pod.ready for pod in current),
        "succeeded": sum(pod.phase == "Succeeded" for pod in current) if current else job.status.workers.succeeded,
        "failed": sum(pod.phase == "Failed" for pod in current),
    }
    placed = job.status.admission is not None and job.status.completion_time is None
    for state, count in counts.items():
        if count or placed:  # of what waits or has ended, zeros say nothing
            yield Sample(d.JOB_WORKERS, (*name, state), count)


def _progress(name: tuple[str, str], job: TrainingJob, report: Report | None, now: datetime) -> Iterator[Sample]:
    progress = newest(job, report)
    if progress is None:
        return
    yield Sample(d.JOB_STEP, name, progress.step)
    yield Sample(d.JOB_LAST_PROGRESS, name, progress.updated_at.timestamp())
    yield Sample(d.JOB_CHECKPOINT_FAILURES, name, progress.checkpoint_failures)
    if progress.total_steps is not None:
        yield Sample(d.JOB_TOTAL_STEPS, name, progress.total_steps)
    if interval := _checkpoint_interval(job, progress):
        yield Sample(d.JOB_CHECKPOINT_INTERVAL, name, interval)
    if chosen := progress.checkpointing:
        yield Sample(d.JOB_CHECKPOINT_STALL, name, chosen.stall_seconds)
        yield Sample(d.JOB_CHECKPOINT_SECONDS, name, chosen.seconds)
        if chosen.interruption_seconds is not None:
            yield Sample(d.JOB_INTERRUPTION, name, chosen.interruption_seconds)
    if progress.loss is not None:
        yield Sample(d.JOB_LOSS, name, progress.loss)
    if progress.throughput is not None and job.status.phase == "Running":
        yield Sample(d.JOB_THROUGHPUT, name, progress.throughput)
    yield from _measures(name, progress.metrics, report)
    if progress.eta:
        since = (now - progress.updated_at).total_seconds()
        yield Sample(d.JOB_ETA, name, max(0.0, seconds_of(progress.eta) - max(0.0, since)))


def _measures(name: tuple[str, str], told: Mapping[str, float], report: Report | None) -> Iterator[Sample]:
    """Those with a series of their own, and how many others there are. What the status alone tells of, from before we were, comes last."""
    places = report.measures if report is not None else ()
    shown = [each for each in (*places, *sorted(told.keys() - places))[:MOST_MEASURES] if each in told]
    for each in shown:
        yield Sample(d.JOB_METRIC, (*name, each), told[each])
    if left_out := len(told) - len(shown):
        yield Sample(d.JOB_MEASURES_LEFT_OUT, name, left_out)


def _checkpoint_interval(job: TrainingJob, progress: Progress) -> float | None:
    """As the trainer does it: so many steps, as many as it decided, or an epoch."""
    training, total = job.spec.training, progress.total_steps
    if job.spec.storage is None or job.spec.model is None:
        return None
    if training.checkpoint_every_steps == "auto":
        return progress.checkpointing.every_steps if progress.checkpointing else None
    return training.checkpoint_every_steps or (total / training.epochs if total else None)


def newest(job: TrainingJob, report: Report | None) -> Progress | None:
    """The status is written every half minute; a report of the same attempt that came since is newer."""
    known = job.status.progress
    if report is None or report.attempt != job.status.attempt or (known and report.received <= known.updated_at):
        return known
    draft = Draft(job, report.received)
    draft.reported(report)
    progress: Progress = draft.fields["progress"]
    return progress


def seconds_of(duration: str) -> float:
    """Seconds in a duration as `status.progress.eta` shows it: 45s, 3m20s, 5h12m."""
    found = _DURATION.fullmatch(duration)
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return float(hours * 3600 + minutes * 60 + seconds)
