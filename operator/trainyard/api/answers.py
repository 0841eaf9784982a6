"""Answers to what people ask of the scheduler: why a job waits, what a new one would do, who holds what. In no CRD; JSON of the CLI and the endpoint."""

from typing import Literal

from pydantic import Field

from trainyard.api.autoscaling import Scaling
from trainyard.api.energy import PowerUse
from trainyard.api.forecast import Remedy, StartEstimate
from trainyard.api.incident import Incident
from trainyard.api.ledger import Spent
from trainyard.api.meta import Model, Time
from trainyard.api.node_health import NodeState
from trainyard.api.rollout import RolloutStatus
from trainyard.api.straggler import Straggler


class NodeShare(Model):
    """Pods on one node."""

    node: str = Field(description="Name of the node.")
    pods: int = Field(description="How many of the workload's pods.")


class Holder(Model):
    """Somebody who holds what a waiting workload needs."""

    who: str = Field(description='As in "TrainingJob team/pretrain", or "a job of another namespace".')
    queue: str = Field(description="Its queue.")
    flavor: str = Field(description="Where it holds it.")
    holds: str = Field(description="Resources, as in nvidia.com/gpu=4.")
    since: Time | None = Field(default=None, description="Since when.")
    ends: Time | None = Field(default=None, description="When it is expected to end; nothing if nobody knows.")


class Why(Model):
    """Why a workload waits, or where it is."""

    kind: str = Field(description="TrainingJob or InferenceService.")
    namespace: str = Field(description="Its namespace.")
    name: str = Field(description="Its name.")
    queue: str = Field(default="", description="Its queue.")
    priority: int = Field(default=0, description="Its priority, as its queue lets it have it.")
    state: Literal["Waiting", "Starts", "Placed", "Inactive"] = Field(
        description="It waits; the next cycle places it; it has its place; it wants none."
    )
    reason: str = Field(default="", description="Why it waits, in one word.")
    message: str = Field(default="", description="The arithmetic behind it.")
    position: int | None = Field(default=None, description="Place among the waiting of its queue, from 1.")
    waiting: int | None = Field(default=None, description="How many wait in its queue.")
    since: Time | None = Field(default=None, description="When it was created.")
    flavor: str = Field(default="", description="Flavor of its place.")
    nodes: list[NodeShare] = Field(default_factory=list, description="Its place.")
    eta: StartEstimate | None = Field(default=None, description="When it is expected to start.")
    holders: list[Holder] = Field(default_factory=list, description="Who holds what it needs, most first.")
    remedies: list[Remedy] = Field(default_factory=list, description="Changes that would start it now, smallest first.")
    scaling: Scaling | None = Field(
        default=None, description="Of a service with autoscaling: the last decision about its number."
    )
    rollout: RolloutStatus | None = Field(
        default=None, description="Of a service whose model is rolled out with care: how it goes, or how it ended."
    )
    stragglers: list[Straggler] = Field(default_factory=list, description="Workers that hold it up, if it runs.")
    helps: list[str] = Field(default_factory=list, description="What helps against these.")
    checkpoints: str = Field(
        default="", description="How often checkpoints are made, and why, where the trainer decides it."
    )
    incidents: list[Incident] = Field(
        default_factory=list, description="What interrupted a job last, the newest first."
    )
    spent: Spent | None = Field(
        default=None, description="What a job's time was spent on; nothing before it had a place for the first time."
    )


class Displaced(Model):
    """Somebody who would have to make way."""

    who: str = Field(description="As in Holder.")
    cost: float = Field(description="GPU-seconds of work that would be lost.")
    goes_on: bool = Field(default=False, description="It would go on at once, smaller or elsewhere.")


class Moved(Model):
    """Somebody whose place in the queue would change."""

    who: str = Field(description="As in Holder.")
    before: int = Field(description="Place without the new workload.")
    after: int = Field(description="Place with it.")


class Planned(Model):
    """What would happen to one new workload, if it were created now."""

    kind: str = Field(description="TrainingJob or InferenceService.")
    namespace: str = Field(description="Its namespace.")
    name: str = Field(description="Its name; of a replica with its number.")
    queue: str = Field(description="Its queue.")
    starts: bool = Field(description="It would start now.")
    flavor: str = Field(default="", description="Where.")
    nodes: list[NodeShare] = Field(
        default_factory=list, description="Its place; with victims, once they have made way."
    )
    victims: list[Displaced] = Field(default_factory=list, description="Who would have to make way.")
    reason: str = Field(default="", description="Why it would wait.")
    message: str = Field(default="", description="The arithmetic behind it.")
    position: int | None = Field(default=None, description="Its place in the queue.")
    waiting: int | None = Field(default=None, description="How many would wait in its queue, itself among them.")
    moved: list[Moved] = Field(default_factory=list, description="Whose place would change.")
    remedies: list[Remedy] = Field(default_factory=list, description="Changes with which it would start now.")


class Plan(Model):
    """What would happen to new workloads, one after the other."""

    workloads: list[Planned] = Field(description="In the order of the file.")


class Lender(Model):
    """Whose quota others hold."""

    queue: str = Field(description="Name of the queue.")
    amount: str = Field(description="How much of its guarantee others hold.")


class QueueUse(Model):
    """What a queue holds of one resource on one flavor."""

    queue: str = Field(description="Name of the queue.")
    parent: str = Field(default="", description="The queue above.")
    flavor: str = Field(description="Name of the flavor.")
    resource: str = Field(description="Name of the resource.")
    used: str = Field(description="Held by it and the queues below it.")
    guaranteed: str = Field(description="Guaranteed to it and the queues below it.")
    borrowed: str = Field(description="Held beyond that.")
    lent: str = Field(description="The part of its guarantee that others hold.")
    lenders: list[Lender] = Field(default_factory=list, description="From whom it may have it, if it borrows.")
    running: int = Field(description="Workloads of it that have a place.")
    waiting: int = Field(description="Workloads of it that wait.")


class FlavorUse(Model):
    """What is left on the nodes of a flavor."""

    flavor: str = Field(description="Name of the flavor.")
    nodes: int = Field(description="Its nodes.")
    ready: int = Field(description="Those that take pods.")
    gpus: float = Field(description="GPUs of those that take pods.")
    free: float = Field(description="GPUs of these that nobody holds.")
    largest: float = Field(description="Free GPUs of the emptiest node.")
    fragmentation_percent: float = Field(
        description="Free GPUs that typical workloads of now cannot use, of all its GPUs."
    )
    health: str = Field(
        default="",
        description="Which of its nodes are broken, and by what condition, and which held jobs up lately; empty if none is.",
    )


class NodeHealth(Model):
    """A node of which something is to be said."""

    node: str = Field(description="Its name.")
    state: NodeState = Field(description="How it stands.")
    since: Time | None = Field(default=None, description="Since when.")
    why: str = Field(default="", description="Why.")
    remedy: str = Field(default="", description="What helps.")
    lemon: float = Field(
        default=0.0,
        description="How many times as often as elsewhere attempts of jobs fail there, at least; 0 for no more.",
    )
    risk: int = Field(
        default=0, description="How much errors of its GPUs foretell a failure, in steps; 0 for not at all."
    )


class Top(Model):
    """Who holds what now."""

    queues: list[QueueUse] = Field(description="By queue, flavor and resource.")
    flavors: list[FlavorUse] = Field(description="By flavor.")
    nodes: list[NodeHealth] = Field(default_factory=list, description="Nodes that are not as they should be.")
    running: int = Field(description="Workloads that have a place.")
    waiting: int = Field(description="Workloads that wait.")
    power: list[PowerUse] = Field(
        default_factory=list, description="By queue and flavor, of flavors that state power or price."
    )
    own: PowerUse | None = Field(
        default=None, description="The same of the asker's namespace, all queues and flavors together."
    )
