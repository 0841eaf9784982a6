"""An InferenceService in numbers."""

from collections.abc import Iterator

from trainyard.api.inference_service import InferenceService
from trainyard.api.reasons import ConditionType
from trainyard.metrics import definitions as d
from trainyard.metrics.picture import Picture
from trainyard.metrics.sample import Sample
from trainyard.workloads import conditions
from trainyard.workloads.pod_state import PodState


def inference_service_samples(picture: Picture) -> Iterator[Sample]:
    """All series of all services."""
    for service in picture.services:
        yield from _one(service, picture.pods.get(service.metadata.uid, ()))


def _one(service: InferenceService, pods: tuple[PodState, ...]) -> Iterator[Sample]:
    meta, spec, status = service.metadata, service.spec, service.status
    name = (meta.namespace, meta.name)
    digest = status.model.digest if status.model else ""
    yield Sample(d.SERVICE_INFO, (*name, meta.uid, spec.queue, digest), 1)
    yield Sample(d.SERVICE_READY, name, float(conditions.holds(status.conditions, ConditionType.READY)))
    replicas = {
        "desired": service.target(),
        "admitted": len(status.admission),
        "ready": sum(pod.role == "replica" and pod.running and pod.ready for pod in pods),
    }
    for state, count in replicas.items():
        yield Sample(d.SERVICE_REPLICAS, (*name, state), count)
    yield Sample(d.SERVICE_GATEWAYS, (*name, "desired"), spec.gateway.replicas)
    yield Sample(d.SERVICE_GATEWAYS, (*name, "ready"), status.gateways)
    if spec.slo is not None:
        yield Sample(d.SERVICE_SLO, name, spec.slo.objective / 100)
    if status.rollout is not None:
        for phase in d.SERVICE_ROLLOUT.values["phase"]:
            yield Sample(d.SERVICE_ROLLOUT, (*name, phase), float(phase == status.rollout.phase))
    if status.ready_time and (since := service.since()):
        waited = (status.ready_time - since).total_seconds()  # by two clocks
        yield Sample(d.SERVICE_START, name, max(0.0, waited))
