"""Configuration as cycles read it: queues, flavors, namespaces, and what follows from them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from trainyard.api.flavor import FlavorSpec
from trainyard.api.queue import QueueSpec
from trainyard.scheduling.snapshot import Workload


@dataclass(frozen=True, slots=True)
class Rules:
    """Queues and flavors by name, labels of each namespace, and which queues are somebody's parent."""

    queues: Mapping[str, QueueSpec] = field(default_factory=dict)
    flavors: Mapping[str, FlavorSpec] = field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    parents: frozenset[str] = frozenset()
    used_up: Mapping[str, str] = field(default_factory=dict)
    """Queues whose budget is used up, and what to say of it."""
    _flavors: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)

    def upward(self, queue: str) -> Iterator[str]:
        """The queue and those above it; a cycle is walked once."""
        seen: set[str] = set()
        while queue in self.queues and queue not in seen:
            seen.add(queue)
            yield queue
            queue = self.queues[queue].parent or ""

    def flavors_of(self, workload: Workload) -> tuple[str, ...]:
        """Flavors to be tried, best first: those that the workload and its queue both name and that exist.

        Nodes that may be taken away are for those that can bear it, or ask for it.
        """
        own = self.flavors_of_queue(workload.queue)
        names = [name for name in workload.flavors or own if name in own and name in self.flavors]
        if not workload.flavors and not workload.preemptible:
            names = [name for name in names if not self.flavors[name].spot]
        if speeds := dict(workload.throughputs):
            names.sort(key=lambda name: -speeds.get(name, 0.0))
        return tuple(names)

    def flavors_of_queue(self, queue: str) -> tuple[str, ...]:
        """Its own, or those of the nearest queue above that has some."""
        known = self._flavors.get(queue)
        if known is None:
            named = next((flavors for name in self.upward(queue) if (flavors := self.queues[name].flavors)), [])
            known = self._flavors[queue] = tuple(each.name for each in named)
        return known

    def priority_of(self, workload: Workload) -> int:
        """What the queue lets it have."""
        spec = self.queues.get(workload.queue)
        limit = spec.max_priority if spec else None
        return workload.priority if limit is None else min(limit, workload.priority)
