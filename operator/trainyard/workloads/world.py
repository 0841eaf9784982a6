"""The operator's picture of the cluster, parsed once per change and read by every plan. In memory only; fed by caches, asks nobody.

Neighbours: `known_nodes` and `known_pods` have what there is of these, `relations` knows whom a change concerns besides.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from trainyard.api.flavor import Flavor, FlavorSpec
from trainyard.api.meta import Pool, problems
from trainyard.api.names import SERVICE_LABEL, TENSORBOARD_LABEL
from trainyard.api.queue import Queue, QueueSpec
from trainyard.api.training_job import TrainingJob
from trainyard.nodes import times
from trainyard.runtime.clock import SystemClock
from trainyard.scheduling import accounts
from trainyard.scheduling.snapshot import Snapshot, Standing, Workload
from trainyard.workloads import node_health
from trainyard.workloads.identity import owner
from trainyard.workloads.keys import Key
from trainyard.workloads.known_nodes import KnownNodes
from trainyard.workloads.known_pods import KnownPods
from trainyard.workloads.ports import Ports, ports_of
from trainyard.workloads.relations import Relations
from trainyard.workloads.understood import KINDS, Damage, Ours, understand

Object = Mapping[str, Any]


class World:
    """What is known now. `observe` takes one change and returns the keys of our objects that should look again."""

    def __init__(
        self,
        unreadable: Callable[[Object, str], None] | None = None,
        now: Callable[[], datetime] | None = None,
        *,
        confined: bool = False,
    ) -> None:
        """confined: whether pods of some namespaces alone are told to it."""
        self._confined = confined
        self._now = now or SystemClock().now
        self._ours: dict[str, dict[Key, Ours]] = {kind: {} for kind in KINDS}
        self._pool = Pool()
        self.damaged: dict[Key, Damage] = {}
        """Those that can be read but for a part of their status."""
        self.unreadable: dict[Key, str] = {}
        """Uids of those of which nobody knows what they ask for. Their pods count like those of strangers."""
        self._telling: dict[Key, Ours] = {}
        """Those whose status speaks against a node."""
        self.nodes, self.pods = KnownNodes(), KnownPods()
        self.relations = Relations(self._ours["TrainingJob"], self._ours["InferenceService"])
        self.claims: dict[tuple[str, str], tuple[str, ...]] = {}
        self.services: dict[tuple[str, str], str] = {}
        """Owner uid of each Service of ours."""
        self.ports: dict[tuple[str, str], Ports] = {}
        """And its ports."""
        self.deployments: dict[tuple[str, str], Object] = {}
        self.budgets: dict[tuple[str, str], str] = {}
        """Disruption budgets of ours, and the uid of whose they are."""
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self._ending: dict[str, datetime] = {}
        """Namespaces that are being deleted, and since when."""
        self._tell_unreadable = unreadable or (lambda _obj, _why: None)

    def observe(self, kind: str, old: Object | None, new: Object | None) -> set[Key]:
        """Take a change of an object of any kind that we watch."""
        thing = new or old
        assert thing is not None
        place = (thing["metadata"].get("namespace", ""), thing["metadata"]["name"])
        match kind:
            case "Pod":
                self.pods.observe(place, old, new, self._now())
                return _owner_keys(thing)
            case "Node":
                matters = self.nodes.observe(place[1], new, self._now())
                return self.pods.beside(place[1]) if matters else set()
            case "Namespace":
                _keep(self.namespaces, place[1], new and new["metadata"].get("labels", {}))
                return self._end(place[1], new)
            case "PersistentVolumeClaim":
                _keep(self.claims, place, new and tuple(new["spec"].get("accessModes", ())))
                return self.relations.users_of_claim(*place)
            case "Service":
                _keep(self.services, place, new and owner(new)[1])
                _keep(self.ports, place, new and ports_of(new))
                return _owner_keys(thing)
            case "Deployment":
                _keep(self.deployments, place, new)
                return _owner_keys(thing)
            case "PodDisruptionBudget":
                _keep(self.budgets, place, new and owner(new)[1])
                return _owner_keys(thing)
        return self._own(Key(kind, *place), new) if kind in KINDS else set()

    def get(self, key: Key) -> Ours | None:
        return self._ours[key.kind].get(key)

    def identity(self, key: Key) -> dict[str, Any] | None:
        """Which object it is and which state of it, of those that can be read: enough to write to it, and to post an event on it."""
        if key.kind == "Node":
            return self.nodes.object_of(key.name)
        thing = self.get(key)
        if thing is None:
            return None
        meta = thing.metadata
        said = {
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "generation": meta.generation,
        }
        kept = {name: value for name, value in said.items() if value}
        return {"apiVersion": thing.api_version, "kind": thing.kind, "metadata": kept}

    def keys(self, kind: str) -> list[Key]:
        return list(self._ours[kind])

    def of_kind(self, kind: str) -> Iterable[Ours]:
        return self._ours[kind].values()

    def training_jobs(self) -> list[TrainingJob]:
        return [each for each in self._ours["TrainingJob"].values() if isinstance(each, TrainingJob)]

    def stand(self, name: str, standing: Standing) -> set[Key] | None:
        """How a node stands from now on; returns whose pods are there if they should look. None if it stood so before."""
        matters = self.nodes.stand(name, standing, self._now())
        if matters is None:
            return None
        return self.pods.beside(name) if matters else set()

    def flavors(self) -> dict[str, FlavorSpec]:
        """Flavors by name."""
        return {key.name: each.spec for key, each in self._ours["Flavor"].items() if isinstance(each, Flavor)}

    def queues_above(self, name: str) -> Iterator[QueueSpec]:
        """The queue and those above it; a cycle of parents is walked once."""
        seen: set[str] = set()
        while name and name not in seen and isinstance(found := self.get(Key("Queue", "", name)), Queue):
            seen.add(name)
            yield found.spec
            name = found.spec.parent or ""

    def snapshot(self, workloads: Iterable[Workload]) -> Snapshot:
        """What a scheduling cycle looks at."""
        queues = {each.metadata.name: each for each in self.of_kind("Queue") if isinstance(each, Queue)}
        kept = accounts.read({name: (each.spec, each.status) for name, each in queues.items()}, self._now())
        return Snapshot(
            nodes=tuple(self.nodes[name] for name in sorted(self.nodes)),
            pods=self.pods.views(),
            flavors=self.flavors(),
            queues={name: each.spec for name, each in queues.items()},
            namespaces=dict(self.namespaces),
            workloads=tuple(workloads),
            used_up=kept.used_up,
            recent=kept.recent,
            failures=node_health.failures(self._telling.values(), self._now()),
            slow=node_health.slowness(self._telling.values(), self._now()),
            confined=self._confined,
        )

    def _end(self, namespace: str, new: Object | None) -> set[Key]:
        """With a namespace goes what is in it, though the turn of our kinds may come long after that of their pods."""
        since, known = new and times.parse(new["metadata"].get("deletionTimestamp")), namespace in self._ending
        _keep(self._ending, namespace, since)
        if not since or known:
            return set()
        inside = {key for things in self._ours.values() for key in things if key.namespace == namespace}
        for key in inside:
            self._ours[key.kind][key] = _going(self._ours[key.kind][key], since)
        return inside

    def _own(self, key: Key, new: Object | None) -> set[Key]:
        if new is None:
            gone = self._ours[key.kind].pop(key, None)
            for kept in (self._telling, self.damaged, self.unreadable):
                kept.pop(key, None)
            return {key} | self.relations.changed(key, gone, None)
        old = self._ours[key.kind].get(key)
        try:
            understood = understand(key.kind, new, self._pool)
        except ValidationError as error:
            # What was known of it is outdated, and a write on that would be refused again and again.
            beside = self._own(key, None) if old is not None else set()
            self.unreadable[key] = new["metadata"].get("uid", "")
            self._tell_unreadable(new, problems(error))
            return beside
        found = self._ours[key.kind][key] = _going(understood.thing, self._ending.get(key.namespace))
        self.unreadable.pop(key, None)
        _keep(self.damaged, key, understood.damage)
        _keep(self._telling, key, found if node_health.tells_of_nodes(found) else None)
        return {key} | self.relations.changed(key, old, found)


def _going(thing: Ours, since: datetime | None) -> Ours:
    """The same, being deleted since then if it was not before."""
    if since is None or thing.metadata.deletion_timestamp is not None:
        return thing
    return thing.model_copy(update={"metadata": thing.metadata.model_copy(update={"deletion_timestamp": since})})


def _keep(store: dict[Any, Any], key: Any, value: Any) -> None:
    if value is None:
        store.pop(key, None)
    else:
        store[key] = value


def _owner_keys(thing: Object) -> set[Key]:
    kind, _, name = owner(thing)
    if kind:
        return {Key(kind, thing["metadata"]["namespace"], name)}
    labels, namespace = thing["metadata"].get("labels", {}), thing["metadata"].get("namespace", "")
    if job := labels.get(TENSORBOARD_LABEL):
        return {Key("TrainingJob", namespace, job)}
    service = labels.get(SERVICE_LABEL)
    return {Key("InferenceService", namespace, service)} if service else set()
