"""A cache of one kind that is always catching up: list, watch, and list again when the watch lost its place.

kopf keeps objects deleted during a 410 gap and costs quadratic time to index thousands of Pods, and the client
library's watch neither lists again nor notices silence; so Pods, Nodes, claims and Services are followed here. After
a gap the new list is compared with what was known, and objects that vanished are reported as deleted.

`ExternalCache` is the same store for our own kinds, which kopf watches and a periodic quorum list repairs.

An operator that is confined to some namespaces fills each store from several lists and watches, one for each namespace: then
a namespace that may not be read is waited for alone, and told to `sight`.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from random import Random

from trainyard.cluster.client import ClusterClient, Take
from trainyard.cluster.errors import ClusterError, Forbidden, Gone, NotFound
from trainyard.cluster.resources import Object, Resource
from trainyard.cluster.sight import Sight
from trainyard.cluster.store import (
    WHOLE,
    Index,
    Keep,
    Key,
    ObjectStore,
    OnChange,
    Repair,
    Scope,
    key_of,
    version_of,
)
from trainyard.runtime.backoff import Backoff, BackoffPolicy
from trainyard.runtime.clock import Clock

log = logging.getLogger(__name__)

SILENCE_SECONDS = 75.0
"""The API server sends a bookmark about every minute; a watch silent for longer is half-open."""
_RETRY = BackoffPolicy(base=0.5, cap=30.0)
_PAUSE_SECONDS = 0.1
_FORBIDDEN = 403


def without_managed_fields(obj: Object) -> Object:
    """Drop the bookkeeping of server-side apply, often a third of an object, which nobody here reads."""
    obj["metadata"].pop("managedFields", None)
    return obj


class _Cache:
    """What readers of both caches see."""

    def __init__(
        self, resource: Resource, clock: Clock, strip: Callable[[Object], Object], keep: Keep, sight: Sight | None
    ) -> None:
        """sight: the namespaces to read, of a kind that lives in some, or of Namespaces themselves; without any, all."""
        self.resource = resource
        self._sight = sight or Sight()
        self._scopes = self._sight.namespaces or (WHOLE,)
        self._scope = _scope_of(resource) if self._sight.namespaces else _whole
        self._objects = ObjectStore(str(resource), keep, self._scope)
        self._clock = clock
        self._strip = strip
        self._heard: dict[str, float] = dict.fromkeys(self._scopes, clock.monotonic())
        """By scope that may be read, when the API server was last heard of."""
        self._complete: set[str] = set()
        """Scopes of which a complete list was taken in, since when a watch must not miss anything."""
        self._answered: set[str] = set()
        """Scopes that were read, or refused."""
        self.synced = asyncio.Event()
        """Set once complete lists were taken in of all that may be read."""
        self.repaired = 0
        """Objects found different by a list after the first: what the watch had missed."""

    @property
    def store(self) -> dict[Key, Object]:
        """Objects by namespace and name. Not to be changed by readers."""
        return self._objects.objects

    @property
    def last_activity(self) -> float:
        """When the API server was last heard of, on the clock's monotonic time; of several watches, by the one most silent."""
        return min(self._heard.values(), default=self._clock.monotonic())

    def get(self, namespace: str | None, name: str) -> Object | None:
        """The object as last seen."""
        return self._objects.objects.get((namespace or "", name))

    def index(self, values: Callable[[Object], Iterable[Hashable]]) -> Index:
        """A new index by what `values` returns for an object."""
        return self._objects.index(values)

    def on_change(self, handler: OnChange) -> None:
        """Call handler(old, new) at every change: old None when new, new None when gone."""
        self._objects.on_change(handler)

    def forget(self, namespace: str) -> None:
        """The namespace is gone, and with it whatever was in it, though no watch may be there to say so."""
        self._objects.forget(namespace)

    async def _read(
        self, client: ClusterClient, scope: str, labels: str | None = None, fields: str | None = None
    ) -> str | None:
        """Read everything of the scope with a quorum and become what it says.

        Returns the resourceVersion of that, or None if a namespace may not be read, which is told to `sight`.
        """
        repair = Repair(self._objects, scope)

        def begin() -> Take:
            nonlocal repair
            repair = Repair(self._objects, scope)
            return lambda items: repair.page(map(self._strip, items))

        namespace, fields = self._where(scope, fields)
        try:
            version = await client.pages(self.resource, namespace, begin, label_selector=labels, field_selector=fields)
        except (Forbidden, NotFound) as error:
            if not self._refused(scope, error):
                raise
            return None
        changes = repair.complete(version)
        self._heard[scope] = self._clock.monotonic()
        if scope in self._complete:
            self.repaired += changes
        self._complete.add(scope)
        if scope != WHOLE:
            self._sight.read(self.resource.plural, scope)
        self._answer(scope)
        return version

    def _where(self, scope: str, fields: str | None) -> tuple[str | None, str | None]:
        """Namespace and field selector of a list or watch. Who may read one Namespace must ask for it by name."""
        if scope == WHOLE or self.resource.namespaced:
            return scope or None, fields
        return None, f"metadata.name={scope}"

    def _refused(self, scope: str, error: ClusterError) -> bool:
        """Whether a namespace is refused, rather than the token or something else of the whole cluster."""
        if scope == WHOLE or not (isinstance(error, NotFound) or error.status == _FORBIDDEN):
            return False
        self._sight.refused(self.resource.plural, scope, error.message)
        self._heard.pop(scope, None)
        self._complete.discard(scope)
        self._answer(scope)
        return True

    def _answer(self, scope: str) -> None:
        self._answered.add(scope)
        if len(self._answered) == len(self._scopes):
            self.synced.set()


def _whole(_: Key) -> str:
    return WHOLE


def _scope_of(resource: Resource) -> Scope:
    return (lambda key: key[0]) if resource.namespaced else (lambda key: key[1])


class ExternalCache(_Cache):
    """A cache that somebody else's watch feeds. Of a namespace that is not seen whole it takes nothing."""

    def __init__(
        self, resource: Resource, clock: Clock, *, keep: Keep = lambda obj: obj, sight: Sight | None = None
    ) -> None:
        super().__init__(resource, clock, without_managed_fields, keep, sight)

    @property
    def last_activity(self) -> float:
        """As of any cache, but of nothing that is not seen, as nothing is heard of it."""
        seen = (heard for scope, heard in self._heard.items() if self._sight.whole(scope))
        return min(seen, default=self._clock.monotonic())

    def observe(self, event_type: str | None, obj: Object) -> bool:
        """Take in a watch event (None: part of an initial list), or the object a write returned (MODIFIED).

        Returns whether it was news. The cache keeps the object: hand in a copy if it is changed elsewhere.
        """
        scope = self._scope(key_of(obj))
        if not self._sight.whole(scope):
            return False
        self._heard[scope] = self._clock.monotonic()
        obj = self._strip(obj)
        return self._objects.remove(obj) if event_type == "DELETED" else self._objects.put(obj)

    async def repair(self, client: ClusterClient) -> None:
        """Read complete quorum lists and become what they say."""
        for scope in self._scopes:
            if self._sight.whole(scope):
                await self._read(client, scope)
        self.synced.set()

    async def take_in(self, client: ClusterClient, namespace: str) -> bool:
        """Read a namespace that has come into sight. False if this kind may not be read there, which is told to `sight`."""
        return await self._read(client, self._scope((namespace, ""))) is not None


@dataclass(slots=True)
class _Place:
    """Where one list and watch of an informer stands."""

    scope: str
    backoff: Backoff
    version: str | None = None
    """Up to where the watch has seen everything."""
    told: bool = False
    """Whether it is in the log that the place is refused."""


class Informer(_Cache):
    """A cache that lists and watches by itself while `run` runs."""

    def __init__(
        self,
        client: ClusterClient,
        resource: Resource,
        clock: Clock,
        random: Random,
        *,
        sight: Sight | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        inactivity: float = SILENCE_SECONDS,
        strip: Callable[[Object], Object] = without_managed_fields,
        keep: Keep = lambda obj: obj,
    ) -> None:
        super().__init__(resource, clock, strip, keep, sight)
        self.relists = 0
        """Complete lists read since the start."""
        self._client = client
        self._labels = label_selector
        self._fields = field_selector
        self._inactivity = inactivity
        self._random = random

    async def run(self) -> None:
        """Follow the kind until cancelled. Errors are logged and waited out, never raised."""
        places = [_Place(scope, Backoff(_RETRY, self._random)) for scope in self._scopes]
        await asyncio.gather(*(self._keep_up(each) for each in places))

    async def relist(self) -> None:
        """Read everything with a quorum and repair the cache by it. May be called while `run` runs."""
        for scope in self._scopes:
            await self._list(scope)

    async def _list(self, scope: str) -> str | None:
        version = await self._read(self._client, scope, self._labels, self._fields)
        self.relists += version is not None
        return version

    async def _keep_up(self, place: _Place) -> None:
        while True:
            try:
                if place.version is None:
                    place.version = await self._list(place.scope)
                if place.version is None:
                    await self._wait_for_leave(place)
                else:
                    await self._follow(place, place.version)
            except Gone:
                log.info("watch lost its place, the kind is listed again", extra={"resource": str(self.resource)})
                place.version = None
                await asyncio.sleep(_PAUSE_SECONDS)
            except ClusterError as error:
                if self._refused(place.scope, error):
                    place.version = None
                    await self._wait_for_leave(place)
                    continue
                delay = place.backoff.next()
                log.warning(
                    "cannot follow the kind, it is tried again",
                    extra={"resource": str(self.resource), "error": str(error), "retry_seconds": round(delay, 2)},
                )
                await asyncio.sleep(delay)

    async def _wait_for_leave(self, place: _Place) -> None:
        if not place.told:
            log.warning(
                "the kind may not be read in this namespace, it is tried again",
                extra={"resource": str(self.resource), "namespace": place.scope},
            )
            place.told = True
        await asyncio.sleep(place.backoff.next())

    async def _follow(self, place: _Place, version: str) -> None:
        """Watch from a resourceVersion until the server ends the stream, which it does every few minutes."""
        namespace, fields = self._where(place.scope, self._fields)
        events = self._client.watch(
            self.resource,
            namespace,
            resource_version=version,
            label_selector=self._labels,
            field_selector=fields,
            inactivity=self._inactivity,
        )
        async with aclosing(events):
            async for kind, obj in events:
                place.backoff.reset()
                place.told = False
                self._heard[place.scope] = self._clock.monotonic()
                place.version = version_of(obj)
                if kind == "DELETED":
                    self._objects.remove(self._strip(obj))
                elif kind != "BOOKMARK":
                    self._objects.put(self._strip(obj))
        # A server that ends watches at once would otherwise be asked in a tight loop.
        await asyncio.sleep(_PAUSE_SECONDS)
