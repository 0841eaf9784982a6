"""What interrupted jobs: from the statuses of those that exist, and from what is remembered of those that do not."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from trainyard.api.incident import Incidents, JobIncident
from trainyard.api.training_job import TrainingJob
from trainyard.training.incidents import told_apart

MOST_TOLD = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which ones. What is empty asks for all."""

    namespace: str = ""
    job: str = ""
    node: str = ""
    cause: str = ""
    since: datetime | None = None
    planned: bool = False
    """Whether also those that somebody decided on."""

    def holds(self, incident: JobIncident) -> bool:
        return (
            self.namespace in ("", incident.namespace)
            and self.job in ("", incident.job)
            and self.node in ("", incident.node)
            and self.cause.lower() in ("", incident.cause.lower())
            and (
                self.since is None or (incident.ended_at or incident.detected_at) >= self.since or not incident.ended_at
            )
            and (self.planned or not incident.planned or bool(self.cause))
        )


def incidents(jobs: Iterable[TrainingJob], remembered: Iterable[JobIncident], wanted: Wanted) -> Incidents:
    """The answer, the newest first. A status knows more of its job than what is remembered."""
    found = {each.key: each for each in remembered}
    found |= {told.key: told for job in jobs for each in job.status.incidents if (told := told_apart(job, each))}
    chosen = sorted(filter(wanted.holds, found.values()), key=lambda each: (each.fault_at, each.key), reverse=True)
    return Incidents(incidents=chosen[:MOST_TOLD], left_out=max(0, len(chosen) - MOST_TOLD))
