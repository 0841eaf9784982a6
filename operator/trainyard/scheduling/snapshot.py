"""What the scheduler knows at one moment, frozen: nodes, pods, flavors, queues, namespaces, and the workloads that want or hold a place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from trainyard.api.flavor import FlavorSpec
from trainyard.api.meta import Taint, Toleration
from trainyard.api.queue import QueueSpec
from trainyard.api.reasons import Waiting
from trainyard.scheduling.resources import Amounts


class WorkloadKey(NamedTuple):
    """Names a workload: a whole job, or one replica of a service (its slot)."""

    kind: str
    namespace: str
    name: str
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a workload waits: a typed reason and the arithmetic behind it."""

    reason: Waiting
    message: str


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node: what it offers and whether it takes pods."""

    name: str
    labels: Mapping[str, str]
    allocatable: Amounts
    taints: tuple[Taint, ...] = ()
    ready: bool = True
    unschedulable: bool = False

    @property
    def healthy(self) -> bool:
        """Takes new pods as far as its own state goes."""
        return self.ready and not self.unschedulable


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod that uses, or will use, resources of a node."""

    uid: str
    namespace: str
    name: str
    node: str
    requests: Amounts
    owner_uid: str = ""
    role: str = ""
    queue: str = ""
    flavor: str = ""
    finished: bool = False


@dataclass(frozen=True, slots=True)
class PodSet:
    """Identical pods of one role."""

    role: str
    count: int
    requests: Amounts
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    """The place a workload holds: one node name per pod of each role, in rank order."""

    flavor: str
    nodes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Workload:
    """Something that wants a place, or holds one: all its pods or none."""

    key: WorkloadKey
    uid: str
    queue: str
    created: datetime
    pods: tuple[PodSet, ...]
    priority: int = 0
    admission: Assignment | None = None
    avoid: frozenset[str] = frozenset()
    blocked: Verdict | None = None

    @property
    def shape(self) -> tuple[object, ...]:
        """Workloads of one shape get the same answer from the same state."""
        sets = tuple(
            (each.count, tuple(sorted(each.requests.items())), each.node_selector, each.tolerations)
            for each in self.pods
        )
        return (self.queue, self.key.namespace, sets, self.avoid)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a cycle looks at."""

    nodes: tuple[NodeView, ...] = ()
    pods: tuple[PodView, ...] = ()
    flavors: Mapping[str, FlavorSpec] = field(default_factory=dict)
    queues: Mapping[str, QueueSpec] = field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    workloads: tuple[Workload, ...] = ()


@dataclass(frozen=True, slots=True)
class Admit:
    """The workload gets these nodes."""

    key: WorkloadKey
    uid: str
    assignment: Assignment


@dataclass(frozen=True, slots=True)
class Wait:
    """The workload waits, at this place in its queue."""

    key: WorkloadKey
    uid: str
    verdict: Verdict
    position: int


Decision = Admit | Wait
