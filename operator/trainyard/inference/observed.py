"""Everything that the plan of an InferenceService looks at, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trainyard.api.autoscaling import Scaling
from trainyard.api.flavor import FlavorSpec
from trainyard.api.inference_service import InferenceService
from trainyard.api.training_job import TrainingJob
from trainyard.inference.rollout.contract import Contract
from trainyard.inference.rollout.counting import Counted
from trainyard.scheduling.snapshot import Decision, Evict
from trainyard.workloads.outlook import Outlook
from trainyard.workloads.pod_state import PodState
from trainyard.workloads.pod_template import Surroundings
from trainyard.workloads.ports import Ports

CONTAINER = "server"
PORT = 8080
GRPC_PORT = 8001
"""Of replicas and gateways alike; the one that Triton's clients take by default."""


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """What one gateway pod said last."""

    received: datetime
    generation: int
    in_use: Mapping[str, int]
    """Requests at each member that HAProxy still knows, by pod name."""
    held: int = 0
    """Requests that wait for a first replica."""
    queued: int = 0
    in_flight: int = 0
    requests: int = 0
    """That ever came to this gateway."""
    up: frozenset[str] = frozenset()
    """Members that it sends requests to."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A service and what is known round it."""

    service: InferenceService
    pods: tuple[PodState, ...] = ()
    gateway_pods: tuple[PodState, ...] = ()
    reports: Mapping[str, GatewayReport] = field(default_factory=dict)
    """By gateway pod name."""
    counted: Counted = field(default_factory=Counted)
    """What the requests of each revision came to."""
    contracts: Mapping[str, Contract] = field(default_factory=dict)
    """What each model takes and gives, by its digest, as far as a gateway has read it."""
    decisions: Mapping[int, Decision] = field(default_factory=dict)
    """The scheduler's last word on each serial that the status does not show yet."""
    asked: Mapping[int, Evict] = field(default_factory=dict)
    """Replicas that are asked to give their place back, by serial."""
    source: TrainingJob | None = None
    """The job that spec.model.trainingJob names, if it exists."""
    claim_exists: bool = True
    neighbours: Mapping[str, InferenceService] = field(default_factory=dict)
    """The services of the same namespace by name, for one whose model is a graph."""
    deployment: Mapping[str, Any] | None = None
    budget: bool = False
    """Whether there is a disruption budget of ours for the gateways."""
    services: Mapping[str, Ports] = field(default_factory=dict)
    """Ports of the Services of ours that there are, by name."""
    outlook: Outlook | None = None
    """When the first of the missing replicas is expected to start, and what would start it now; None if none is missing."""
    lost_nodes: frozenset[str] = frozenset()
    leaving: frozenset[str] = frozenset()
    """Nodes of replicas that will be gone soon, or are taken out of use."""
    departing: frozenset[str] = frozenset()
    """Nodes whose loss says nothing against them: somebody cordoned them, or they are gone or will be soon."""
    refusal: str = ""
    epoch: int = 0
    flavors: Mapping[str, FlavorSpec] = field(default_factory=dict)
    scaling: Scaling | None = None
    """What the autoscaler says; None for a service without."""
    surroundings: Surroundings = field(default_factory=lambda: Surroundings("", "", ""))
