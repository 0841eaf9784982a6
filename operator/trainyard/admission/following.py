"""Who looks again when an object changed: the objects that it concerns, the scheduler when something may start now, and whoever counts.

Every change that a cache hears of comes through here, thousands in a moment at times: what cannot matter is found out first. A process
that stands by keeps its picture of the cluster and tells nobody.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainyard.admission.job_history import JobHistory
from trainyard.admission.overview import FRESH_SECONDS
from trainyard.admission.places import OWNERS, PlacesOnRecord
from trainyard.api.names import MANAGED_BY_LABEL, RESTORING
from trainyard.nodes import care
from trainyard.training.templates import Templates
from trainyard.workloads.caches import Caches
from trainyard.workloads.keys import Key
from trainyard.workloads.known_nodes import node_key
from trainyard.workloads.looks import Looks
from trainyard.workloads.world import World

_OVERVIEW_SECONDS = 2 * FRESH_SECONDS
"""Numbers of queues and flavors follow this long after what they count."""
_POD_SECONDS = 0.1

Change = Callable[[dict[str, Any] | None, dict[str, Any] | None], None]
"""The object before and after; None where it was not, or is no more."""


@dataclass(frozen=True, slots=True)
class Following:
    """What a change sets going."""

    world: World
    caches: Caches
    wake: Callable[[Key, float], None]
    poke: Callable[[], None]
    """The scheduler."""
    looks: Mapping[str, Looks]
    """By kind of what wants a place."""
    templates: Templates
    history: JobHistory
    places: PlacesOnRecord
    has_queue: Callable[[str], None]
    """Hears of each queue."""
    leads: Callable[[], bool]

    def of(self, kind: str) -> Change:
        """What to do at each change of an object of this kind."""

        def changed(old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
            if kind == "Namespace" and old is not None and new is None and self.caches.sight.namespaces:
                self.caches.forget(old["metadata"]["name"])
            if not self.leads():
                self._noticed(self.world.observe(kind, old, new))
                return
            if kind == "TrainingJob" and old is not None and new is None:
                self.history.deleted(old["metadata"])
            was = self.places.before(kind, old)
            for key in self._noticed(self.world.observe(kind, old, new)):
                # A pod changes several times in a moment: created, bound, started. One look is enough for all.
                self.wake(key, _POD_SECONDS if kind == "Pod" and new is not None else 0.0)
            if kind == "Node" and node_gist(old) != node_gist(new):
                self.wake(node_key((new or old or {})["metadata"]["name"]), 0.0)
            if was is not None:
                self.places.after(was, kind, new)
            self._spread(kind, old, new)
            if kind == "Queue" and old is None and new is not None:
                self.has_queue(new["metadata"]["name"])

        return changed

    def node_stands(self, beside: set[Key]) -> None:
        """A node stands otherwise than before: those beside it look, and so does the scheduler."""
        for key in self._noticed(beside):
            self.wake(key, 0.0)
        self.poke()

    def _noticed(self, keys: set[Key]) -> set[Key]:
        for key in keys:
            if key.kind in self.looks:
                self.looks[key.kind].noticed(key)
        return keys

    def _spread(self, kind: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        thing = new or old or {}
        if kind == "Namespace":
            self.templates.namespace_changed(thing["metadata"]["name"])
        elif kind == "Pod" and (new is None or over(new)):
            self.templates.pod_ended(thing["metadata"]["namespace"])
        if _lets_start(kind, old, new):
            self.poke()
        if kind in OWNERS:
            self.wake(Key("Queue", "", thing.get("spec", {}).get("queue", "")), _OVERVIEW_SECONDS)
        if kind in ("Node", "Flavor") and node_gist(old) != node_gist(new):
            for flavor in self.world.flavors():
                self.wake(Key("Flavor", "", flavor), _OVERVIEW_SECONDS)
            if kind == "Flavor":
                for name, looks in self.looks.items():
                    looks.all_noticed(self.world.keys(name))
                for each in self.world.of_kind("Queue"):
                    self.wake(Key("Queue", "", each.metadata.name), _OVERVIEW_SECONDS)


def _lets_start(kind: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> bool:
    """Whether a change may let something start, or asks for a place."""
    match kind:
        case "Flavor" | "Queue" | "Namespace" | "PersistentVolumeClaim":
            return True
        case "Node":
            return node_gist(old) != node_gist(new)
        case "Pod":
            return (
                new is None
                or over(new) != over(old or {})
                or not new["metadata"].get("labels", {}).get(MANAGED_BY_LABEL)
            )
        case "TrainingJob" | "InferenceService":
            return old is None or new is None or asks(old) != asks(new)
    return False


def asks(thing: Mapping[str, Any]) -> tuple[object, bool]:
    """What of a job or service may change what it asks for: its spec, and the end of its restoring."""
    return thing["metadata"].get("generation"), RESTORING in thing["metadata"].get("annotations", {})


def over(pod: Mapping[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def node_gist(thing: Mapping[str, Any] | None) -> object:
    """What of a node or flavor matters to scheduling: heartbeats do not."""
    if thing is None:
        return None
    status = thing.get("status", {})
    ready = [each["status"] for each in status.get("conditions", ()) if each["type"] == "Ready"]
    return (
        thing["metadata"].get("labels"),
        thing.get("spec"),
        status.get("allocatable"),
        ready,
        care.gist(thing) if thing.get("kind", "Node") == "Node" else None,
    )
