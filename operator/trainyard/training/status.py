"""The status of a TrainingJob as a value that rules transform: each method of a Draft says one thing in it."""

from trainyard.api.reasons import ConditionType, Reason
from trainyard.api.training_job import TrainingJobStatus
from trainyard.training.status_of_place import OfPlace
from trainyard.training.status_of_reports import OfReports
from trainyard.training.status_of_run import OfRun
from trainyard.workloads import conditions

_STOPS = (Reason.QUEUE_DRAINED, Reason.RUN_TIME_EXCEEDED)


def stopping(status: TrainingJobStatus) -> Reason | None:
    """Why a job that holds a place is being stopped, apart from a preemption; None if it is not."""
    found = conditions.find(status.conditions, ConditionType.READY)
    if found is None or status.admission is None:
        return None
    return next((each for each in _STOPS if found.reason == each), None)


def goes_on(status: TrainingJobStatus) -> bool:
    """Whether a job that makes way has its smaller or other place already."""
    preemption, admission = status.preemption, status.admission
    return preemption is not None and admission is not None and admission.time >= preemption.requested_at


class Draft(OfPlace, OfRun, OfReports):
    """A status being written: starts as the last one, ends as the next."""
