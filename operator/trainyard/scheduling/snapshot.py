"""What the scheduler knows at one moment, frozen: nodes, pods, flavors, queues, namespaces, and the workloads that want or hold a place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from trainyard.api.flavor import FlavorSpec
from trainyard.api.meta import Taint, Toleration
from trainyard.api.node_health import NodeState, Remedy
from trainyard.api.queue import QueueSpec
from trainyard.api.reasons import Waiting
from trainyard.scheduling.resources import Amounts

NO_NAMES: frozenset[str] = frozenset()
"""Python makes each empty frozenset anew, and there are two in every workload."""


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
class Standing:
    """How a node stands in the eyes of who looks after nodes (`trainyard.nodes`)."""

    state: NodeState = NodeState.HEALTHY
    since: datetime | None = None
    words: str = ""
    """Why."""
    remedy: Remedy = Remedy.NONE
    doubt: str = ""
    """Why it is the last choice; empty if it is not."""
    settled: frozenset[str] = frozenset()
    """What it says of its hardware and is not held against it."""
    risk: int = 0
    """How much errors that harmed nobody foretell a failure: it comes last among equal ones."""
    lemon: float = 0.0
    """How many times as often as elsewhere attempts fail there, at least; 0 if that is not remarkable."""

    @property
    def taken_out(self) -> bool:
        return self.state in (NodeState.QUARANTINED, NodeState.DRAINING, NodeState.VALIDATING)


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node: what it offers and whether it takes pods."""

    name: str
    labels: Mapping[str, str]
    allocatable: Amounts
    taints: tuple[Taint, ...] = ()
    ready: bool = True
    unschedulable: bool = False
    broken: str = ""
    """The condition by which a monitor says that its hardware is."""
    leaving: str = ""
    """By what it is known that it will be gone soon, or that its jobs are to leave it."""
    standing: Standing = Standing()

    @property
    def healthy(self) -> bool:
        """Takes new pods as far as its own state goes."""
        return self.ready and not self.unschedulable and not self.leaving


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
    """How many are wanted."""
    requests: Amounts
    """Of each pod. A part of a GPU is less than 1000 of `nvidia.com/gpu` and comes from one device."""
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    least: int | None = None
    """How many will do: an elastic set takes any number from `least` to `count`. None means all of them."""

    @property
    def minimum(self) -> int:
        return self.count if self.least is None else self.least


@dataclass(frozen=True, slots=True)
class Topology:
    """How near to each other the pods of a gang have to be. Levels are node labels, e.g. topology.trainyard.dev/rack."""

    level: str
    """Label whose value names the domain."""
    mode: Literal["required", "preferred", "spread"] = "preferred"
    """All pods in one domain or none; in one domain if possible, else in few; over as many domains as possible."""
    slice_size: int = 1
    """Pods that stay together, in rank order; `count` is a multiple of it."""
    slice_level: str = ""
    """Label of the domain in which each slice stays; needed when slice_size is over 1."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The place a workload holds: one node name per pod of each role, in rank order."""

    flavor: str
    nodes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Nominated:
    """The place that a waiting workload gets when others have made way for it."""

    assignment: Assignment
    victims: tuple[tuple[WorkloadKey, str], ...]
    """Key and uid of each."""
    time: datetime
    """When it was decided: who got a place later makes no way."""
    deadline: datetime
    """When victims that still run are stopped."""
    durable: bool = True
    """Nobody is asked to make way before the status says so."""


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
    avoid: frozenset[str] = NO_NAMES
    blocked: Verdict | None = None
    topology: Topology | None = None
    flavors: tuple[str, ...] = ()
    """Flavors it may run on, best first; empty leaves it to its queue."""
    throughputs: tuple[tuple[str, float], ...] = ()
    """Relative speed on each flavor, when the best is to be chosen by it."""
    duration: float | None = None
    """Seconds it is expected to run in all, declared or learned; None if nobody knows."""
    endless: bool = False
    """It runs until somebody ends it, as services do: no place is kept that waits for its end."""
    started: datetime | None = None
    """When it began to run; None while it waits."""
    checkpoint: datetime | None = None
    """When its last checkpoint became durable: what a preemption loses is counted from here."""
    preemptible: bool = True
    in_place: bool = False
    """Whether it can change its size while the pods that stay keep running."""
    preemptions: int = 0
    """How often it has been preempted."""
    placed: datetime | None = None
    """When it was given the place that it holds."""
    nomination: Nominated | None = None
    """The place that it waits for until others have made way."""
    leaving: bool = False
    """It is about to give its place back: it makes way, or its queue is drained."""
    lost: frozenset[str] = NO_NAMES
    """Nodes of its place that will not answer again soon."""

    @property
    def shape(self) -> tuple[object, ...]:
        """Workloads of one shape get the same answer from the same state."""
        sets = tuple(
            (each.count, each.least, tuple(sorted(each.requests.items())), each.node_selector, each.tolerations)
            for each in self.pods
        )
        return (self.queue, self.key.namespace, sets, self.avoid, self.topology, self.flavors, self.throughputs)


UNSEEN = "pods of namespaces that this Trainyard is not told of are not seen, and may hold what it takes for free"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a cycle looks at."""

    nodes: tuple[NodeView, ...] = ()
    pods: tuple[PodView, ...] = ()
    flavors: Mapping[str, FlavorSpec] = field(default_factory=dict)
    queues: Mapping[str, QueueSpec] = field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    workloads: tuple[Workload, ...] = ()
    used_up: Mapping[str, str] = field(default_factory=dict)
    """Queues whose budget is used up, and what to say of it."""
    recent: Mapping[str, float] = field(default_factory=dict)
    """Weighted share that was borrowed lately, of queues that count that."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """By node, how many workloads failed there lately."""
    slow: Mapping[str, int] = field(default_factory=dict)
    """By node, how strongly jobs say that it held them up lately: 1 or more."""
    confined: bool = False
    """Whether pods of some namespaces alone are among `pods`."""


@dataclass(frozen=True, slots=True)
class Admit:
    """The workload gets these nodes."""

    key: WorkloadKey
    uid: str
    assignment: Assignment


@dataclass(slots=True)
class Words:
    """What is said to all that wait for one reason. The arithmetic in it is that of the last cycle; another reason has words of its own."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Wait:
    """The workload waits, at this place in its queue."""

    key: WorkloadKey
    uid: str
    words: Words
    position: int

    @property
    def verdict(self) -> Verdict:
        return self.words.verdict


@dataclass(frozen=True, slots=True)
class Victim:
    """Who makes way."""

    key: WorkloadKey
    uid: str
    cost: float
    """GPU-seconds of work that are lost: since its last durable checkpoint, and until it trains again."""
    goes_on: Assignment | None = None
    """The smaller or other place where it goes on at once; None if it waits in its queue again."""


@dataclass(frozen=True, slots=True)
class Preempt:
    """The workload gets these nodes when the victims have made way. Nobody else gets them meanwhile."""

    key: WorkloadKey
    uid: str
    assignment: Assignment
    victims: tuple[Victim, ...]
    deadline_seconds: float
    """How long victims may take to write a checkpoint and stop."""


@dataclass(frozen=True, slots=True)
class Evict:
    """The workload gives its place back, after a checkpoint: for one whose nomination is durable, or since its queue is drained."""

    key: WorkloadKey
    uid: str
    deadline: datetime
    cost: float
    """GPU-seconds that are lost."""
    by: WorkloadKey | None = None
    """Who gets the place; None for a queue that is drained."""
    by_uid: str = ""
    goes_on: Assignment | None = None
    """The smaller or other place where it goes on at once; None if it waits in its queue again."""
    drained: str = ""
    """The queue whose stopPolicy is HoldAndDrain."""


@dataclass(frozen=True, slots=True)
class Resize:
    """A workload that runs goes on, from its last checkpoint, in another place: an elastic one with more pods, or one that lost nodes."""

    key: WorkloadKey
    uid: str
    assignment: Assignment
    base: Assignment | None = None
    """The place that it held when that was decided; in another one this means nothing."""


Decision = Admit | Wait | Preempt | Evict | Resize
