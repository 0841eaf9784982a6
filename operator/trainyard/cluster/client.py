"""Reads and writes of Kubernetes objects as plain dicts.

Says what each verb asks of the server; how it is sent, bounded and tried again is `sender.py`'s part. `informer.py`,
`lease.py`, `events.py` and `tokens.py` are built on it.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from trainyard.cluster.errors import ClusterError, Conflict, Gone, NotFound, error_from
from trainyard.cluster.resources import Object, Resource
from trainyard.cluster.sender import Call, CallObserver, ClientSettings, Sender
from trainyard.cluster.transport import APPLY_PATCH, JSON, MERGE_PATCH, Transport
from trainyard.runtime.clock import Clock

log = logging.getLogger(__name__)

Take: TypeAlias = Callable[[list[Object]], object]
"""Who takes a page of a list."""

FIELD_MANAGER = "trainyard"
_STATUS_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class ListResult:
    """Objects of one kind as they stood at one resourceVersion."""

    items: list[Object]
    resource_version: str


class ClusterClient:
    """Speaks to one API server. Belongs to one event loop."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        random: Random,
        settings: ClientSettings | None = None,
        observer: CallObserver | None = None,
        may_write: Callable[[], bool] | None = None,
    ) -> None:
        """may_write: asked before every write, for a client that only a leader may write with."""
        self.settings = settings or ClientSettings()
        self._transport = transport
        self._random = random
        self._sender = Sender(transport, clock, random, self.settings, observer, may_write)

    @property
    def retries(self) -> int:
        """Requests that were tried again since the start."""
        return self._sender.retries

    @property
    def writes_end_in(self) -> float:
        """Seconds until no write of this client can take effect any more; 0 when none is under way or unknown."""
        return self._sender.writes_end_in

    async def close(self) -> None:
        """Release the connections."""
        await self._transport.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """The object as it stands now (a quorum read), or None when there is none."""
        try:
            return (await self._sender.send(self._read("get", resource, resource.path(namespace, name)))).body
        except NotFound:
            return None

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        quorum: bool = True,
    ) -> ListResult:
        """All objects, read in pages. quorum=False may answer from a stale cache of the server, and costs it less."""
        items: list[Object] = []

        def begin() -> Take:
            items.clear()
            return items.extend

        version = await self.pages(
            resource, namespace, begin, label_selector=label_selector, field_selector=field_selector, quorum=quorum
        )
        return ListResult(items, version)

    async def pages(
        self,
        resource: Resource,
        namespace: str | None,
        begin: Callable[[], Take],
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        quorum: bool = True,
    ) -> str:
        """Hand all objects over page by page, so that never all are in memory; returns the resourceVersion of the list.

        begin: called for whoever takes the pages, once more for each time that the list expired and is read from its start.
        """
        query = _selectors(label_selector, field_selector)
        if not quorum:
            query["resourceVersion"] = "0"
        for _ in range(2):
            try:
                return await self._pages(resource, resource.path(namespace), query, begin())
            except Gone:  # the list took longer than the server keeps its continue token: once more from the start
                log.info("a paged list expired and is read again", extra={"resource": str(resource)})
        return await self._pages(resource, resource.path(namespace), query, begin())

    async def create(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Create it and return it as stored. Raises AlreadyExists, which after a lost answer may mean our own.

        A dry run without an answer is not tried again: it only tells what is to be expected, and somebody waits for that.
        """
        metadata = obj.get("metadata") or {}
        path = resource.path(metadata.get("namespace"))
        repeatable = not dry_run and (not resource.stored or bool(metadata.get("name")))
        call = self._write("create", "POST", resource, path, body=obj, dry_run=dry_run, repeatable=repeatable)
        return (await self._sender.send(call)).body

    async def apply(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Server-side apply: own exactly the fields given, creating the object when it is not there."""
        metadata = obj["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
        query = {"force": "true"}
        call = self._write(
            "apply", "PATCH", resource, path, body=body, query=query, content_type=APPLY_PATCH, dry_run=dry_run
        )
        return (await self._sender.send(call)).body

    async def patch(self, resource: Resource, namespace: str | None, name: str, patch: Object) -> Object:
        """JSON merge patch. A uid or resourceVersion in the patch's metadata is a precondition (Conflict)."""
        path = resource.path(namespace, name)
        call = self._write("patch", "PATCH", resource, path, body=patch, content_type=MERGE_PATCH)
        return (await self._sender.send(call)).body

    async def patch_status(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        status: Object,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Object:
        """JSON merge patch of the status subresource: None removes a field, a list replaces the whole list.

        uid: the object meant; another of the same name is a Conflict, never written to. The status of a custom
        resource is written by the server without a look at the uid, so there the object is read first, and its
        resourceVersion is what guards the write: pass resource_version where you know it and save the reading.
        """
        if uid is None or resource_version is not None or not resource.custom:
            return await self._patch_status(resource, namespace, name, status, _precondition(uid, resource_version))
        attempt = 0
        while True:
            attempt += 1
            version = await self._version_of(resource, namespace, name, uid)
            try:
                return await self._patch_status(resource, namespace, name, status, _precondition(uid, version))
            except Conflict:  # somebody wrote in between; our status does not depend on what
                if attempt == _STATUS_ATTEMPTS:
                    raise

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
        propagation: str = "Background",
    ) -> bool:
        """Ask for deletion. False when it was gone before; Conflict when uid or resourceVersion do not match."""
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        preconditions = _given(uid=uid, resourceVersion=resource_version)
        if preconditions:
            body["preconditions"] = preconditions
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        retries = self._sender.retries
        try:
            await self._sender.send(
                self._write("delete", "DELETE", resource, resource.path(namespace, name), body=body)
            )
        except NotFound:
            return self._sender.retries > retries  # then most likely an earlier attempt of this call did it
        return True

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str | None = None,
        field_selector: str | None = None,
        inactivity: float,
    ) -> AsyncGenerator[tuple[str, Object], None]:
        """Changes since resource_version as (ADDED | MODIFIED | DELETED | BOOKMARK, object), until the server ends it.

        Raises Gone when resource_version is too old, Silent after `inactivity` seconds without even a bookmark.
        """
        seconds = self.settings.watch_seconds * (1 + self._random.random() / 3)
        query = _selectors(label_selector, field_selector) | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(int(seconds)),
        }
        self._sender.observe("watch", resource, 200, 0.0, 0)
        stream = self._transport.stream(resource.path(namespace), query, inactivity)
        async with aclosing(stream):
            async for event in stream:
                if event["type"] == "ERROR":
                    status = event.get("object") or {}
                    error = error_from(int(status.get("code") or 500), status, {}, doing=f"watch {resource}")
                    raise error or ClusterError(f"unreadable error in a watch: {status}")
                yield event["type"], event["object"]

    def _read(self, verb: str, resource: Resource, path: str, query: Mapping[str, str] | None = None) -> Call:
        within = self.settings.list_timeout if verb == "list" else self.settings.read_timeout
        return Call(verb, "GET", resource, path, dict(query or {}) | {"timeout": f"{within:g}s"}, within=within + 1)

    def _write(
        self,
        verb: str,
        method: str,
        resource: Resource,
        path: str,
        *,
        body: object,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        dry_run: bool = False,
        repeatable: bool = True,
    ) -> Call:
        asked = dict(query or {}) | {"timeout": f"{self.settings.write_timeout:g}s"}
        if method != "DELETE":
            asked["fieldManager"] = FIELD_MANAGER
        if dry_run:
            asked["dryRun"] = "All"
        within = self.settings.write_timeout + self.settings.write_slack
        stores = resource.stored and not dry_run
        return Call(verb, method, resource, path, asked, body, content_type, within, repeatable, stores)

    async def _version_of(self, resource: Resource, namespace: str | None, name: str, uid: str) -> str:
        found = await self.get(resource, namespace, name)
        if found is None:
            raise NotFound(f"{resource} {name!r} is gone", status=404, reason="NotFound", doing="patch_status")
        metadata = found["metadata"]
        if metadata["uid"] != uid:
            message = f"{resource} {name!r} has uid {metadata['uid']}, not {uid}"
            raise Conflict(message, status=409, reason="Conflict", doing="patch_status")
        return str(metadata["resourceVersion"])

    async def _patch_status(
        self, resource: Resource, namespace: str | None, name: str, status: Object, precondition: Object
    ) -> Object:
        path = resource.path(namespace, name, "status")
        body = precondition | {"status": status}
        call = self._write("patch_status", "PATCH", resource, path, body=body, content_type=MERGE_PATCH)
        return (await self._sender.send(call)).body

    async def _pages(self, resource: Resource, path: str, query: Mapping[str, str], take: Take) -> str:
        asked = dict(query) | {"limit": str(self.settings.page)}
        while True:
            body = (await self._sender.send(self._read("list", resource, path, asked))).body
            items = body.get("items") or []
            for item in items:
                # Items of a list of built-in kinds carry neither.
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
            take(items)
            metadata = body.get("metadata") or {}
            if not metadata.get("continue"):
                return str(metadata.get("resourceVersion") or "")
            # The token carries the resourceVersion of the first page; naming another one is an error.
            asked = {key: value for key, value in asked.items() if key != "resourceVersion"}
            asked["continue"] = metadata["continue"]
            del body, items  # the next page needs the room


def _selectors(label_selector: str | None, field_selector: str | None) -> dict[str, str]:
    return _given(labelSelector=label_selector, fieldSelector=field_selector)


def _precondition(uid: str | None, resource_version: str | None) -> Object:
    metadata = _given(uid=uid, resourceVersion=resource_version)
    return {"metadata": metadata} if metadata else {}


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}
