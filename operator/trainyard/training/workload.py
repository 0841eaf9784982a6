"""A TrainingJob as the scheduler sees it, and the checks that hold it back before the scheduler is asked."""

from collections.abc import Callable
from datetime import UTC, datetime

from trainyard.api.placement import TopologySpec
from trainyard.api.quantity import LARGEST
from trainyard.api.reasons import ConditionType, Waiting
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.resources import parse
from trainyard.scheduling.snapshot import (
    NO_NAMES,
    Assignment,
    Nominated,
    PodSet,
    Topology,
    Verdict,
    Workload,
    WorkloadKey,
)
from trainyard.training.budget import exhausted, used_up
from trainyard.training.observed import Claim, Observed
from trainyard.training.parent import parent_missing, several_processes
from trainyard.training.pods import Part, elastic, parts
from trainyard.training.roles import cycle, unknown_role
from trainyard.training.status import goes_on, stopping
from trainyard.workloads import conditions
from trainyard.workloads.flavors import accepted, throughputs, unshared
from trainyard.workloads.nominations import nominated
from trainyard.workloads.pod_template import pod_set


def finished(job: TrainingJob) -> bool:
    """Complete or failed: it never runs again."""
    return conditions.holds(job.status.conditions, ConditionType.COMPLETE) or conditions.holds(
        job.status.conditions, ConditionType.FAILED
    )


def being_restored(job: TrainingJob) -> bool:
    """Whether a restore has not come to its end yet. It never holds up a job that has a place: anybody may write the mark."""
    return job.metadata.restoring and job.status.admission is None


def inactive(job: TrainingJob) -> Verdict | None:
    """Why the job neither has nor wants a place; None if it does."""
    if finished(job):
        again = "it never runs again; create it under another name to run it once more"
        return Verdict(Waiting.DEACTIVATED, f"the job ended as {job.status.phase}{_why_it_failed(job)}; {again}")
    if job.metadata.deletion_timestamp:
        return Verdict(Waiting.DEACTIVATED, "the job is being deleted")
    if being_restored(job):
        return Verdict(
            Waiting.ADMISSION_GATED, "it is being restored from a backup; `trainyard restore` lets it go on at its end"
        )
    if job.status.admission is None and job.spec.suspend:
        return Verdict(Waiting.SUSPENDED, "spec.suspend is true; set it to false and the job asks for a place")
    if job.status.admission is None and exhausted(job):
        return Verdict(Waiting.SUSPENDED, used_up(job))
    return None


def _why_it_failed(job: TrainingJob) -> str:
    failure = job.status.last_failure
    if failure is None or not conditions.holds(job.status.conditions, ConditionType.FAILED):
        return ""
    where = f"{failure.role} {failure.index}" + (f" on {failure.node}" if failure.node else "")
    return f" ({failure.kind.value}, first of {where}: {failure.message[:300]}). What usually helps: {failure.remedy}"


def workload(observed: Observed, now: datetime) -> Workload | None:
    """What the scheduler should know of the job; None if it neither has nor wants a place."""
    job, spec, status = observed.job, observed.job.spec, observed.job.status
    if inactive(job):
        return None
    pods = _pods(job)
    return Workload(
        key=WorkloadKey("TrainingJob", job.metadata.namespace, job.metadata.name),
        uid=job.metadata.uid,
        queue=spec.queue,
        created=job.since() or datetime.fromtimestamp(0, UTC),
        pods=pods,
        priority=spec.priority,
        admission=place_of(job),
        avoid=frozenset(each.name for each in status.avoid if each.until > now) or NO_NAMES,
        blocked=blocked(observed) if status.admission is None else None,
        topology=_topology(spec.topology),
        flavors=accepted(spec.flavors, pods, observed.flavors),
        throughputs=throughputs(spec.flavors),
        duration=observed.expected_seconds or spec.expected_seconds,
        started=_started(job),
        checkpoint=status.checkpoint.time if status.checkpoint else None,
        preemptible=spec.preemptible,
        in_place=elastic(job) and spec.storage is not None,
        preemptions=status.preemptions,
        placed=status.admission.time if status.admission else None,
        nomination=_nomination(job),
        leaving=stopping(status) is not None or (status.preemption is not None and not goes_on(status)),
        lost=lost_of_place(observed),
    )


def lost_of_place(observed: Observed) -> frozenset[str]:
    """Nodes of the place that the job holds which are of no use to it any more: silent, going soon, or cordoned and without its pods."""
    admission = observed.job.status.admission
    unused = observed.cordoned and observed.cordoned - _in_use(observed)
    gone = observed.lost_nodes.union(observed.leaving, unused)
    if admission is None or not gone:
        return NO_NAMES
    return gone & {node for role in admission.roles for node in role.nodes()}


def _in_use(observed: Observed) -> set[str]:
    attempt = observed.job.status.attempt
    return {
        pod.node for pod in observed.pods if pod.attempt == attempt and not pod.finished and pod.deleting_since is None
    }


def place_of(job: TrainingJob) -> Assignment | None:
    """The place that the job holds, as the scheduler sees it."""
    admission = job.status.admission
    if admission is None:
        return None
    return Assignment(admission.flavor, {role.name: tuple(role.nodes()) for role in admission.roles})


def _nomination(job: TrainingJob) -> Nominated | None:
    found = job.status.nomination
    if found is None or job.status.admission is not None:
        return None
    return nominated(found)


def _topology(asked: TopologySpec | None) -> Topology | None:
    if asked is None:
        return None
    return Topology(asked.level, asked.mode, asked.slice_size, asked.slice_level or "")


def _started(job: TrainingJob) -> datetime | None:
    """When the job began to hold the place it holds now, or when all its pods ran for the first time, if that was later."""
    admission, first = job.status.admission, job.status.start_time
    if admission is None:
        return None
    return admission.time if first is None else max(first, admission.time)


def _pods(job: TrainingJob) -> tuple[PodSet, ...]:
    try:
        return tuple(_pod_set(part) for part in parts(job))
    except ValueError:
        return ()  # said by bad_resources or bad_template, which block the job


def _pod_set(part: Part) -> PodSet:
    return pod_set(part.role, part.replicas, part.resources, part.template, least=part.least)


Check = Callable[[Observed], Verdict | None]


def blocked(observed: Observed) -> Verdict | None:
    """The first reason for which the job cannot start as things are."""
    return next((verdict for check in CHECKS if (verdict := check(observed))), None)


def bad_resources(observed: Observed) -> Verdict | None:
    for part in parts(observed.job):
        for kind in ("limits", "requests"):
            for name, quantity in getattr(part.resources, kind).items():
                if (problem := _bad_quantity(quantity)) is not None:
                    return Verdict(Waiting.MISCONFIGURED, f"{part.field}.resources.{kind}[{name}]: {problem}")
    return None


def _bad_quantity(quantity: str) -> str | None:
    try:
        amount = parse(quantity)
    except ValueError as error:
        return str(error)
    if amount < 0:
        return f"{quantity} is negative; expected zero or more"
    if amount >= LARGEST:
        return f"{quantity} is more than any node can offer"
    return None


def bad_fraction(observed: Observed) -> Verdict | None:
    """A part of a GPU is to be had only where the flavor says so."""
    for part in parts(observed.job):
        if problem := unshared(part.resources, observed.job.spec.flavors, observed.flavors):
            return Verdict(Waiting.MISCONFIGURED, f"{part.field}.resources.{problem}")
    return None


def bad_template(observed: Observed) -> Verdict | None:
    for part in parts(observed.job):
        try:
            _pod_set(part)
        except ValueError as error:
            return Verdict(Waiting.MISCONFIGURED, f"{part.field}.template: {error}")
    return None


def bad_roles(observed: Observed) -> Verdict | None:
    """A role is named that the job does not have, or roles wait for each other."""
    problem = unknown_role(observed.job.spec) or cycle(observed.job.spec)
    return Verdict(Waiting.MISCONFIGURED, problem) if problem else None


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
    if not modes or job.spec.pods() == 1 or "ReadWriteMany" in modes:
        return None
    return Verdict(
        Waiting.MISCONFIGURED,
        f"spec.storage: {job.spec.pods()} {job.spec.noun} need a claim with ReadWriteMany; this one has {', '.join(modes)}",
    )


def _modes(claim: Claim | None, job: TrainingJob) -> tuple[str, ...]:
    if claim is not None:
        return claim.access_modes
    template = job.spec.storage.claim_template if job.spec.storage else None
    return tuple(template.access_modes) if template else ()


def template_refused(observed: Observed) -> Verdict | None:
    if not observed.refusal:
        return None
    if observed.refused_field:
        return Verdict(Waiting.MISCONFIGURED, f"{observed.refused_field}: {observed.refusal}")
    return Verdict(
        Waiting.MISCONFIGURED,
        f"{'spec.workers.template or one of spec.roles' if observed.job.spec.roles else 'spec.workers.template'}: the API server refuses such a pod in namespace {observed.job.metadata.namespace!r}: {observed.refusal}",
    )


def gated(observed: Observed) -> Verdict | None:
    """Somebody outside has not decided yet."""
    gates = observed.job.spec.admission_gates
    if not gates:
        return None
    return Verdict(
        Waiting.ADMISSION_GATED,
        f"spec.admissionGates: {', '.join(gates)}; the job goes on when whoever decides has taken each of them out",
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
    bad_fraction,
    bad_template,
    bad_roles,
    several_processes,
    storage_missing,
    storage_not_shared,
    parent_missing,
    template_refused,
    gated,
    earlier_pods,
)
