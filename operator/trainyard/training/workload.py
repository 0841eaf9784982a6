"""A TrainingJob as the scheduler sees it, and the checks that hold it back before the scheduler is asked."""

from collections.abc import Callable
from datetime import UTC, datetime

from trainyard.api.names import GPU
from trainyard.api.quantity import LARGEST
from trainyard.api.reasons import ConditionType, Waiting
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.resources import parse
from trainyard.scheduling.snapshot import Assignment, PodSet, Verdict, Workload, WorkloadKey
from trainyard.training.observed import ROLE, Claim, Observed
from trainyard.workloads import conditions
from trainyard.workloads.pod_template import pod_set

_WHOLE = 1000


def finished(job: TrainingJob) -> bool:
    """Complete or failed: it never runs again."""
    return conditions.holds(job.status.conditions, ConditionType.COMPLETE) or conditions.holds(
        job.status.conditions, ConditionType.FAILED
    )


def workload(observed: Observed, now: datetime) -> Workload | None:
    """What the scheduler should know of the job; None if it neither has nor wants a place."""
    job = observed.job
    if finished(job) or job.metadata.deletion_timestamp:
        return None
    if job.status.admission is None and job.spec.suspend:
        return None
    admission = job.status.admission
    return Workload(
        key=WorkloadKey("TrainingJob", job.metadata.namespace, job.metadata.name),
        uid=job.metadata.uid,
        queue=job.spec.queue,
        created=job.metadata.creation_timestamp or datetime.fromtimestamp(0, UTC),
        pods=_pods(job),
        priority=job.spec.priority,
        admission=Assignment(admission.flavor, {role.name: tuple(role.nodes()) for role in admission.roles})
        if admission
        else None,
        avoid=frozenset(each.name for each in job.status.avoid if each.until > now),
        blocked=blocked(observed) if admission is None else None,
    )


def _pods(job: TrainingJob) -> tuple[PodSet, ...]:
    try:
        return (pod_set(ROLE, job.spec.workers.replicas, job.spec.workers.resources, job.spec.workers.template),)
    except ValueError:
        return ()  # said by bad_resources or bad_template, which block the job


Check = Callable[[Observed], Verdict | None]


def blocked(observed: Observed) -> Verdict | None:
    """The first reason for which the job cannot start as things are."""
    return next((verdict for check in CHECKS if (verdict := check(observed))), None)


def bad_resources(observed: Observed) -> Verdict | None:
    resources = observed.job.spec.workers.resources
    for part in ("limits", "requests"):
        for name, quantity in getattr(resources, part).items():
            if (problem := _bad_quantity(name, quantity)) is not None:
                return Verdict(Waiting.MISCONFIGURED, f"spec.workers.resources.{part}[{name}]: {problem}")
    return None


def _bad_quantity(name: str, quantity: str) -> str | None:
    try:
        amount = parse(quantity)
    except ValueError as error:
        return str(error)
    if amount < 0:
        return f"{quantity} is negative; expected zero or more"
    if amount >= LARGEST:
        return f"{quantity} is more than any node can offer"
    if name == GPU and amount % _WHOLE:
        return f"{quantity} is not a whole number of GPUs"
    return None


def bad_template(observed: Observed) -> Verdict | None:
    workers = observed.job.spec.workers
    try:
        pod_set(ROLE, workers.replicas, workers.resources, workers.template)
    except ValueError as error:
        return Verdict(Waiting.MISCONFIGURED, f"spec.workers.template: {error}")
    return None


def storage_missing(observed: Observed) -> Verdict | None:
    storage = observed.job.spec.storage
    if storage is None or storage.claim_name is None or observed.claim is not None:
        return None
    return Verdict(
        Waiting.MISCONFIGURED,
        f"spec.storage.claimName: there is no PersistentVolumeClaim {storage.claim_name!r} in namespace {observed.job.metadata.namespace!r}; create it and the job goes on",
    )


def storage_not_shared(observed: Observed) -> Verdict | None:
    job = observed.job
    modes = _modes(observed.claim, job)
    if not modes or job.spec.workers.replicas == 1 or "ReadWriteMany" in modes:
        return None
    return Verdict(
        Waiting.MISCONFIGURED,
        f"spec.storage: {job.spec.workers.replicas} workers need a claim with ReadWriteMany; this one has {', '.join(modes)}",
    )


def _modes(claim: Claim | None, job: TrainingJob) -> tuple[str, ...]:
    if claim is not None:
        return claim.access_modes
    template = job.spec.storage.claim_template if job.spec.storage else None
    return tuple(template.access_modes) if template else ()


def template_refused(observed: Observed) -> Verdict | None:
    if not observed.refusal:
        return None
    return Verdict(
        Waiting.MISCONFIGURED,
        f"spec.workers.template: the API server refuses such a pod in namespace {observed.job.metadata.namespace!r}: {observed.refusal}",
    )


def earlier_pods(observed: Observed) -> Verdict | None:
    job = observed.job
    left = [pod.name for pod in observed.pods if not pod.finished]
    if job.status.admission is not None or not left:
        return None
    return Verdict(
        Waiting.WAITING_FOR_PODS_READY,
        f"{len(left)} pods of an earlier attempt still end, {left[0]} among them; the job is placed anew when they are gone",
    )


CHECKS: tuple[Check, ...] = (
    bad_resources,
    bad_template,
    storage_missing,
    storage_not_shared,
    template_refused,
    earlier_pods,
)
