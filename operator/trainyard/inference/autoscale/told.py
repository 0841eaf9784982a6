"""What a change of the number of replicas says to the plan of its service: an event, and when to look again."""

from trainyard.api.inference_service import InferenceService
from trainyard.api.reasons import Reason
from trainyard.inference.autoscale.autoscaler import IDLE_LOOK_SECONDS, LOOK_SECONDS
from trainyard.inference.observed import Observed
from trainyard.workloads.plan import Note


def scaling_notes(observed: Observed) -> list[Note]:
    """The event of a new number, told with the write that makes it count."""
    scaling, before = observed.scaling, observed.service.target()
    if scaling is None or scaling.desired == before:
        return []
    up = scaling.desired > before
    words = f"{before} to {scaling.desired} replicas ({scaling.reason}): {scaling.message}"
    return [Note(Reason.SCALED_UP if up else Reason.SCALED_DOWN, words[:1000])]


def look_seconds(service: InferenceService) -> float | None:
    """When the autoscaler looks again; never for a service without."""
    if service.spec.autoscaling is None:
        return None
    return LOOK_SECONDS if service.target() or service.status.admission else IDLE_LOOK_SECONDS
