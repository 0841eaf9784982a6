"""A status of an InferenceService that somebody emptied: its replicas are read back from the pods, which serve on."""

from datetime import datetime

from trainyard.api.inference_service import InferenceServiceStatus, ReplicaAdmission
from trainyard.api.names import DIGEST, SHAPE
from trainyard.inference.observed import Observed
from trainyard.workloads.plan import Plan


def read_back(observed: Observed, now: datetime) -> Plan | None:
    """The list of replicas, and nothing else: the next look says all the rest."""
    status = observed.service.status
    if status.admission or not observed.pods or status != InferenceServiceStatus():
        return None
    found = [
        ReplicaAdmission(
            serial=pod.index,
            node=pod.node,
            flavor=pod.flavor,
            digest=pod.annotations[DIGEST],
            shape=pod.annotations.get(SHAPE, ""),
            epoch=observed.epoch,
            admitted_at=now,
        )
        for pod in sorted(observed.pods, key=lambda pod: pod.index)
        if pod.bound and pod.flavor and DIGEST in pod.annotations and pod.deleting_since is None
    ]
    if not found:
        return None
    read = {
        "observedGeneration": observed.service.metadata.generation,
        "nextSerial": max(pod.index for pod in observed.pods) + 1,
        "admission": [each.model_dump(by_alias=True, mode="json") for each in found],
    }
    return Plan(status=read, again=0.0)
