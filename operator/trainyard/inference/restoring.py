"""The status with which a service comes back from a backup: the model that it serves, where its rollout stands, and no replicas."""

from datetime import datetime

from trainyard.api.inference_service import InferenceService, InferenceServiceStatus
from trainyard.api.reasons import ConditionType, Reason
from trainyard.api.restored import Restored
from trainyard.workloads import conditions

_GOES_ON = frozenset({"Progressing", "Paused"})


def come_back(service: InferenceService, taken: datetime, now: datetime) -> InferenceServiceStatus:
    """Of a service that is created anew at `now`. taken: when the backup was taken."""
    status, rollout = service.status, service.status.rollout
    restored = Restored(
        uid=status.restored.uid if status.restored else service.metadata.uid,
        since=service.since() or taken,
        taken=taken,
    )
    if rollout is not None and rollout.phase in _GOES_ON:
        # Its replicas get the time that new ones have to get ready.
        rollout = rollout.model_copy(update={"since": now})
    stated = status.conditions
    for kind in (ConditionType.ADMITTED, ConditionType.READY):
        if conditions.find(stated, kind) is not None:
            message = "restored from a backup; its replicas start when they get places"
            stated = conditions.state(stated, kind, False, Reason.RESTORED, message, now=now, generation=1)
    return InferenceServiceStatus(
        restored=restored,
        observed_generation=1,
        phase="Pending",
        reason=Reason.RESTORED.value,
        conditions=stated,
        scaling=status.scaling,
        model=status.model,
        rollout=rollout,
        next_serial=status.next_serial,
        ready_time=status.ready_time,
    )
