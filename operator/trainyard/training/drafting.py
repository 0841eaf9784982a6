"""A status of a TrainingJob being written. What can be said of the job is in the classes that Draft is made of (status.py)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from trainyard.api.admission import AvoidedNode
from trainyard.api.energy import NOTHING, Draw
from trainyard.api.reasons import ConditionType
from trainyard.api.training_job import Restarted, TrainingJob, TrainingJobStatus
from trainyard.training.incidents import kept
from trainyard.training.ledger import advanced
from trainyard.training.ledger_sight import Sight
from trainyard.training.observed import Report
from trainyard.training.progress import same_progress
from trainyard.training.restart_limit import remembered
from trainyard.training.stragglers import closed, outlived
from trainyard.workloads import conditions
from trainyard.workloads.pod_state import PodState
from trainyard.workloads.times import AVOID_SECONDS


class Drafting:
    """Starts as the last status, ends as the next."""

    def __init__(
        self,
        job: TrainingJob,
        now: datetime,
        pods: Sequence[PodState] = (),
        report: Report | None = None,
        draw: Draw = NOTHING,
        *,
        shares_gpus: bool = False,
    ) -> None:
        """pods, report: of the current attempt, draw, shares_gpus: of the place; for ledger and incidents."""
        self.job = job
        self.now = now
        said, said_at = (report.body, report.received) if report else ({}, None)
        self._sight = Sight(job, now, tuple(pods), said, said_at, draw, shares_gpus)
        self.fields: dict[str, Any] = {name: getattr(job.status, name) for name in TrainingJobStatus.model_fields}
        self.set(observed_generation=job.metadata.generation, gpus=job.gpus())

    def set(self, **fields: Any) -> None:
        self.fields.update(fields)

    def state(self, kind: ConditionType, value: bool, reason: str, message: str) -> None:
        known = conditions.state(
            self.fields["conditions"],
            kind,
            value,
            reason,
            message,
            now=self.now,
            generation=self.job.metadata.generation,
        )
        self.set(conditions=known)

    def status(self) -> TrainingJobStatus:
        """The status as far as it is drafted, with the ledger and the incidents that belong to it."""
        drafted = self.job.status.model_copy(update=self.fields)
        if outlived(drafted):
            drafted = drafted.model_copy(update={"stragglers": closed(drafted.stragglers, self.now)})
        news = not same_progress(self.job.status.progress, drafted.progress)
        ledger = advanced(self._sight, drafted, news=news)
        if ledger is not drafted.ledger:
            drafted = drafted.model_copy(update={"ledger": ledger})
        incidents = kept(self._sight, drafted)
        return drafted if incidents is drafted.incidents else drafted.model_copy(update={"incidents": incidents})

    def so_far(self) -> TrainingJob:
        """The job with the status as far as it is drafted, apart from ledger and incidents."""
        return self.job.model_copy(update={"status": self.job.status.model_copy(update=self.fields)})

    def round(self) -> int:
        """Which start of the program in the pods of this attempt is known, from 1."""
        last: Restarted | None = self.fields["last_restart"]
        return last.round if last is not None and last.round and last.attempt == self.fields["attempt"] else 1

    def _restarted(self, times: int, *, counts: bool = True) -> None:
        """Count restarts: all of them, and those that were not the program's fault, or when the others were."""
        spec, counted = self.job.spec.restart, self.fields["counted_restarts"]
        self.set(restarts=self.fields["restarts"] + times)
        if counts:
            self.set(counted_restarts=remembered(spec, counted, self.now, times))
        else:
            self.set(disruptions=self.fields["disruptions"] + times)

    def _avoiding(self, node: str, *, blameless: bool = False) -> list[AvoidedNode]:
        kept = [each for each in self.fields["avoid"] if each.until > self.now and each.name != node]
        until = self.now + timedelta(seconds=AVOID_SECONDS)
        return [*kept, AvoidedNode(name=node, until=until, blameless=blameless)][-64:] if node else kept
