"""The status with which a job comes back from a backup: its place in the queue, its past, its folder; nothing of its old pods."""

from datetime import datetime

from trainyard.api.restored import Restored
from trainyard.api.training_job import TrainingJob, TrainingJobStatus
from trainyard.training.status import Draft
from trainyard.training.workload import finished

LEAP = 1000
"""By so much a restored job's attempt is ahead, since attempts may have run after the backup: the claim belongs to the newest."""


def come_back(job: TrainingJob, taken: datetime) -> TrainingJobStatus:
    """Of a job that is created anew. taken: when the backup was taken, until when its past is known."""
    restored = Restored(uid=job.first_uid(), since=job.since() or taken, taken=taken)
    # What is created has generation 1, and of it all this is said.
    anew = job.model_copy(update={"metadata": job.metadata.model_copy(update={"generation": 1})})
    status = job.status
    if finished(job):
        return status.model_copy(update={"restored": restored, "observed_generation": 1})
    draft = Draft(anew, max(taken, restored.since))
    draft.set(restored=restored)
    attempt = status.attempt + (LEAP if job.spec.storage is not None else int(status.admission is not None))
    if status.phase == "Suspended" and status.admission is None:
        draft.set(attempt=attempt)
    else:
        draft.came_back(attempt)
    return draft.status()
