"""What the fake API server remembers: objects, a growing revision, a window of history, watchers, and who owns whom.

Knows nothing of requests; `fake_api.py` puts the verbs on top, `fake_nodes.py` the machines below.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.simulation.fake_merge import Path
from trainyard.cluster.resources import PODS, Object, Resource
from trainyard.cluster.store import Key, key_of
from trainyard.runtime.clock import Clock

Matcher = Callable[[Object], bool]
Listener = Callable[[Resource, Object | None, Object | None], None]
"""Told of every change: the resource, the state before and after."""


@dataclass(slots=True)
class Stored:
    """An object, its bytes, and which leaves each manager applied."""

    obj: Object
    raw: bytes
    owned: dict[str, set[Path]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One step of history."""

    revision: int
    resource: Resource
    old: Object | None
    new: Object | None


@dataclass(slots=True, eq=False)
class Watcher:
    """One open watch."""

    resource: Resource
    matches: Matcher
    events: asyncio.Queue[dict[str, Any] | None] = field(default_factory=asyncio.Queue)
    silent: bool = False
    """Half-open: nothing arrives any more, not even bookmarks."""

    def offer(self, event: dict[str, Any]) -> None:
        if not self.silent:
            self.events.put_nowait(event)


def copy_of(obj: Object) -> Object:
    """A deep copy by way of JSON, so that nothing but JSON ever gets in."""
    copied: Object = orjson.loads(orjson.dumps(obj))
    return copied


class Storage:
    """All objects of a cluster."""

    def __init__(self, clock: Clock, window: int = 1000) -> None:
        self.clock = clock
        self.revision = 1
        self.compacted = 0
        """Watches from before this revision get 410."""
        self.watchers: set[Watcher] = set()
        self.listeners: list[Listener] = []
        self.deliver: Callable[[Watcher, dict[str, Any]], None] = lambda watcher, event: watcher.offer(event)
        """How an event reaches a watcher; faults replace it to drop, repeat or reorder."""
        self._window = window
        self._objects: dict[Resource, dict[Key, Stored]] = {}
        self._history: deque[Change] = deque()
        self._made = 0

    def find(self, resource: Resource, namespace: str | None, name: str) -> Stored | None:
        """The stored object."""
        return self._objects.get(resource, {}).get((namespace or "", name))

    def select(self, resource: Resource, matches: Matcher) -> list[Stored]:
        """Stored objects that match, by namespace and name."""
        return [item for _, item in sorted(self._objects.get(resource, {}).items()) if matches(item.obj)]

    def uids(self) -> set[str]:
        """Uids of everything that exists."""
        return {item.obj["metadata"]["uid"] for kind in self._objects.values() for item in kind.values()}

    def resources(self) -> list[Resource]:
        """Kinds of which there is or was an object."""
        return list(self._objects)

    def new_name(self, prefix: str) -> str:
        """A name for generateName; the same in every run."""
        self._made += 1
        return f"{prefix}{self._made:05d}"

    def insert(self, resource: Resource, obj: Object) -> Stored:
        """Store a new object with the metadata that the server sets."""
        self._made += 1
        metadata = obj["metadata"]
        metadata["uid"] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{resource}/{self._made}"))
        metadata["creationTimestamp"] = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["generation"] = 1
        return self._store(resource, None, obj)

    def replace(self, resource: Resource, stored: Stored, obj: Object) -> Stored:
        """Store a new state of an object; a state that is the same changes nothing, not even the revision."""
        old = stored.obj
        for name in ("uid", "creationTimestamp", "generation", "resourceVersion", "namespace", "name"):
            if name in old["metadata"]:
                obj["metadata"][name] = old["metadata"][name]
        if obj == old:
            return stored
        if any(obj.get(part) != old.get(part) for part in (obj.keys() | old.keys()) - {"metadata", "status"}):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        return self._store(resource, stored, obj)

    def remove(self, resource: Resource, stored: Stored) -> Object:
        """Forget an object; returns its last state, at the revision of its end."""
        self.revision += 1
        last = copy_of(stored.obj)
        last["metadata"]["resourceVersion"] = str(self.revision)
        del self._objects[resource][key_of(last)]
        self._publish(Change(self.revision, resource, last, None))
        return last

    def watch(self, resource: Resource, matches: Matcher, since: int) -> Watcher | None:
        """A watcher that first gets what happened since; None when that is too long ago."""
        if since < self.compacted:
            return None
        watcher = Watcher(resource, matches)
        for change in self._history:
            if change.revision > since and change.resource == resource:
                self._notify(watcher, change)
        self.watchers.add(watcher)
        return watcher

    def compact(self) -> None:
        """Forget history up to now: whoever is behind gets 410."""
        self.compacted = self.revision
        self._history.clear()

    def _store(self, resource: Resource, stored: Stored | None, obj: Object) -> Stored:
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind
        raw = orjson.dumps(obj)
        item = Stored(orjson.loads(raw), raw, stored.owned if stored else {})
        self._objects.setdefault(resource, {})[key_of(obj)] = item
        self._publish(Change(self.revision, resource, stored.obj if stored else None, item.obj))
        return item

    def _publish(self, change: Change) -> None:
        self._history.append(change)
        while len(self._history) > self._window:
            self.compacted = self._history.popleft().revision
        for watcher in list(self.watchers):
            if watcher.resource == change.resource:
                self._notify(watcher, change)
        for listener in list(self.listeners):
            listener(change.resource, change.old, change.new)

    def _notify(self, watcher: Watcher, change: Change) -> None:
        """As the real server: entering a selector is ADDED, leaving it is DELETED."""
        before = change.old is not None and watcher.matches(change.old)
        after = change.new is not None and watcher.matches(change.new)
        if after and change.new is not None:
            event = {"type": "MODIFIED" if before else "ADDED", "object": copy_of(change.new)}
        elif before and change.old is not None:
            event = {"type": "DELETED", "object": copy_of(change.new or change.old)}
        else:
            return
        self.deliver(watcher, event)


def graceful_seconds(resource: Resource, obj: Object, asked: int | None) -> int:
    """How long an object stays after its deletion was asked for; only Pods on a node stay at all."""
    if resource != PODS or not obj.get("spec", {}).get("nodeName"):
        return 0
    if obj.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    default = obj["spec"].get("terminationGracePeriodSeconds", 30)
    return int(default if asked is None else asked)
