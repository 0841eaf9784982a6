"""What the time of TrainingJobs was spent on, by queue: a series for each job and category would be far too many."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from trainyard.api.failure import FailureClass
from trainyard.api.ledger import Category
from trainyard.api.reasons import Reason, Waiting
from trainyard.api.training_job import TrainingJob
from trainyard.metrics import definitions as d
from trainyard.metrics.of_queues import UNKNOWN_QUEUE
from trainyard.metrics.picture import Picture
from trainyard.metrics.sample import Sample
from trainyard.training.ledger import opened
from trainyard.training.ledger_book import OVERHEADS
from trainyard.training.workload import finished

OTHER = "other"
_HOUR = 3600.0
_CAUSES = frozenset({each.value for kind in (FailureClass, Reason, Waiting) for each in kind} | {*OVERHEADS.values()})


def ledger_samples(picture: Picture) -> Iterator[Sample]:
    """All series of all queues that have jobs."""
    queues: dict[str, _Total] = defaultdict(_Total)
    for job in picture.jobs:
        if job.status.ledger is None and finished(job):
            continue  # it ended before there were ledgers
        known = job.spec.queue in picture.snapshot.queues
        queues[job.spec.queue if known else UNKNOWN_QUEUE].add(job, picture.now)
    for queue, total in queues.items():
        for category in Category:
            yield Sample(d.LEDGER_SECONDS, (queue, category.value), max(0.0, total.seconds[category.value]))
        for cause, lost in sorted(total.wasted.items()):
            yield Sample(d.UNPRODUCTIVE, (queue, cause), lost)
        if total.held > 0:
            ratio = 1 - sum(total.wasted.values()) / total.held
            yield Sample(d.GOODPUT, (queue,), min(1.0, max(0.0, ratio)))


class _Total:
    """Of the jobs of one queue."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.wasted: dict[str, float] = defaultdict(float)
        """GPU-seconds by cause, where there are any."""
        self.held = 0.0

    def add(self, job: TrainingJob, now: datetime) -> None:
        """Its time until now, the open interval of the ledger included."""
        ledger, gpus = opened(job, now), job.held_gpus()
        for category, seconds in ledger.until(now).items():
            if seconds:
                self.seconds[category] += seconds
        self.held += ledger.held(now, gpus) * _HOUR
        for each in ledger.wasted(now, gpus):
            if each.gpu_hours > 0:
                self.wasted[each.cause if each.cause in _CAUSES else OTHER] += each.gpu_hours * _HOUR
