"""What a scrape looks at, copied in the event loop within milliseconds, so that all the rest can happen in a thread.

The objects in it are frozen; only the containers that hold them change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trainyard.api.inference_service import InferenceService
from trainyard.api.queue import QueueStatus
from trainyard.api.training_job import TrainingJob
from trainyard.metrics.sample import Sample
from trainyard.scheduling.snapshot import Snapshot
from trainyard.training.observed import Report
from trainyard.workloads.pod_state import PodState

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Picture:
    """The world at `now`."""

    now: datetime
    jobs: tuple[TrainingJob, ...]
    services: tuple[InferenceService, ...]
    pods: Mapping[str, tuple[PodState, ...]]
    """By the uid of the job or service that owns them."""
    reports: Mapping[str, Report]
    """The newest report of a job, by the job's uid."""
    queues: Mapping[str, QueueStatus]
    """Status of each queue."""
    stored: Mapping[str, tuple[Object, ...]]
    """Objects of our kinds as the API server has them, those that cannot be read included, by kind."""
    snapshot: Snapshot
    operator: tuple[Sample, ...]
