"""An API server in memory, without sockets, so that a simulation with compressed time can run a whole operator on it.

`FakeApi.connect()` gives a `Transport` for a `ClusterClient`. It behaves as the real server does where our code can
tell: uid, resourceVersion, generation, the status subresource apart, merge patch, server-side apply (simplified, see
`fake_merge.py`), optimistic concurrency, uid preconditions, selectors, pages, watches with bookmarks and a window of
history, graceful deletion, finalizers, garbage collection by ownerReferences, dry run and admission. Faults are
scripted through `api.faults`; what was asked is in `api.requests` and `api.writes`. Tests read and change the world
behind the operator's back with `get`, `all`, `put`, `edit` and `remove`.

It is cross-checked by `tests/apiserver/test_client.py`, which asks a real API server the same questions.
"""

import asyncio
import base64
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.simulation.fake_faults import Crashed, Fault, Faults, Request
from tests.simulation.fake_merge import matcher
from tests.simulation.fake_storage import Storage, Watcher, copy_of
from tests.simulation.fake_verbs import Refused, Verbs
from trainyard.cluster.errors import Silent, Unreachable, error_from
from trainyard.cluster.resources import (
    ALL,
    SELF_SUBJECT_ACCESS_REVIEWS,
    SUBJECT_ACCESS_REVIEWS,
    TOKEN_REVIEWS,
    Object,
    Resource,
)
from trainyard.cluster.transport import APPLY_PATCH, JSON, Response
from trainyard.runtime.clock import Clock

_BY_PREFIX = {tuple(resource.path().split("/")[1:]): resource for resource in ALL}
_VERBS = {"POST": "create", "DELETE": "delete", "GET": "get", "PATCH": "patch"}
_LATENCY = 0.002
_BOOKMARK_SECONDS = 60.0
_TICK = 0.001
"""A timer may fire a rounding error early; comparing exactly would then spin."""


class FakeApi:
    """The server and the world behind it."""

    def __init__(self, clock: Clock, *, history: int = 1000, latency: float = _LATENCY) -> None:
        self.clock = clock
        self.storage = Storage(clock, history)
        self.faults = Faults(self.storage)
        self.verbs = Verbs(self.storage)
        self.latency = latency
        self.requests: list[Request] = []
        """Everything asked through a connection, in order."""
        self.tokens: dict[str, Object] = {}
        """Token to the status that a TokenReview of it gets."""
        self.allows: Callable[[Object], bool] = lambda _spec: True
        """Answers SubjectAccessReviews by their spec."""
        self._pages: dict[str, list[bytes]] = {}

    def connect(self, client: str = "operator", *, healthy: bool = False) -> "FakeConnection":
        """A transport for one process; each can crash by itself. A healthy one is never struck by a fault."""
        return FakeConnection(self, client, healthy)

    @property
    def writes(self) -> list[Request]:
        """Writes that were carried out, whether or not the client learnt of it."""
        return [request for request in self.requests if request.is_write and 0 < request.status < 400]

    @property
    def admission(self) -> list[Callable[[str, Resource, Object, Object | None], None]]:
        """Validators called with verb, resource, new and old object before a write; they raise `Refused`."""
        return self.verbs.admission

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """A copy of an object."""
        stored = self.storage.find(resource, namespace, name)
        return copy_of(stored.obj) if stored else None

    def all(self, resource: Resource, namespace: str | None = None, labels: str = "") -> list[Object]:
        """Copies of all objects of a kind."""
        matches = matcher({"labelSelector": labels}, namespace)
        return [copy_of(stored.obj) for stored in self.storage.select(resource, matches)]

    def put(self, resource: Resource, obj: Object) -> Object:
        """Create or replace an object, status included, past admission and faults."""
        obj = copy_of(obj)
        stored = self.storage.find(resource, obj["metadata"].get("namespace"), obj["metadata"]["name"])
        if stored is None:
            return copy_of(self.storage.insert(resource, obj).obj)
        return copy_of(self.storage.replace(resource, stored, obj).obj)

    def edit(self, resource: Resource, namespace: str | None, name: str, change: Callable[[Object], None]) -> Object:
        """Change a copy of an object in place and store it, status included."""
        stored = self.storage.find(resource, namespace, name)
        if stored is None:
            raise KeyError(f"{resource} {namespace}/{name} does not exist")
        obj = copy_of(stored.obj)
        change(obj)
        return copy_of(self.storage.replace(resource, stored, obj).obj)

    def remove(self, resource: Resource, namespace: str | None, name: str) -> None:
        """Take an object away at once, with what it owns to follow."""
        stored = self.storage.find(resource, namespace, name)
        if stored is not None:
            self.verbs.finish_deletion(resource, stored)

    def answer(self, request: Request, method: str, content_type: str, subresource: str) -> Response:
        """Carry out a request."""
        try:
            status, body = self._carry_out(request, method, content_type, subresource)
        except Refused as refusal:
            status, body = refusal.status, orjson.dumps(refusal.body())
        request.status, request.revision = status, self.storage.revision
        return Response(status, orjson.loads(body), {}, request.size, len(body))

    def _carry_out(self, request: Request, method: str, content_type: str, subresource: str) -> tuple[int, bytes]:
        kind, namespace, name, body = request.resource, request.namespace, request.name, request.body
        dry = "dryRun" in request.query
        if method == "POST":
            if not kind.stored:
                return 201, orjson.dumps(self._review(kind, body))
            return 201, self.verbs.create(kind, namespace, body, dry=dry)
        if method == "GET":
            return 200, self._list(request) if not name else self.verbs.get(kind, namespace, name)
        if method == "DELETE":
            return 200, self.verbs.delete(kind, namespace, name, body or {}, dry=dry)
        if content_type == APPLY_PATCH:
            manager = request.query.get("fieldManager", "unknown")
            return self.verbs.apply(kind, namespace, name, body, manager, dry=dry)
        return 200, self.verbs.patch(kind, namespace, name, body, subresource, dry=dry)

    def _list(self, request: Request) -> bytes:
        token = request.query.get("continue")
        if token:
            raws = self._pages.pop(token, None)
            if raws is None or int(base64.b64decode(token).split()[0]) < self.storage.compacted:
                raise Refused(410, "Expired", "The provided continue parameter is too old")
            revision = base64.b64decode(token).split()[0].decode()
        else:
            matches = matcher(request.query, request.namespace)
            raws = [stored.raw for stored in self.storage.select(request.resource, matches)]
            revision = str(self.storage.revision)
        limit = int(request.query.get("limit") or len(raws) or 1)
        page, rest = raws[:limit], raws[limit:]
        metadata = {"resourceVersion": revision}
        if rest:
            metadata["continue"] = base64.b64encode(f"{revision} {len(self.requests)}".encode()).decode()
            self._pages[metadata["continue"]] = rest
        items = b",".join(page)
        return b'{"kind":"List","metadata":' + orjson.dumps(metadata) + b',"items":[' + items + b"]}"

    def _review(self, kind: Resource, body: Object) -> Object:
        if kind == TOKEN_REVIEWS:
            unknown = {"authenticated": False, "error": "unknown token"}
            return body | {"status": self.tokens.get(body["spec"]["token"], unknown)}
        if kind in (SUBJECT_ACCESS_REVIEWS, SELF_SUBJECT_ACCESS_REVIEWS):
            return body | {"status": {"allowed": self.allows(body["spec"])}}
        raise Refused(404, "NotFound", f"no such review: {kind}")


@dataclass(slots=True, eq=False)
class FakeConnection:
    """One process's way to the server. After a crash nothing it asks is ever answered."""

    api: FakeApi
    client: str
    healthy: bool = False
    crashed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process died by a fault: cancel its tasks and start a new one with a new connection."""
    partitioned: bool = False
    """Cut off from the server: requests time out, watches fall silent."""

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: object | None = None,
        content_type: str = JSON,
        within: float,
    ) -> Response:
        request, subresource = self._parse(method, path, query, body, content_type)
        self.api.requests.append(request)
        await self._gate(within)
        fault = None if self.healthy else self.api.faults.pick(request)
        if fault is None:
            return self.api.answer(request, method, content_type, subresource)
        if fault.effect == "fail":
            return _failure(fault, request)
        if fault.effect == "hang":
            await self._no_answer(within)
        if fault.effect == "slow":
            return await self._late(request, (method, content_type, subresource), fault.seconds, within)
        answer = self.api.answer(request, method, content_type, subresource)
        if fault.effect == "lose":
            await self._no_answer(within)
        if fault.effect == "then":
            fault.action()
        if fault.effect == "crash":
            self.crashed.set()
            raise Crashed(f"after {request.verb} {path}")
        return answer

    async def stream(
        self, path: str, query: Mapping[str, str], inactivity: float
    ) -> AsyncGenerator[dict[str, Any], None]:
        request, _ = self._parse("GET", path, {**query, "watch": "1"}, None, JSON)
        self.api.requests.append(request)
        await self._gate(inactivity)
        fault = None if self.healthy else self.api.faults.pick(request)
        if fault is not None and fault.effect == "fail":
            answer = _failure(fault, request)
            raise error_from(answer.status, answer.body, answer.headers, "watch") or Unreachable("refused")
        if fault is not None:
            await self._no_answer(inactivity)
        matches = matcher(query, request.namespace)
        watcher = self.api.storage.watch(request.resource, matches, int(query.get("resourceVersion") or 0))
        if watcher is None:
            raise error_from(410, {"message": "too old resource version", "reason": "Expired"}, {}) or Silent("")
        request.status = 200
        try:
            async for event in self._events(watcher, float(query.get("timeoutSeconds") or 300), inactivity):
                yield event
        finally:
            self.api.storage.watchers.discard(watcher)

    async def close(self) -> None:
        """Nothing to release."""

    async def _events(
        self, watcher: Watcher, lifetime: float, inactivity: float
    ) -> AsyncGenerator[dict[str, Any], None]:
        loop = asyncio.get_running_loop()
        last = loop.time()
        ends = last + lifetime
        while True:
            cut = watcher.silent or self.partitioned
            wake = last + inactivity if cut else min(last + inactivity, last + _BOOKMARK_SECONDS, ends)
            try:
                async with asyncio.timeout_at(wake):
                    event = await watcher.events.get()
            except TimeoutError:
                now = loop.time() + _TICK
                if now >= last + inactivity:
                    raise Silent(f"no sign of life for {inactivity:g} s") from None
                if watcher.silent or self.partitioned:
                    continue
                if now >= ends:
                    return
                event = {"type": "BOOKMARK", "object": self._bookmark(watcher)}
            if event is None:
                return
            await self._alive()
            last = loop.time()
            yield event

    def _bookmark(self, watcher: Watcher) -> Object:
        version = {"resourceVersion": str(self.api.storage.revision)}
        return {"apiVersion": watcher.resource.api_version, "kind": watcher.resource.kind, "metadata": version}

    async def _late(self, request: Request, how: tuple[str, str, str], seconds: float, within: float) -> Response:
        """The server is slow: it carries the request out after so many seconds unless its own timeout is shorter."""
        server_limit = float(request.query.get("timeout", "60s").removesuffix("s"))
        if seconds <= server_limit and seconds > within:
            asyncio.get_running_loop().call_later(seconds, self.api.answer, request, *how)
        if seconds > within:
            await self._no_answer(within)
        await asyncio.sleep(min(seconds, server_limit))
        if seconds > server_limit:
            return Response(504, {"reason": "Timeout", "message": "request did not complete within requested timeout"})
        return self.api.answer(request, *how)

    async def _gate(self, within: float) -> None:
        await self._alive()
        if self.partitioned:
            await self._no_answer(within)
        if self.api.latency:
            await asyncio.sleep(self.api.latency)
        await self._alive()

    async def _alive(self) -> None:
        """A dead process neither sends nor receives."""
        while self.crashed.is_set():
            await asyncio.get_running_loop().create_future()

    async def _no_answer(self, within: float) -> None:
        await asyncio.sleep(within)
        raise Unreachable(f"no answer in {within:g} s")

    def _parse(
        self, method: str, path: str, query: Mapping[str, str], body: object | None, content_type: str
    ) -> tuple[Request, str]:
        resource, namespace, name, subresource = _route(path)
        verb = _VERBS[method]
        if content_type == APPLY_PATCH:
            verb = "apply"
        elif method == "PATCH" and subresource == "status":
            verb = "patch_status"
        elif method == "GET" and not name:
            verb = "watch" if "watch" in query else "list"
        raw = b"" if body is None else orjson.dumps(body)
        request = Request(
            at=self.api.clock.monotonic(),
            client=self.client,
            verb=verb,
            resource=resource,
            namespace=namespace,
            name=name,
            query=dict(query),
            body=orjson.loads(raw) if raw else None,
            size=len(raw),
        )
        return request, subresource


def _failure(fault: Fault, request: Request) -> Response:
    request.status = fault.status
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    body = {"kind": "Status", "code": fault.status, "reason": fault.reason, "message": fault.message}
    return Response(fault.status, body, headers)


def _route(path: str) -> tuple[Resource, str, str, str]:
    """Resource, namespace, name and subresource of an address."""
    parts = path.strip("/").split("/")
    head = 2 if parts[0] == "api" else 3
    prefix, rest = parts[:head], parts[head:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] != "status":
        namespace, rest = rest[1], rest[2:]
    resource = _BY_PREFIX.get((*prefix, rest[0]))
    if resource is None:
        raise ValueError(f"the fake API server does not know {path}")
    return resource, namespace, rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""
