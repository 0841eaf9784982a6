"""Applies a plan: status first, then deletes and creates, then events. The only place where a controller's decisions meet the API server."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from trainyard.api.audit import Action
from trainyard.api.reasons import Reason
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import AlreadyExists, ClusterError, Conflict, Forbidden, Invalid, WebhookDown
from trainyard.cluster.resources import CLAIMS, DEPLOYMENTS, POD_DISRUPTION_BUDGETS, PODS, SERVICES, Resource
from trainyard.runtime.audit_chain import Entry
from trainyard.runtime.audit_gathering import Gathering
from trainyard.runtime.clock import Clock
from trainyard.workloads.audited import forced, refusal
from trainyard.workloads.keys import Key
from trainyard.workloads.plan import Note, Object, Plan, sooner
from trainyard.workloads.ports import ports_of
from trainyard.workloads.ration import Ration
from trainyard.workloads.world import World

log = logging.getLogger(__name__)

_RESOURCES = {
    "Pod": PODS,
    "Service": SERVICES,
    "PersistentVolumeClaim": CLAIMS,
    "Deployment": DEPLOYMENTS,
    "PodDisruptionBudget": POD_DISRUPTION_BUDGETS,
}
_APPLIED = frozenset({"Deployment"})
"""Kinds that are kept equal to the plan. The others are created once and never changed, but for the ports of Services."""


_UNSEEN_SECONDS = 5.0
"""A watch tells of a new pod within milliseconds; after so long a pod that is not seen is made again."""
_TICK = 0.001
"""A timer may fire a rounding error early; asking again after what is left would spin."""

Learn = Callable[[str, Object], None]
"""Tells the caches what the API server answered to a write, before the watch does: kind, object."""


Record = Callable[[Entry], None]
"""Puts something on record."""


class RefusedError(Exception):
    """The API server will not take a child as it is: quota, pod security, a webhook."""

    def __init__(self, message: str, kind: str) -> None:
        """kind: of the child."""
        super().__init__(message)
        self.kind = kind


class TakenError(RefusedError):
    """Somebody else has an object of the name that a child is to have."""


class Events(Protocol):
    """Posts an event on an object; never fails, never waits."""

    def post(self, obj: Mapping[str, Any], reason: str, message: str, *, warning: bool) -> None: ...


class Applier:
    """One for all controllers: it also holds the ration of calm status writes."""

    def __init__(
        self, cluster: ClusterClient, world: World, clock: Clock, events: Events, learn: Learn, record: Record
    ) -> None:
        self._cluster, self._world, self._clock, self._events, self._learn = cluster, world, clock, events, learn
        self._record = record
        self._refusals = Gathering(record)
        self._ration = Ration(clock)
        self._made: dict[tuple[str, str], float] = {}
        """Pods made a moment ago, which the watch may not have told of yet, and until when that is waited for."""

    async def apply(self, key: Key, resource: Resource, plan: Plan) -> float | None:
        """Do what the plan says. Returns seconds until a held-back write is due, or a pod made is looked for. Raises RefusedError, ClusterError."""
        raw = self._world.identity(key)
        if raw is None:
            return None
        meta = raw["metadata"]
        namespace = meta.get("namespace")
        held_back = await self._status(key, resource, plan, meta)
        outcomes = await asyncio.gather(
            *(
                self._cluster.delete(
                    _RESOURCES[each.kind],
                    namespace,
                    each.name,
                    uid=each.uid or None,
                    grace_seconds=each.grace_seconds,
                )
                for each in plan.delete
            ),
            return_exceptions=True,
        )
        for each, outcome in zip(plan.delete, outcomes, strict=True):
            answered = not isinstance(outcome, BaseException)
            if answered or _unknown(outcome):
                for entry in forced(key, each, answered=answered):
                    self._record(entry)
        if failed := [each for each in outcomes if isinstance(each, BaseException)]:
            raise failed[0]
        unseen = await self._create(plan.create, meta["uid"])
        if held_back is None or not plan.takes_turn:
            for note in plan.notes:
                self.note(key, note)
        if plan.delete_self:
            await self._delete_self(key, resource, meta)
        return sooner(held_back, unseen)

    async def mend(self, key: Key, resource: Resource) -> None:
        """Take out of a status what cannot be read: a merge would keep its depths. The next look makes it anew. Raises ClusterError."""
        raw, damage, thing = self._world.identity(key), self._world.damaged.get(key), self._world.get(key)
        if raw is None or damage is None or thing is None or thing.metadata.restoring:
            return
        meta = raw["metadata"]
        written = await self._cluster.patch_status(
            resource,
            meta.get("namespace"),
            meta["name"],
            dict.fromkeys(damage.fields),
            uid=meta["uid"],
            resource_version=meta["resourceVersion"],
        )
        self._learn(key.kind, written)
        what = ", ".join(f"status.{each}" for each in damage.fields)
        text = f"{what} could not be read and is made anew; a hand or another version wrote it: {damage.why}"
        self.note(key, Note(Reason.STATUS_MENDED, text, warning=True))

    async def _delete_self(self, key: Key, resource: Resource, meta: Mapping[str, Any]) -> None:
        """Its time to live is over."""
        facts = {"uid": meta["uid"], "why": "spec.ttlSecondsAfterFinished"}
        try:
            await self._cluster.delete(resource, meta.get("namespace"), meta["name"], uid=meta["uid"])
        except ClusterError as error:
            if _unknown(error):
                self._record(Entry(Action.DELETED, str(key), {**facts, "answered": False}))
            raise
        self._record(Entry(Action.DELETED, str(key), {**facts, "answered": True}))

    def note(self, key: Key, note: Note) -> None:
        """Post an event on the object and log it."""
        if raw := self._world.identity(key):
            self._events.post(raw, note.reason, note.message, warning=note.warning)
        log.log(
            logging.WARNING if note.warning else logging.INFO,
            "%s: %s",
            note.reason,
            note.message,
            extra={"object": str(key)},
        )

    def refused(self, key: Key, message: str) -> None:
        """The API server will not take the object's pods."""
        self._refusals.add(refusal(message), f"Namespace {key.namespace}", str(key), message)

    def settle(self) -> None:
        """Put on record what is gathered. For the end."""
        self._refusals.settle()

    def forget(self, key: Key) -> None:
        self._ration.forget(key)

    async def _status(self, key: Key, resource: Resource, plan: Plan, meta: Mapping[str, Any]) -> float | None:
        if not plan.status:
            return None
        if not plan.urgent and (left := self._ration.wait(key)) > 0:
            return left
        if plan.urgent and plan.takes_turn and (left := self._ration.turn(key)) > 0:
            return left
        version = meta["resourceVersion"]
        written = await self._cluster.patch_status(
            resource, meta.get("namespace"), meta["name"], dict(plan.status), uid=meta["uid"], resource_version=version
        )
        self._ration.wrote(key)
        # The answer is the truth until the watch tells more; without it the next round would decide on the past. What it decides is put
        # on record there, before a pod is made or deleted for it.
        self._learn(key.kind, written)
        return None

    async def _create(self, objects: tuple[Object, ...], owner: str) -> float | None:
        """Pods last, all at once. Returns seconds until those should be looked for that were made a moment ago and not seen yet."""
        if not objects:
            return None
        first = [each for each in objects if each["kind"] != "Pod"]
        for each in first:
            await self._create_one(each, owner)
        now = self._clock.monotonic()
        self._made = {pod: until for pod, until in self._made.items() if until - now > _TICK}
        pods = [each for each in objects if each["kind"] == "Pod"]
        awaited = [self._made[_place(each)] - now for each in pods if _place(each) in self._made]
        results = await asyncio.gather(
            *(self._create_one(each, owner) for each in pods if _place(each) not in self._made), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return min(awaited, default=None)

    async def _create_one(self, wanted: Object, owner: str) -> None:
        resource = _RESOURCES[wanted["kind"]]
        if wanted["kind"] in _APPLIED and not _owned(self._world.deployments.get(_place(wanted)), owner):
            await self._check_ours(resource, wanted, owner)  # an apply would take over what somebody else made
        try:
            made = await (
                self._cluster.apply(resource, wanted)
                if wanted["kind"] in _APPLIED
                else self._cluster.create(resource, wanted)
            )
        except AlreadyExists:
            there = await self._check_ours(resource, wanted, owner)
            if there is not None and wanted["kind"] == "Service" and ports_of(there) != ports_of(wanted):
                await self._change_ports(there, wanted)
            return
        except (Forbidden, Invalid, WebhookDown) as error:
            raise RefusedError(error.message, wanted["kind"]) from error
        if wanted["kind"] == "Pod":
            self._made[_place(wanted)] = self._clock.monotonic() + _UNSEEN_SECONDS
        else:
            self._learn(wanted["kind"], made)

    async def _change_ports(self, there: Object, wanted: Object) -> None:
        """Replaced as a whole: an apply would leave those that the creation owns."""
        meta = there["metadata"]
        patch = {"metadata": {"uid": meta["uid"]}, "spec": {"ports": wanted["spec"]["ports"]}}
        self._learn("Service", await self._cluster.patch(SERVICES, meta["namespace"], meta["name"], patch))

    async def _check_ours(self, resource: Resource, wanted: Object, owner: str) -> Object | None:
        """A repeated create is no error; somebody else's object of that name is. Returns what is there, if it is ours."""
        there = await self._cluster.get(resource, wanted["metadata"]["namespace"], wanted["metadata"]["name"])
        if there is None or not wanted["metadata"].get("ownerReferences"):
            return None
        owners = there["metadata"].get("ownerReferences", ())
        if not _owned(there, owner):
            if any((each["kind"], each["name"]) == _named(wanted) for each in owners):
                # Of a deleted owner with the same name: the garbage collector is about to take it away.
                raise Conflict(f"{wanted['kind']} {wanted['metadata']['name']!r} of an earlier owner still ends")
            raise TakenError(
                f"{wanted['kind']} {wanted['metadata']['name']!r} exists and belongs to somebody else; delete or rename it",
                wanted["kind"],
            )
        self._learn(wanted["kind"], there)
        return there


def _unknown(outcome: object) -> bool:
    """Whether a write that failed may have taken effect."""
    return isinstance(outcome, ClusterError) and outcome.ambiguous


def _place(pod: Object) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _owned(child: Mapping[str, Any] | None, owner: str) -> bool:
    return child is not None and owner in {each["uid"] for each in child["metadata"].get("ownerReferences", ())}


def _named(child: Object) -> tuple[str, str]:
    """Kind and name of the owner of an object that we make."""
    owner = child["metadata"]["ownerReferences"][0]
    return owner["kind"], owner["name"]
