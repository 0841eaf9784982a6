"""Everything that the plan of a TrainingJob looks at, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trainyard.api.failure import FailureRow
from trainyard.api.flavor import FlavorSpec
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.snapshot import Decision
from trainyard.training.stragglers import Pace
from trainyard.workloads.outlook import Outlook
from trainyard.workloads.pod_state import PodState
from trainyard.workloads.pod_template import Surroundings

CONTAINER = "trainer"


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim."""

    name: str
    access_modes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParentSeen:
    """What there is of the model that spec.compression.parent names."""

    job: TrainingJob | None = None
    claim_exists: bool = True
    """Of spec.compression.parent.claimName, if that is what is named."""


@dataclass(frozen=True, slots=True)
class Report:
    """The newest that rank 0 of the current attempt told the operator."""

    attempt: int
    received: datetime
    body: Mapping[str, Any]
    paces: tuple[Pace, ...] = ()
    """How its workers compared with each other lately, in order."""
    measures: tuple[str, ...] = ()
    """Names of measures that have a series of their own: the first that the job told in its life, lest it invent new ones for ever."""


@dataclass(frozen=True, slots=True)
class Board:
    """What there is of a job's TensorBoard."""

    deployment: Mapping[str, Any] | None = None
    service: bool = False
    pods: tuple[PodState, ...] = ()
    refusal: str = ""
    """What the API server answered to one of them; empty if it takes them."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A job and what is known round it."""

    job: TrainingJob
    pods: tuple[PodState, ...] = ()
    decision: Decision | None = None
    """The scheduler's last word that the job's status does not show yet."""
    claim: Claim | None = None
    parent: ParentSeen = field(default_factory=ParentSeen)
    service_exists: bool = False
    lost_nodes: frozenset[str] = frozenset()
    """Nodes that are gone or have not been ready for too long; empty while so many are that we may be the blind ones."""
    silent_since: Mapping[str, datetime] = field(default_factory=dict)
    """Since when nodes are not ready."""
    leaving: Mapping[str, str] = field(default_factory=dict)
    """Nodes that will be gone soon, and by what that is known."""
    departing: frozenset[str] = frozenset()
    """Nodes whose loss says nothing against them: somebody cordoned them, or they are gone or will be soon."""
    shares_gpus: bool = False
    """Its nodes hand a GPU out several times: what its trainers read of one may be others' as well."""
    cordoned: frozenset[str] = frozenset()
    """Nodes that take no new pods since somebody said so."""
    report: Report | None = None
    refusal: str = ""
    """What the API server answered to a child; empty if it takes them."""
    refused_field: str = ""
    """The field that the refusal is about; empty for the template of its pods."""
    epoch: int = 0
    max_run_seconds: int | None = None
    """The least of what the job and the queues above it allow; None if none says so."""
    expected_seconds: float | None = None
    """How long it is expected to run: declared, or learned of jobs like it."""
    interruption_seconds: float | None = None
    """From one unplanned interruption of the gang, where it is, to the next; None if nobody asks for it."""
    outlook: Outlook | None = None
    """When it is expected to start, and what would start it now; None if it has a place."""
    failure_table: tuple[FailureRow, ...] = ()
    """Rows of the cluster's own by which failures get their class, before the built-in ones."""
    board: Board = field(default_factory=Board)
    flavors: Mapping[str, FlavorSpec] = field(default_factory=dict)
    surroundings: Surroundings = field(default_factory=lambda: Surroundings("", "", ""))
