"""A cache of one kind that is always catching up: list, watch, and list again when the watch lost its place.

kopf keeps objects deleted during a 410 gap and costs quadratic time to index thousands of Pods, and the client
library's watch neither lists again nor notices silence; so Pods, Nodes, claims and Services are followed here. After
a gap the new list is compared with what was known, and objects that vanished are reported as deleted.

`ExternalCache` is the same store for our own kinds, which kopf watches and a periodic quorum list repairs.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable
from contextlib import aclosing
from random import Random
from typing import Any

from trainyard.cluster.client import ClusterClient, Take
from trainyard.cluster.errors import ClusterError, Gone
from trainyard.cluster.resources import Object, Resource
from trainyard.cluster.store import Index, Keep, Key, ObjectStore, OnChange, Repair, version_of
from trainyard.runtime.backoff import Backoff, BackoffPolicy
from trainyard.runtime.clock import Clock

log = logging.getLogger(__name__)

SILENCE_SECONDS = 75.0
"""The API server sends a bookmark about every minute; a watch silent for longer is half-open."""
_RETRY = BackoffPolicy(base=0.5, cap=30.0)
_PAUSE_SECONDS = 0.1


def without_managed_fields(obj: Object) -> Object:
    """Drop the bookkeeping of server-side apply, often a third of an object, which nobody here reads."""
    obj["metadata"].pop("managedFields", None)
    return obj


class _Cache:
    """What readers of both caches see."""

    def __init__(self, name: str, clock: Clock, strip: Callable[[Object], Object], keep: Keep) -> None:
        self._objects = ObjectStore(name, keep)
        self._clock = clock
        self._strip = strip
        self.synced = asyncio.Event()
        """Set once a complete list was taken in."""
        self.last_activity = clock.monotonic()
        """When the API server was last heard of, on the clock's monotonic time."""
        self.repaired = 0
        """Objects found different by a list after the first: what the watch had missed."""

    @property
    def store(self) -> dict[Key, Object]:
        """Objects by namespace and name. Not to be changed by readers."""
        return self._objects.objects

    def get(self, namespace: str | None, name: str) -> Object | None:
        """The object as last seen."""
        return self._objects.objects.get((namespace or "", name))

    def index(self, values: Callable[[Object], Iterable[Hashable]]) -> Index:
        """A new index by what `values` returns for an object."""
        return self._objects.index(values)

    def on_change(self, handler: OnChange) -> None:
        """Call handler(old, new) at every change: old None when new, new None when gone."""
        self._objects.on_change(handler)

    async def _read(self, client: ClusterClient, resource: Resource, namespace: str | None, **selectors: Any) -> str:
        """Read everything with a quorum and become what it says; returns the resourceVersion of that."""
        repair = Repair(self._objects)

        def begin() -> Take:
            nonlocal repair
            repair = Repair(self._objects)
            return lambda items: repair.page(map(self._strip, items))

        version = await client.pages(resource, namespace, begin, **selectors)
        changes = repair.complete(version)
        self.last_activity = self._clock.monotonic()
        if self.synced.is_set():
            self.repaired += changes
        self.synced.set()
        return version


class ExternalCache(_Cache):
    """A cache that somebody else's watch feeds."""

    def __init__(self, resource: Resource, clock: Clock, *, keep: Keep = lambda obj: obj) -> None:
        super().__init__(str(resource), clock, without_managed_fields, keep)
        self.resource = resource

    def observe(self, event_type: str | None, obj: Object) -> bool:
        """Take in a watch event (None: part of an initial list), or the object a write returned (MODIFIED).

        Returns whether it was news. The cache keeps the object: hand in a copy if it is changed elsewhere.
        """
        self.last_activity = self._clock.monotonic()
        obj = self._strip(obj)
        return self._objects.remove(obj) if event_type == "DELETED" else self._objects.put(obj)

    async def repair(self, client: ClusterClient) -> None:
        """Read a complete quorum list and become what it says."""
        await self._read(client, self.resource, None)


class Informer(_Cache):
    """A cache that lists and watches by itself while `run` runs."""

    def __init__(
        self,
        client: ClusterClient,
        resource: Resource,
        clock: Clock,
        random: Random,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        inactivity: float = SILENCE_SECONDS,
        strip: Callable[[Object], Object] = without_managed_fields,
        keep: Keep = lambda obj: obj,
    ) -> None:
        super().__init__(str(resource), clock, strip, keep)
        self.resource = resource
        self.relists = 0
        """Complete lists read since the start."""
        self._client = client
        self._namespace = namespace
        self._labels = label_selector
        self._fields = field_selector
        self._inactivity = inactivity
        self._backoff = Backoff(_RETRY, random)
        self._version: str | None = None
        """Up to where the watch has seen everything."""

    async def run(self) -> None:
        """Follow the kind until cancelled. Errors are logged and waited out, never raised."""
        while True:
            try:
                if self._version is None:
                    self._version = await self.relist()
                await self._follow(self._version)
            except Gone:
                log.info("watch lost its place, the kind is listed again", extra={"resource": str(self.resource)})
                self._version = None
                await asyncio.sleep(_PAUSE_SECONDS)
            except ClusterError as error:
                delay = self._backoff.next()
                log.warning(
                    "cannot follow the kind, it is tried again",
                    extra={"resource": str(self.resource), "error": str(error), "retry_seconds": round(delay, 2)},
                )
                await asyncio.sleep(delay)

    async def relist(self) -> str:
        """Read everything with a quorum and repair the cache by it; returns its resourceVersion. May be called while `run` runs."""
        version = await self._read(
            self._client,
            self.resource,
            self._namespace,
            label_selector=self._labels,
            field_selector=self._fields,
        )
        self.relists += 1
        return version

    async def _follow(self, version: str) -> None:
        """Watch from a resourceVersion until the server ends the stream, which it does every few minutes."""
        events = self._client.watch(
            self.resource,
            self._namespace,
            resource_version=version,
            label_selector=self._labels,
            field_selector=self._fields,
            inactivity=self._inactivity,
        )
        async with aclosing(events):
            async for kind, obj in events:
                self._backoff.reset()
                self.last_activity = self._clock.monotonic()
                self._version = version_of(obj)
                if kind == "DELETED":
                    self._objects.remove(self._strip(obj))
                elif kind != "BOOKMARK":
                    self._objects.put(self._strip(obj))
        # A server that ends watches at once would otherwise be asked in a tight loop.
        await asyncio.sleep(_PAUSE_SECONDS)
