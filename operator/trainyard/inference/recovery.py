"""A status of an InferenceService that somebody emptied: its replicas are read back from the pods, which serve on."""

from datetime import datetime
from typing import Any

from trainyard.api.autoscaling import Scaling
from trainyard.api.inference_service import ReplicaAdmission
from trainyard.api.names import DIGEST, SHAPE
from trainyard.inference.model import resolve
from trainyard.inference.observed import Observed
from trainyard.workloads.plan import Plan
from trainyard.workloads.understood import says_nothing


def read_back(observed: Observed, now: datetime) -> Plan | None:
    """The list of replicas, and how many an autoscaler has decided on; the next look says all the rest."""
    status = observed.service.status
    if status.admission or not observed.pods or not says_nothing(status):
        return None
    model = resolve(observed)
    # Replicas of a version that did not write it down are taken for what is wanted now.
    unmarked = "" if isinstance(model, str) else model.digest
    found = [
        ReplicaAdmission(
            serial=pod.index,
            node=pod.node,
            flavor=pod.flavor,
            digest=pod.annotations.get(DIGEST, unmarked),
            shape=pod.annotations.get(SHAPE, ""),
            epoch=observed.epoch,
            admitted_at=now,
        )
        for pod in sorted(observed.pods, key=lambda pod: pod.index)
        if pod.bound and pod.flavor and pod.deleting_since is None
    ]
    if not found:
        return None
    read: dict[str, Any] = {
        "observedGeneration": observed.service.metadata.generation,
        "nextSerial": max(pod.index for pod in observed.pods) + 1,
        "admission": [each.model_dump(by_alias=True, mode="json") for each in found],
    }
    if observed.service.spec.autoscaling is not None:
        # Without it the number would be that of the beginning, and the others would be drained.
        message = f"{len(found)} replicas are known again from their pods"
        scaling = Scaling(desired=len(found), reason="ReadBack", message=message, decided_at=now)
        read["scaling"] = scaling.model_dump(by_alias=True, mode="json")
    return Plan(status=read, again=0.0)
