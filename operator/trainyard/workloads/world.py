"""The operator's picture of the cluster, parsed once per change and read by every plan. In memory only; fed by caches, asks nobody."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from trainyard.api.flavor import Flavor, FlavorSpec
from trainyard.api.inference_service import InferenceService
from trainyard.api.meta import Pool, Taint, problems
from trainyard.api.names import (
    FLAVOR_LABEL,
    INDEX_LABEL,
    JOB_LABEL,
    QUEUE_LABEL,
    ROLE_LABEL,
    SERVICE_LABEL,
    TENSORBOARD_LABEL,
)
from trainyard.api.queue import Queue, QueueSpec
from trainyard.api.training_job import TrainingJob
from trainyard.nodes import care, times
from trainyard.runtime.clock import SystemClock
from trainyard.scheduling import accounts
from trainyard.scheduling.resources import parse_all
from trainyard.scheduling.snapshot import NodeView, PodView, Snapshot, Standing, Workload
from trainyard.workloads import node_health
from trainyard.workloads.identity import labels_of, owner
from trainyard.workloads.kept import of_node
from trainyard.workloads.keys import Key
from trainyard.workloads.pod_requests import pod_requests
from trainyard.workloads.pod_state import PodState, pod_state
from trainyard.workloads.ports import Ports, ports_of
from trainyard.workloads.understood import KINDS, Damage, Ours, understand

Object = Mapping[str, Any]
_CONTAINERS = {"replica": "server", "gateway": "haproxy"}
"""By role in a service."""
_PINNED = "metadata.name"
_BLIND_CHECK_SECONDS = 60.0
_ROUNDING_SECONDS = 0.1
WELL = Standing()
LOST_SECONDS = 5.0
"""A node that Kubernetes has called not ready for so long, after a grace period of its own, will not answer again soon."""


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
        self._node_objects: dict[str, dict[str, Any]] = {}
        self._pool = Pool()
        self.damaged: dict[Key, Damage] = {}
        """Those that can be read but for a part of their status."""
        self.unreadable: dict[Key, str] = {}
        """Uids of those of which nobody knows what they ask for. Their pods count like those of strangers."""
        self._telling: dict[Key, Ours] = {}
        """Those whose status speaks against a node."""
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
        self.nodes: dict[str, NodeView] = {}
        self._standings: dict[str, Standing] = {}
        """Of nodes that somebody looks after."""
        self.not_ready_since: dict[str, datetime] = {}
        self._pods: dict[tuple[str, str], PodView] = {}
        self._at: dict[str, dict[tuple[str, str], Key]] = {}
        """By node, whose pods are there."""
        self._using: dict[Key, set[Key]] = {}
        """Services that serve a job's result, and jobs that compress it, by that job."""
        self._states: dict[str, dict[str, PodState]] = {}
        self._gateways: dict[tuple[str, str], dict[str, PodState]] = {}
        self._boards: dict[tuple[str, str], dict[str, PodState]] = {}
        self._tell_unreadable = unreadable or (lambda _obj, _why: None)

    def observe(self, kind: str, old: Object | None, new: Object | None) -> set[Key]:
        """Take a change of an object of any kind that we watch."""
        thing = new or old
        assert thing is not None
        place = (thing["metadata"].get("namespace", ""), thing["metadata"]["name"])
        match kind:
            case "Pod":
                return self._pod(place, old, new)
            case "Node":
                return self._node(place[1], new)
            case "Namespace":
                _keep(self.namespaces, place[1], new and new["metadata"].get("labels", {}))
                return self._end(place[1], new)
            case "PersistentVolumeClaim":
                _keep(self.claims, place, new and tuple(new["spec"].get("accessModes", ())))
                return self._users_of_claim(place)
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

    def pods_of(self, uid: str) -> tuple[PodState, ...]:
        """Pods whose owner has that uid."""
        return tuple(self._states.get(uid, {}).values())

    def get(self, key: Key) -> Ours | None:
        return self._ours[key.kind].get(key)

    def node_object(self, name: str) -> Object | None:
        """The node, without what is of no interest here (`kept.of_node`)."""
        return self._node_objects.get(name)

    def identity(self, key: Key) -> dict[str, Any] | None:
        """Which object it is and which state of it, of those that can be read: enough to write to it, and to post an event on it."""
        if key.kind == "Node":
            return self._node_objects.get(key.name)
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

    def neighbours(self, service: InferenceService) -> dict[str, InferenceService]:
        """Services of the same namespace by name; none for one whose model is no graph, as it asks nobody."""
        if service.spec.model.graph is None:
            return {}
        return {
            key.name: each
            for key, each in self._ours["InferenceService"].items()
            if isinstance(each, InferenceService) and key.namespace == service.metadata.namespace
        }

    def training_jobs(self) -> list[TrainingJob]:
        return [each for each in self._ours["TrainingJob"].values() if isinstance(each, TrainingJob)]

    def lost(self, nodes: Iterable[str], now: datetime, grace: float = LOST_SECONDS) -> frozenset[str]:
        """Those of `nodes` that will not answer again soon: gone, or not ready for `grace` seconds.

        None when so many fell silent together (over a fifth, two at least, within ten minutes) that the fault is more
        likely between them and us.
        """
        if not self.nodes or self._blind(now):
            return frozenset()
        return frozenset(name for name in nodes if name and self._silent(name, now) >= grace)

    def next_loss(self, nodes: Iterable[str], now: datetime, grace: float = LOST_SECONDS) -> float | None:
        """Seconds until one of `nodes` that is silent now counts as lost, which no event announces; None if none is."""
        silent = [self._silent(name, now) for name in nodes if name in self.not_ready_since]
        if not silent:
            return None
        if self._blind(now):
            return _BLIND_CHECK_SECONDS
        return min((grace - seconds + _ROUNDING_SECONDS for seconds in silent if seconds < grace), default=None)

    def silent_since(self, nodes: Iterable[str]) -> dict[str, datetime]:
        """Those of `nodes` that are not ready, and since when."""
        return {name: since for name in nodes if (since := self.not_ready_since.get(name)) is not None}

    def leaving(self, nodes: Iterable[str]) -> dict[str, str]:
        """Those of `nodes` that will be gone soon, and by what that is known."""
        return {name: view.leaving for name in nodes if (view := self.nodes.get(name)) and view.leaving}

    def stand(self, name: str, standing: Standing) -> set[Key] | None:
        """How a node stands from now on; returns whose pods are there if they should look. None if it stood so before."""
        node = self._node_objects.get(name)
        if node is None or self._standings.get(name) == standing:
            return None
        self._standings[name] = standing
        return self._node(name, node)

    def beside(self, name: str) -> set[Key]:
        """Whose pods are on the node."""
        return set(self._at.get(name, {}).values())

    def occupied(self, name: str) -> bool:
        """Whether pods of ours are on the node and have not ended."""
        return any(not self._pods[place].finished for place in self._at.get(name, ()))

    def cordoned(self, nodes: Iterable[str]) -> frozenset[str]:
        """Those of `nodes` that take no new pods since somebody said so."""
        return frozenset(name for name in nodes if (view := self.nodes.get(name)) and view.unschedulable)

    def share_gpus(self, nodes: Iterable[str]) -> bool:
        """Whether GPUs of any of `nodes` are handed out several times."""
        return any((view := self.nodes.get(name)) and node_health.shares_gpus(view.labels) for name in nodes)

    def departing(self, nodes: Iterable[str]) -> frozenset[str]:
        """Those of `nodes` whose loss says nothing against them: somebody cordoned them, or they are gone or will be soon."""
        there = {name: self.nodes.get(name) for name in nodes}
        return frozenset(name for name, view in there.items() if not view or view.unschedulable or view.leaving)

    def _blind(self, now: datetime) -> bool:
        recent = sum(now - since < timedelta(minutes=10) for since in self.not_ready_since.values())
        return recent >= 2 and recent * 5 > len(self.nodes)  # noqa: PLR2004

    def _silent(self, name: str, now: datetime) -> float:
        if name not in self.nodes:
            return float("inf")
        since = self.not_ready_since.get(name)
        return (now - since).total_seconds() if since else 0.0

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

    def gateways_of(self, namespace: str, service: str) -> tuple[PodState, ...]:
        """Gateway pods of an InferenceService."""
        return tuple(self._gateways.get((namespace, service), {}).values())

    def boards_of(self, namespace: str, job: str) -> tuple[PodState, ...]:
        """TensorBoard pods of a TrainingJob."""
        return tuple(self._boards.get((namespace, job), {}).values())

    def snapshot(self, workloads: Iterable[Workload]) -> Snapshot:
        """What a scheduling cycle looks at."""
        queues = {each.metadata.name: each for each in self.of_kind("Queue") if isinstance(each, Queue)}
        kept = accounts.read({name: (each.spec, each.status) for name, each in queues.items()}, self._now())
        return Snapshot(
            nodes=tuple(self.nodes[name] for name in sorted(self.nodes)),
            pods=tuple(self._pods.values()),
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

    def _pod(self, place: tuple[str, str], old: Object | None, new: Object | None) -> set[Key]:
        before, after = (old and owner(old)[1]), (new and owner(new)[1])
        if (
            old is not None
            and before
            and (before != after or old["metadata"]["uid"] != (new or old)["metadata"]["uid"] or new is None)
        ):
            states = self._states.get(before, {})
            states.pop(old["metadata"]["uid"], None)
            if not states:
                self._states.pop(before, None)
        self._see(place, new)
        if new is not None and after:
            its_labels = labels_of(new)
            container = "trainer" if JOB_LABEL in its_labels else _CONTAINERS.get(its_labels.get(ROLE_LABEL, ""), "")
            states, uid = self._states.setdefault(after, {}), new["metadata"]["uid"]
            known = states.get(uid)
            states[uid] = pod_state(new, container, known.first_look if known else self._now())
        labels = labels_of(new or old or {})
        if labels.get(ROLE_LABEL) == "gateway":
            group = self._gateways.setdefault((place[0], labels.get(SERVICE_LABEL, "")), {})
            _keep(group, place[1], new and pod_state(new, _CONTAINERS["gateway"]))
        if job := labels.get(TENSORBOARD_LABEL):
            shown = self._boards.setdefault((place[0], job), {})
            _keep(shown, place[1], new and pod_state(new, "tensorboard"))
            if not shown:
                del self._boards[place[0], job]
        return _owner_keys(new or old or {})

    def _see(self, place: tuple[str, str], pod: Object | None) -> None:
        """Keep what the scheduler counts of a pod, and at which node it is."""
        old = self._pods.get(place)
        view = pod_view(pod) if pod else None
        _keep(self._pods, place, view)
        if old is not None and (view is None or old.node != view.node):
            self._at.get(old.node, {}).pop(place, None)
            if not self._at.get(old.node):
                self._at.pop(old.node, None)
        if pod is not None and view is not None and view.node and view.owner_uid:
            kind, _, name = owner(pod)
            self._at.setdefault(view.node, {})[place] = Key(kind, place[0], name)

    def _node(self, name: str, new: Object | None) -> set[Key]:
        before = self.nodes.get(name)
        _keep(self._node_objects, name, new and of_node(new))
        if new is None:
            self._standings.pop(name, None)
        _keep(self.nodes, name, new and node_view(new, self._standings.get(name) or care.first_look(new, self._now())))
        view = self.nodes.get(name)
        since = self.not_ready_since.get(name)
        if view is None or view.ready:
            self.not_ready_since.pop(name, None)
        elif new is not None:
            self.not_ready_since[name] = _since(new) or since or self._now()
        same = view is not None and _stays(view) == (_stays(before) if before else (False, ""))
        if view is not None and view.ready and since is None and same:
            return set()
        return self.beside(name)

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
            self._know_parent(key, gone, None)
            for kept in (self._telling, self.damaged, self.unreadable):
                kept.pop(key, None)
            return {key} | self._served_from(key, gone)
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
        self._know_parent(key, old, found)
        _keep(self._telling, key, found if node_health.tells_of_nodes(found) else None)
        return {key} | self._served_from(key, old)

    def _served_from(self, key: Key, old: Ours | None) -> set[Key]:
        """Services whose model is a job's result, and jobs that compress it, look again when it came, went or took another step.

        Graphs do when a service of their namespace came, went or changed its spec.
        """
        new = self._ours[key.kind].get(key)
        if isinstance(new or old, InferenceService):
            return self._graphs_beside(key) if _generation(old) != _generation(new) else set()
        if not isinstance(new or old, TrainingJob) or _stage(old) == _stage(new):
            return set()
        return self._using.get(key, set()).copy()

    def _know_parent(self, key: Key, old: Ours | None, new: Ours | None) -> None:
        """Keep who serves or compresses the result of a job, by that one's key."""
        before, after = _parent_of(key, old), _parent_of(key, new)
        if before == after:
            return
        if before is not None:
            children = self._using.get(before, set())
            children.discard(key)
            if not children:
                self._using.pop(before, None)
        if after is not None:
            self._using.setdefault(after, set()).add(key)

    def _graphs_beside(self, key: Key) -> set[Key]:
        return {
            each
            for each, service in self._ours["InferenceService"].items()
            if isinstance(service, InferenceService)
            and each.namespace == key.namespace
            and service.spec.model.graph is not None
        }

    def _users_of_claim(self, place: tuple[str, str]) -> set[Key]:
        namespace, name = place
        jobs = (
            (key, each)
            for key, each in self._ours["TrainingJob"].items()
            if isinstance(each, TrainingJob) and key.namespace == namespace
        )
        services = {
            key
            for key, each in self._ours["InferenceService"].items()
            if isinstance(each, InferenceService) and (key.namespace, each.spec.model.claim_name) == place
        }
        return services | {key for key, job in jobs if name in _claims_of(job)}


def _going(thing: Ours, since: datetime | None) -> Ours:
    """The same, being deleted since then if it was not before."""
    if since is None or thing.metadata.deletion_timestamp is not None:
        return thing
    return thing.model_copy(update={"metadata": thing.metadata.model_copy(update={"deletion_timestamp": since})})


def _parent_of(key: Key, thing: Ours | None) -> Key | None:
    """The job whose result this one serves or compresses."""
    name = None
    if isinstance(thing, InferenceService):
        name = thing.spec.model.training_job
    elif isinstance(thing, TrainingJob) and thing.spec.compression and thing.spec.compression.parent:
        name = thing.spec.compression.parent.training_job
    return Key("TrainingJob", key.namespace, name) if name else None


def _claims_of(job: TrainingJob) -> set[str | None]:
    """Names of the claims that the job's spec tells of."""
    storage, compression = job.spec.storage, job.spec.compression
    claims: set[str | None] = {storage.claim_name or job.metadata.name} if storage else set()
    return claims | {compression.parent.claim_name} if compression and compression.parent else claims


def _generation(thing: Ours | None) -> tuple[str, int] | None:
    return (thing.metadata.uid, thing.metadata.generation) if thing is not None else None


def _stage(job: Ours | None) -> tuple[object, ...] | None:
    return (job.metadata.uid, job.status.phase, job.status.result) if isinstance(job, TrainingJob) else None


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


def pod_view(pod: Object) -> PodView:
    """A pod as the scheduler counts it."""
    metadata, spec, labels = pod["metadata"], pod["spec"], labels_of(pod)
    role = labels.get(ROLE_LABEL, "")
    owner_uid = owner(pod)[1]
    return PodView(
        uid=metadata["uid"],
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        node=spec.get("nodeName") or _pinned_node(spec),
        requests=pod_requests(spec),
        owner_uid=owner_uid,
        role=f"replica-{labels.get(INDEX_LABEL)}" if role == "replica" else role,
        # A label alone proves nothing: anybody may put one on a pod of their own.
        queue=labels.get(QUEUE_LABEL, "") if owner_uid else "",
        flavor=labels.get(FLAVOR_LABEL, "") if owner_uid else "",
        finished=pod.get("status", {}).get("phase") in ("Succeeded", "Failed"),
    )


def _pinned_node(spec: Mapping[str, Any]) -> str:
    required = (
        spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    )
    for term in required.get("nodeSelectorTerms", ()):
        for field in term.get("matchFields", ()):
            if field.get("key") == _PINNED and len(field.get("values", ())) == 1:
                return str(field["values"][0])
    return ""


def node_key(name: str) -> Key:
    """Of a node on the work queue, and of its object."""
    return Key("Node", "", name)


def node_view(node: Object, standing: Standing = WELL) -> NodeView:
    """A node as the scheduler sees it. standing: as it was last looked at; what is broken since then counts at once."""
    metadata, spec, status = node["metadata"], node.get("spec", {}), node.get("status", {})
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))
    return NodeView(
        name=metadata["name"],
        labels=metadata.get("labels", {}),
        allocatable=parse_all(status.get("allocatable", {})),
        taints=tuple(Taint.model_validate(each) for each in spec.get("taints", ())),
        ready=ready,
        unschedulable=bool(spec.get("unschedulable")),
        broken=standing.words if standing.taken_out else care.broken(node, standing.settled),
        leaving=node_health.leaving(node) or care.leaving(standing),
        standing=standing,
    )


def _stays(view: NodeView) -> tuple[bool, str]:
    return view.unschedulable, view.leaving


def _since(node: Object) -> datetime | None:
    for each in node.get("status", {}).get("conditions", ()):
        if each["type"] == "Ready":
            return times.parse(each.get("lastTransitionTime"))
    return None
