"""What interrupted TrainingJobs: how fast that is noticed and overcome, and what it costs. Planned interruptions are left out."""

from trainyard.api.failure import FailureClass
from trainyard.metrics.definitions.metric import Group, counter, histogram

_AFTER = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14_400)
_CLASSES = {"class": tuple(each.value for each in FailureClass if each is not FailureClass.PREEMPTED)}

INCIDENT_DETECTION = histogram(
    "incident_detection_seconds",
    Group.TRAINING,
    "From what interrupted a job until it was noticed; of a hang since the last step. Of incidents that were over since the operator started.",
    _AFTER,
    "class",
    **_CLASSES,
)
INCIDENT_RECOVERY = histogram(
    "incident_recovery_seconds",
    Group.TRAINING,
    "From what interrupted a job to its first new step, waiting for a place included. Of those that made one since the operator started.",
    _AFTER,
    "class",
    **_CLASSES,
)
INCIDENT_LOST = counter(
    "incident_lost_gpu_seconds",
    Group.TRAINING,
    "GPU-seconds held until the first new step, and of steps that were made again, by what interrupted the job.",
    "class",
    **_CLASSES,
)
