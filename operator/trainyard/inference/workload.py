"""An InferenceService as the scheduler sees it: each replica is a workload of its own, so that some may start while others wait."""

from collections.abc import Iterator
from datetime import UTC, datetime

from trainyard.api.inference_service import InferenceService, ReplicaAdmission
from trainyard.api.reasons import Waiting
from trainyard.inference.model import resolve
from trainyard.inference.observed import Observed
from trainyard.scheduling.snapshot import Assignment, PodSet, Verdict, Workload, WorkloadKey
from trainyard.workloads.flavors import accepted, throughputs, unshared
from trainyard.workloads.pod_template import pod_set


def role(serial: int) -> str:
    """Name of a replica's only pod in assignments."""
    return f"replica-{serial}"


def workload_key(service: InferenceService, serial: int) -> WorkloadKey:
    return WorkloadKey("InferenceService", service.metadata.namespace, service.metadata.name, serial)


def active(service: InferenceService) -> list[ReplicaAdmission]:
    """Replicas that are to stay."""
    return [each for each in service.status.admission if not each.release]


def current(observed: Observed) -> list[ReplicaAdmission]:
    """Those of them that serve the model that is wanted now."""
    model = resolve(observed)
    return [each for each in active(observed.service) if isinstance(model, str) or each.digest == model.digest]


def wanted(observed: Observed) -> range:
    """Serials of the replicas that are missing."""
    service = observed.service
    missing = service.spec.replicas - len(current(observed)) if not isinstance(resolve(observed), str) else 0
    return range(service.status.next_serial, service.status.next_serial + max(0, missing))


def workloads(observed: Observed, now: datetime) -> Iterator[Workload]:
    """Replicas that hold a place, and those that want one."""
    service = observed.service
    for each in service.status.admission:
        yield _workload(observed, each.serial, now, each)
    if service.metadata.deletion_timestamp is None:
        for serial in wanted(observed):
            yield _workload(observed, serial, now, None)


def _workload(observed: Observed, serial: int, now: datetime, held: ReplicaAdmission | None) -> Workload:
    service, pods = observed.service, _pods(observed.service, serial)
    return Workload(
        key=workload_key(service, serial),
        uid=service.metadata.uid,
        queue=service.spec.queue,
        created=service.metadata.creation_timestamp or datetime.fromtimestamp(0, UTC),
        pods=pods,
        priority=service.spec.priority,
        admission=Assignment(held.flavor, {role(serial): (held.node,)}) if held else None,
        avoid=frozenset(each.name for each in service.status.avoid if each.until > now),
        blocked=None if held else blocked(observed),
        flavors=accepted(service.spec.flavors, pods, observed.flavors),
        throughputs=throughputs(service.spec.flavors),
        started=held.admitted_at if held else None,
        preemptible=service.spec.preemptible,
        endless=True,
    )


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
