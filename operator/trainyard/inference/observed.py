"""Everything that the plan of an InferenceService looks at, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trainyard.api.flavor import FlavorSpec
from trainyard.api.inference_service import InferenceService
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.snapshot import Decision
from trainyard.workloads.outlook import Outlook
from trainyard.workloads.pod_state import PodState
from trainyard.workloads.pod_template import Surroundings

CONTAINER = "server"
PORT = 8080


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """What one gateway pod said last."""

    received: datetime
    generation: int
    in_use: Mapping[str, int]
    """Requests at each member that HAProxy still knows, by pod name."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A service and what is known round it."""

    service: InferenceService
    pods: tuple[PodState, ...] = ()
    gateway_pods: tuple[PodState, ...] = ()
    reports: Mapping[str, GatewayReport] = field(default_factory=dict)
    """By gateway pod name."""
    decisions: Mapping[int, Decision] = field(default_factory=dict)
    """The scheduler's last word on each serial that the status does not show yet."""
    source: TrainingJob | None = None
    """The job that spec.model.trainingJob names, if it exists."""
    claim_exists: bool = True
    deployment: Mapping[str, Any] | None = None
    services_exist: frozenset[str] = frozenset()
    outlook: Outlook | None = None
    """When the first of the missing replicas is expected to start, and what would start it now; None if none is missing."""
    lost_nodes: frozenset[str] = frozenset()
    refusal: str = ""
    epoch: int = 0
    flavors: Mapping[str, FlavorSpec] = field(default_factory=dict)
    surroundings: Surroundings = field(default_factory=lambda: Surroundings("", "", ""))
