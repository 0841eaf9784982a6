"""Objects of one kind as last seen, with indexes and change handlers.

Shared by `informer.py`, which feeds it from a watch of its own, and by the cache of our own kinds, which kopf feeds.
Both need the same two guarantees: an older state never overwrites a newer one, and a list repairs whatever a watch
missed, including objects that vanished unseen.

Both rest on comparing resourceVersions. They were opaque strings once; Kubernetes 1.35 made it part of the API that
those of one resource are integers which grow with every write, and etcd-backed servers always behaved so. Where one
does not parse as an integer, what arrives later is taken as newer.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Container, Hashable, Iterable, Iterator
from typing import TypeAlias

from trainyard.cluster.resources import Object

log = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, str]
"""Namespace (empty for cluster-scoped kinds) and name."""
OnChange: TypeAlias = Callable[[Object | None, Object | None], None]
"""Called with the state before (None: new) and after (None: gone)."""

Keep: TypeAlias = Callable[[Object], Object]
"""What of an object is remembered. At least its name, namespace, uid and resourceVersion, and what indexes ask for."""

Scope: TypeAlias = Callable[[Key], str]
"""The list that an object stands in, where several together make all: that of its namespace, for instance."""

WHOLE = ""
"""The only scope of a store that one list fills."""
_TOMBSTONES = 4096


def key_of(obj: Object) -> Key:
    """Namespace and name of an object."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def uid_of(obj: Object) -> str:
    """The object's uid; empty for one that was never stored."""
    return str(obj["metadata"].get("uid") or "")


def version_of(obj: Object) -> str:
    """The object's resourceVersion."""
    return str(obj["metadata"].get("resourceVersion") or "")


def is_newer(version: str, than: str) -> bool:
    """Whether a resourceVersion is later than another of the same resource; True when that cannot be told."""
    if version.isdecimal() and than.isdecimal():
        return int(version) > int(than)
    return version != than


def _is_later(version: str, than: str) -> bool:
    """Whether a resourceVersion is certainly later: False when that cannot be told."""
    return version.isdecimal() and than.isdecimal() and int(version) > int(than)


class Index:
    """Objects by a value derived from them, such as the node or the owner. An object may have several values."""

    def __init__(self, values: Callable[[Object], Iterable[Hashable]]) -> None:
        self._values = values
        self._found: dict[Hashable, dict[Key, Object]] = {}

    def get(self, value: Hashable) -> list[Object]:
        """Objects that have this value."""
        return list(self._found.get(value, {}).values())

    def count(self, value: Hashable) -> int:
        """How many objects have this value."""
        return len(self._found.get(value, ()))

    def values(self) -> Iterator[Hashable]:
        """Every value that some object has."""
        return iter(tuple(self._found))

    def change(self, old: Object | None, new: Object | None) -> None:
        """Follow a change of the store."""
        if old is not None:
            key = key_of(old)
            for value in self._values(old):
                found = self._found.get(value)
                if found is not None:
                    found.pop(key, None)
                    if not found:
                        del self._found[value]
        if new is not None:
            key = key_of(new)
            for value in self._values(new):
                self._found.setdefault(value, {})[key] = new


class ObjectStore:
    """Namespace and name to object. Objects are shared with readers, who must not change them."""

    def __init__(self, name: str, keep: Keep = lambda obj: obj, scope: Scope = lambda _: WHOLE) -> None:
        """keep: what stays of an object when the handlers have seen it: they get the new state whole and the old one as it was kept."""
        self.name = name
        self._keep, self._scope = keep, scope
        self.objects: dict[Key, Object] = {}
        self._indexes: list[Index] = []
        self._handlers: list[OnChange] = []
        self._complete_at: dict[str, str] = {}
        """The resourceVersion of the last complete list, by scope."""
        self._buried: OrderedDict[str, str] = OrderedDict()
        """Uid to the resourceVersion at which it was seen deleted, so that a late event does not bring it back.

        A later state than that does: an object that left a selector and came again keeps its uid."""

    def index(self, values: Callable[[Object], Iterable[Hashable]]) -> Index:
        """A new index over present and future objects."""
        index = Index(values)
        for obj in self.objects.values():
            index.change(None, obj)
        self._indexes.append(index)
        return index

    def on_change(self, handler: OnChange) -> None:
        """Call the handler at every change from now on. It must be quick and must not block."""
        self._handlers.append(handler)

    def put(self, obj: Object) -> bool:
        """Take over a state if it is news. Returns whether it was."""
        key, uid = key_of(obj), uid_of(obj)
        version = version_of(obj)
        if uid in self._buried and not is_newer(version, self._buried[uid]):
            return False
        old = self.objects.get(key)
        if old is not None and not is_newer(version, version_of(old)):
            return False
        known = old is not None and uid_of(old) == uid
        complete_at = self._complete_at.get(self._scope(key), "")
        if not known and complete_at and not is_newer(version, complete_at):
            return False  # a complete list of a later time did not have it: it is gone
        if old is not None and not known:
            # Deleted and made anew while nobody looked: two objects, so two changes.
            self._drop(key, old, version)
            old = None
        self._buried.pop(uid, None)
        kept = self.objects[key] = self._keep(obj)
        self._tell(old, obj, kept)
        return True

    def remove(self, obj: Object) -> bool:
        """Take over a deletion, given the object's last state. Returns whether it was news."""
        key, uid = key_of(obj), uid_of(obj)
        version = version_of(obj)
        old = self.objects.get(key)
        if old is None or uid_of(old) != uid:
            self._bury(uid, version)
            return False
        if _is_later(version_of(old), version):
            return False
        return self._drop(key, old, version)

    def repair(self, items: Iterable[Object], resource_version: str) -> int:
        """Become what a complete list says, and return how many objects differed."""
        repair = Repair(self)
        repair.page(items)
        return repair.complete(resource_version)

    def only(self, listed: Container[Key], resource_version: str, scope: str = WHOLE) -> int:
        """Drop what a complete list of a scope does not have, and return how much that was.

        resource_version: the list's. What was seen at a later one is kept: the list is older than it.
        """
        if is_newer(resource_version, self._complete_at.get(scope, "")):
            self._complete_at[scope] = resource_version
        gone = [
            (key, old)
            for key, old in self.objects.items()
            if key not in listed and self._scope(key) == scope and not _is_later(version_of(old), resource_version)
        ]
        return sum(self._drop(key, old, resource_version) for key, old in gone)

    def forget(self, scope: str) -> None:
        """The scope is gone, and everything in it."""
        self._complete_at.pop(scope, None)
        for key, old in [each for each in self.objects.items() if self._scope(each[0]) == scope]:
            self._drop(key, old, version_of(old))

    def _drop(self, key: Key, old: Object, version: str) -> bool:
        self._bury(uid_of(old), version)
        del self.objects[key]
        self._tell(old, None)
        return True

    def _bury(self, uid: str, version: str) -> None:
        if uid:
            self._buried[uid] = version
            if len(self._buried) > _TOMBSTONES:
                self._buried.popitem(last=False)

    def _tell(self, old: Object | None, new: Object | None, kept: Object | None = None) -> None:
        """Report a change, of which at least one side is an object."""
        for index in self._indexes:
            index.change(old, kept)
        for handler in self._handlers:
            try:
                handler(old, new)
            except Exception:
                log.exception(
                    "a change handler failed; the cache goes on",
                    extra={"cache": self.name, "key": key_of(new or old or {})},
                )


class Repair:
    """A complete list that is taken in page by page, so that never all of it is in memory."""

    def __init__(self, store: ObjectStore, scope: str = WHOLE) -> None:
        self._store, self._scope = store, scope
        self._listed: set[Key] = set()
        self._changes = 0

    def page(self, items: Iterable[Object]) -> None:
        """Some of the list."""
        for obj in items:
            self._listed.add(key_of(obj))
            self._changes += self._store.put(obj)

    def complete(self, resource_version: str) -> int:
        """That was all of the list, which has that version; returns how many objects differed."""
        return self._changes + self._store.only(self._listed, resource_version, self._scope)
