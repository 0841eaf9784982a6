"""What each verb does to the fake API server's storage: admission, preconditions, status apart, deletion, ownership.

Requests, faults and watches are `fake_api.py`'s part; remembering is `fake_storage.py`'s.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import orjson

from tests.simulation.fake_merge import apply_patch, merge_patch
from tests.simulation.fake_storage import Storage, Stored, copy_of, graceful_seconds
from trainyard.cluster.resources import NAMESPACES, NODES, PODS, Object, Resource

Validator = Callable[[str, Resource, Object, Object | None], None]

_WITH_STATUS = {"pods", "nodes", "deployments", "persistentvolumeclaims", "persistentvolumes", "services", "namespaces"}


class Refused(Exception):  # noqa: N818 - what the server says, not an error of the test
    """An answer with an error status. Admission validators raise it: Refused(403, "Forbidden", "no GPUs for you")."""

    def __init__(self, status: int, reason: str, message: str, field: str = "", cause: str = "") -> None:
        super().__init__(message)
        self.status, self.reason, self.message, self.field, self.cause = status, reason, message, field, cause

    def body(self) -> Object:
        """As a core/v1 Status."""
        cause = {"reason": self.cause, "field": self.field, "message": self.message}
        details = {"causes": [{key: value for key, value in cause.items() if value}]} if self.field else {}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": self.status,
            "reason": self.reason,
            "message": self.message,
            "details": details,
        }


def has_status(resource: Resource) -> bool:
    """Whether the status is a subresource of its own."""
    return resource.custom or resource.plural in _WITH_STATUS


class Verbs:
    """Writes and reads, without faults. Each returns the JSON of the object as stored."""

    def __init__(self, storage: Storage) -> None:
        self.admission: list[Validator] = []
        self.gc_seconds = 0.2
        """How long garbage collection takes to notice an owner's end."""
        self.namespace_seconds = 0.2
        """How long the namespace controller takes for each kind; it comes to custom ones last."""
        self.kubelet = False
        """Whether somebody else ends Pods that are being deleted; else time does."""
        self._storage = storage
        self._collecting = False

    def get(self, resource: Resource, namespace: str, name: str) -> bytes:
        return self._need(resource, namespace, name).raw

    def create(self, resource: Resource, namespace: str, body: Object, *, dry: bool) -> bytes:
        obj = copy_of(body)
        metadata = obj.setdefault("metadata", {})
        if resource.namespaced:
            if not namespace or metadata.setdefault("namespace", namespace) != namespace:
                raise Refused(400, "BadRequest", "the namespace of the object does not match that of the request")
        else:
            metadata.pop("namespace", None)
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                raise Refused(422, "Invalid", "name or generateName is required", "metadata.name")
            metadata["name"] = self._storage.new_name(metadata["generateName"])
        if has_status(resource) and resource != NODES:
            obj.pop("status", None)
        if resource == PODS:
            obj["status"] = {"phase": "Pending"}
        self._admit("create", resource, obj, None)
        self._check_namespace(resource, obj)
        if self._storage.find(resource, namespace, metadata["name"]) is not None:
            message = f'{resource} "{metadata["name"]}" already exists'
            raise Refused(409, "AlreadyExists", message)
        if metadata.pop("resourceVersion", None):
            raise Refused(400, "BadRequest", "resourceVersion should not be set on objects to be created")
        if dry:
            return orjson.dumps(obj)
        stored = self._storage.insert(resource, obj)
        if metadata.get("ownerReferences"):
            self._collect_soon()
        return stored.raw

    def patch(
        self, resource: Resource, namespace: str, name: str, patch: Object, subresource: str, *, dry: bool
    ) -> bytes:
        stored = self._need(resource, namespace, name)
        given = dict(patch.get("metadata") or {})
        if subresource == "status" and resource.custom:
            given.pop("uid", None)  # as the real server, which takes the whole old metadata before it looks
        self._check_preconditions(resource, stored.obj, given)
        merged: Object = merge_patch(stored.obj, patch)
        if subresource == "status":
            merged = copy_of(stored.obj) | {key: merged[key] for key in ("status",) if key in merged}
        elif has_status(resource):
            merged = {key: value for key, value in merged.items() if key != "status"}
            merged |= {key: stored.obj[key] for key in ("status",) if key in stored.obj}
        return self._replace("update", resource, stored, merged, dry=dry)

    def apply(
        self, resource: Resource, namespace: str, name: str, body: Object, manager: str, *, dry: bool
    ) -> tuple[int, bytes]:
        applied = {key: value for key, value in body.items() if key != "status" or not has_status(resource)}
        stored = self._storage.find(resource, namespace, name)
        identity = {"apiVersion", "kind"}
        fields = {key: value for key, value in applied.items() if key not in identity}
        if stored is None:
            if body["metadata"].get("uid"):
                raise Refused(409, "Conflict", "uid mismatch: the provided object specified a uid, and none was found")
            merged, owned = apply_patch({}, fields, set())
            raw = self.create(resource, namespace, merged, dry=dry)
            stored = self._storage.find(resource, namespace, name)
            if stored is not None:
                stored.owned[manager] = owned
            return 201, raw
        self._check_preconditions(resource, stored.obj, body["metadata"])
        merged, owned = apply_patch(stored.obj, fields, stored.owned.get(manager, set()))
        raw = self._replace("update", resource, stored, merged, dry=dry)
        if not dry:
            self._need(resource, namespace, name).owned[manager] = owned
        return 200, raw

    def delete(self, resource: Resource, namespace: str, name: str, options: Object, *, dry: bool) -> bytes:
        stored = self._need(resource, namespace, name)
        obj = stored.obj
        for field, wanted in (options.get("preconditions") or {}).items():
            if obj["metadata"][field] != wanted:
                raise Refused(
                    409, "Conflict", f"Precondition failed: {field} in precondition: {wanted}, {obj['metadata'][field]}"
                )
        self._admit("delete", resource, obj, obj)
        if dry:
            return stored.raw
        if options.get("propagationPolicy") == "Orphan":
            self._orphan(obj["metadata"]["uid"])
        self._begin_deletion(resource, stored, options.get("gracePeriodSeconds"))
        return stored.raw

    def finish_deletion(self, resource: Resource, stored: Stored) -> None:
        """Remove the object for good; what it owns follows."""
        current = self._storage.find(resource, stored.obj["metadata"].get("namespace"), stored.obj["metadata"]["name"])
        if current is None or current.obj["metadata"]["uid"] != stored.obj["metadata"]["uid"]:
            return
        self._storage.remove(resource, current)
        self._collect_soon()

    def _begin_deletion(self, resource: Resource, stored: Stored, asked: int | None) -> None:
        metadata = stored.obj["metadata"]
        if resource == NAMESPACES:
            if not metadata.get("deletionTimestamp"):
                marked = copy_of(stored.obj)
                marked["metadata"]["deletionTimestamp"] = self._storage.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
                marked["status"] = {"phase": "Terminating"}
                self._storage.replace(resource, stored, marked)
                self._later(self.namespace_seconds, lambda: self._end_namespace(metadata["name"]))
            return
        grace = graceful_seconds(resource, stored.obj, asked)
        if grace == 0 and not metadata.get("finalizers"):
            self.finish_deletion(resource, stored)
            return
        shorter = grace < metadata.get("deletionGracePeriodSeconds", grace + 1)
        if shorter:
            marked = copy_of(stored.obj)
            until = self._storage.clock.now() + timedelta(seconds=grace)
            marked["metadata"]["deletionTimestamp"] = until.strftime("%Y-%m-%dT%H:%M:%SZ")
            marked["metadata"]["deletionGracePeriodSeconds"] = grace
            stored = self._storage.replace(resource, stored, marked)
            if resource == PODS and not self.kubelet:
                self._later(grace, lambda: self.finish_deletion(resource, stored))

    def _end_namespace(self, name: str, left: Sequence[Resource] = ()) -> None:
        """Delete what is in it, kind by kind, and then itself."""
        found = self._storage.find(NAMESPACES, None, name)
        if found is None:
            return
        first, *rest = left or sorted(self._storage.resources(), key=lambda each: each.custom)
        inside = self._storage.select(first, lambda obj: obj["metadata"].get("namespace") == name)
        for stored in inside:
            self._begin_deletion(first, stored, None)
        if rest or any(
            self._storage.select(each, lambda obj: obj["metadata"].get("namespace") == name)
            for each in self._storage.resources()
        ):
            self._later(self.namespace_seconds, lambda: self._end_namespace(name, rest))
        else:
            self.finish_deletion(NAMESPACES, found)

    def _check_namespace(self, resource: Resource, obj: Object) -> None:
        """Nothing new is made in one that is being deleted."""
        space = self._storage.find(NAMESPACES, None, obj["metadata"].get("namespace", ""))
        if resource.namespaced and space is not None and space.obj["metadata"].get("deletionTimestamp"):
            name = space.obj["metadata"]["name"]
            message = f"{resource} is forbidden: unable to create new content in namespace {name} because it is being terminated"
            raise Refused(403, "Forbidden", message, "metadata.namespace", "NamespaceTerminating")

    def _replace(self, verb: str, resource: Resource, stored: Stored, merged: Object, *, dry: bool) -> bytes:
        merged = copy_of(merged)
        self._admit(verb, resource, merged, stored.obj)
        if dry:
            return orjson.dumps(merged)
        replaced = self._storage.replace(resource, stored, merged)
        metadata = replaced.obj["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and resource != PODS:
            self.finish_deletion(resource, replaced)
        return replaced.raw

    def _check_preconditions(self, resource: Resource, obj: Object, given: Object) -> None:
        version = given.get("resourceVersion")
        if version and version != obj["metadata"]["resourceVersion"]:
            message = f"Operation cannot be fulfilled on {resource}: the object has been modified"
            raise Refused(409, "Conflict", message)
        uid, name = given.get("uid"), obj["metadata"]["name"]
        if uid and uid != obj["metadata"]["uid"]:
            message = f'{resource.kind} "{name}" is invalid: metadata.uid: Invalid value: "{uid}": field is immutable'
            raise Refused(422, "Invalid", message, "metadata.uid")

    def _admit(self, verb: str, resource: Resource, obj: Object, old: Object | None) -> None:
        for validator in self.admission:
            validator(verb, resource, obj, old)

    def _need(self, resource: Resource, namespace: str, name: str) -> Stored:
        stored = self._storage.find(resource, namespace, name)
        if stored is None:
            raise Refused(404, "NotFound", f'{resource} "{name}" not found')
        return stored

    def _collect_soon(self) -> None:
        if not self._collecting:
            self._collecting = True
            self._later(self.gc_seconds, self._collect_orphans)

    def _collect_orphans(self) -> None:
        """Delete what has owners, none of which exists."""
        self._collecting = False
        alive = self._storage.uids()
        for resource in self._storage.resources():
            for stored in self._storage.select(resource, _owned):
                if not alive.intersection(owner["uid"] for owner in stored.obj["metadata"]["ownerReferences"]):
                    self._begin_deletion(resource, stored, None)

    def _orphan(self, uid: str) -> None:
        for resource in self._storage.resources():
            for stored in self._storage.select(resource, _owned):
                obj = copy_of(stored.obj)
                owners = [owner for owner in obj["metadata"]["ownerReferences"] if owner["uid"] != uid]
                obj["metadata"]["ownerReferences"] = owners
                self._storage.replace(resource, stored, obj)

    @staticmethod
    def _later(seconds: float, action: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, action)


def _owned(obj: Object) -> bool:
    return bool(obj["metadata"].get("ownerReferences"))
