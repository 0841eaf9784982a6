"""An InferenceService as the scheduler sees it: each replica is a workload of its own, so that some may start while others wait."""

from collections.abc import Iterator
from datetime import UTC, datetime

from trainyard.api.inference_service import InferenceService, ReplicaAdmission
from trainyard.api.reasons import Waiting
from trainyard.inference.model import resolve
from trainyard.inference.observed import Observed
from trainyard.inference.revision import is_of
from trainyard.inference.rollout.stages import canaries
from trainyard.scheduling.snapshot import NO_NAMES, Assignment, Nominated, PodSet, Verdict, Workload, WorkloadKey
from trainyard.workloads.flavors import accepted, throughputs, unshared
from trainyard.workloads.nominations import nominated
from trainyard.workloads.pod_template import pod_set


def role(serial: int) -> str:
    """Name of a replica's only pod in assignments."""
    return f"replica-{serial}"


def being_restored(service: InferenceService) -> bool:
    """Whether a restore has not come to its end yet. It never holds up a service that has replicas: anybody may write the mark."""
    return service.metadata.restoring and not service.status.admission


def workload_key(service: InferenceService, serial: int) -> WorkloadKey:
    return WorkloadKey("InferenceService", service.metadata.namespace, service.metadata.name, serial)


def active(service: InferenceService) -> list[ReplicaAdmission]:
    """Replicas that are to stay."""
    return [each for each in service.status.admission if not each.release]


def current(observed: Observed) -> list[ReplicaAdmission]:
    """Those of them that are as wanted now: by their model and by the spec."""
    model = resolve(observed)
    made = [
        each for each in active(observed.service) if is_of(each, observed.service) and each.node not in observed.leaving
    ]
    return [each for each in made if isinstance(model, str) or each.digest == model.digest]


def wanted(observed: Observed) -> range:
    """Serials of the replicas that are missing."""
    serial = observed.service.status.next_serial
    return range(serial, serial + len(missing(observed)))


def missing(observed: Observed) -> list[str]:
    """Digests that they serve, in the order of their serials: those of a canary come last."""
    service, model = observed.service, resolve(observed)
    if isinstance(model, str):
        return []
    stable = [model.digest] * (service.target() - len(current(observed)))
    rollout = service.status.rollout
    extra = canaries(rollout, service.spec.rollout, service.target())
    if rollout is None or not extra:
        return stable
    there = sum(each.digest == rollout.canary.digest for each in active(service))
    return stable + [rollout.canary.digest] * (extra - there)


def workloads(observed: Observed, now: datetime) -> Iterator[Workload]:
    """Replicas that hold a place, and those that want one."""
    service = observed.service
    if service.metadata.deletion_timestamp is not None:
        return  # what its pods hold counts until they are gone
    for each in service.status.admission:
        yield _workload(observed, each.serial, now, each)
    if not being_restored(service):
        for serial in wanted(observed):
            yield _workload(observed, serial, now, None)


def _workload(observed: Observed, serial: int, now: datetime, held: ReplicaAdmission | None) -> Workload:
    service, pods = observed.service, _pods(observed.service, serial)
    return Workload(
        key=workload_key(service, serial),
        uid=service.metadata.uid,
        queue=service.spec.queue,
        created=service.since() or datetime.fromtimestamp(0, UTC),
        pods=pods,
        priority=service.spec.priority,
        nomination=None if held else _nomination(service, serial),
        admission=Assignment(held.flavor, {role(serial): (held.node,)}) if held else None,
        avoid=frozenset(each.name for each in service.status.avoid if each.until > now) or NO_NAMES,
        blocked=None if held else blocked(observed),
        flavors=accepted(service.spec.flavors, pods, observed.flavors),
        throughputs=throughputs(service.spec.flavors),
        started=held.admitted_at if held else None,
        placed=held.admitted_at if held else None,
        leaving=held is not None and held.release == "drain",
        preemptible=service.spec.preemptible,
        endless=True,
    )


def _nomination(service: InferenceService, serial: int) -> Nominated | None:
    return next((nominated(each) for each in service.status.nominations if each.serial == serial), None)


def _pods(service: InferenceService, serial: int) -> tuple[PodSet, ...]:
    try:
        return (pod_set(role(serial), 1, service.spec.resources, service.spec.template),)
    except ValueError:
        return ()  # said by `blocked`


def blocked(observed: Observed) -> Verdict | None:
    """Why no replica can start as things are."""
    service = observed.service
    try:
        pod_set("replica", 1, service.spec.resources, service.spec.template)
        if problem := unshared(service.spec.resources, service.spec.flavors, observed.flavors):
            return Verdict(Waiting.MISCONFIGURED, f"spec.resources.{problem}")
    except ValueError as error:
        return Verdict(Waiting.MISCONFIGURED, f"spec.resources: {error}")
    if observed.refusal:
        return Verdict(
            Waiting.MISCONFIGURED,
            f"spec.template: the API server refuses such a pod in namespace {service.metadata.namespace!r}: {observed.refusal}",
        )
    return None
