"""Kubernetes Events about objects: what happened and why, for people who run `kubectl describe`.

An event never delays or fails a reconcile: `record` only notes it, a background task writes it, and what cannot be
written is counted and dropped. The same event about the same object within a window becomes one Event with a count;
rates are bounded per object and for all, so that a flapping object cannot flood etcd.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Literal

from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import AlreadyExists, ClusterError, NamespaceEnding, NotFound
from trainyard.cluster.resources import EVENTS, Object
from trainyard.runtime.clock import Clock

log = logging.getLogger(__name__)

EventType = Literal["Normal", "Warning"]

_LONGEST_MESSAGE = 1024  # the API server's limit
_DEFAULT_NAMESPACE = "default"  # where events about cluster-scoped objects must live


@dataclass(frozen=True, slots=True)
class EventSettings:
    """Bounds; times in seconds."""

    window: float = 600.0
    """Repeats of an event within this time are counted, not written as new ones."""
    recount: float = 60.0
    """A repeated event's count is written at most this often."""
    per_object: int = 25
    """Events that an object may have at once; it earns another every `per_object_seconds`."""
    per_object_seconds: float = 120.0
    per_second: float = 10.0
    """Writes for all objects together."""
    queue: int = 1000
    remembered: int = 4096


@dataclass(slots=True)
class _Series:
    """One event about one object, and how often it happened."""

    namespace: str
    name: str
    obj: Object
    count: int = 1
    written: int = 0
    first: float = 0.0
    written_at: float = 0.0
    queued: bool = True


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class _Rates:
    """Token buckets by object uid, the longest unused forgotten first."""

    burst: int
    every: float
    remembered: int
    buckets: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)

    def take(self, uid: str, now: float) -> bool:
        bucket = self.buckets.setdefault(uid, _Bucket(self.burst, now))
        self.buckets.move_to_end(uid)
        if len(self.buckets) > self.remembered:
            self.buckets.popitem(last=False)
        bucket.tokens = min(self.burst, bucket.tokens + (now - bucket.at) / self.every)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


class EventRecorder:
    """Notes events at once and writes them in the background while `run` runs. Belongs to one event loop."""

    def __init__(
        self, client: ClusterClient, clock: Clock, reporter: str, instance: str, settings: EventSettings | None = None
    ) -> None:
        self.dropped = 0
        """Events that were never written: over a rate, the queue full, or refused by the API server."""
        self.suppressed = 0
        """Repeats that were counted instead of written."""
        self.written = 0
        self._client = client
        self._clock = clock
        self._reporter = reporter
        self._instance = instance
        self._settings = settings or EventSettings()
        self._known: OrderedDict[str, _Series] = OrderedDict()
        self._queue: deque[_Series] = deque()
        self._ready = asyncio.Event()
        s = self._settings
        self._rates = _Rates(s.per_object, s.per_object_seconds, s.remembered)

    def record(self, obj: Object, event_type: EventType, reason: str, message: str, action: str = "Reconcile") -> None:
        """Note that something happened to an object (apiVersion, kind and metadata suffice). Never raises or waits."""
        metadata = obj["metadata"]
        message = message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 1] + "…"
        identity = "\0".join((str(metadata.get("uid")), event_type, reason, message))
        now = self._clock.monotonic()
        series = self._known.get(identity)
        if series is not None and now - series.first < self._settings.window:
            series.count += 1
            self.suppressed += 1
            if not series.queued and now - series.written_at >= self._settings.recount:
                self._enqueue(series)
            return
        if not self._rates.take(str(metadata.get("uid")), now):
            self.dropped += 1
            return
        self._remember(identity, self._series(obj, event_type, reason, message, action=action, identity=identity))

    async def run(self) -> None:
        """Write what was noted until cancelled."""
        while True:
            await self._ready.wait()
            while self._queue:
                await self._write(self._queue.popleft())
                await asyncio.sleep(1 / self._settings.per_second)
            self._ready.clear()

    async def flush(self) -> None:
        """Write what is left, at the end of the process."""
        while self._queue:
            await self._write(self._queue.popleft())

    def _remember(self, identity: str, series: _Series) -> None:
        self._known[identity] = series
        self._known.move_to_end(identity)
        if len(self._known) > self._settings.remembered:
            self._known.popitem(last=False)
        self._enqueue(series)

    def _enqueue(self, series: _Series) -> None:
        if len(self._queue) >= self._settings.queue:
            self.dropped += 1
            series.queued = False
            return
        series.queued = True
        self._queue.append(series)
        self._ready.set()

    async def _write(self, series: _Series) -> None:
        series.queued = False
        count, series.written_at = series.count, self._clock.monotonic()
        try:
            if series.written:
                await self._recount(series, count)
            else:
                await self._client.create(EVENTS, series.obj | {"count": count})
        except AlreadyExists:  # our own create whose answer was lost
            pass
        except NamespaceEnding:  # nobody will look for it there
            log.debug("an event ends with its namespace", extra={"event": series.name})
            return
        except (ClusterError, TimeoutError) as error:
            self.dropped += 1
            log.warning("an event could not be written", extra={"event": series.name, "error": str(error)})
            return
        series.written = count
        self.written += 1

    async def _recount(self, series: _Series, count: int) -> None:
        patch = {"count": count, "lastTimestamp": self._timestamp()}
        try:
            await self._client.patch(EVENTS, series.namespace, series.name, patch)
        except NotFound:  # events live for an hour
            await self._client.create(EVENTS, series.obj | patch)

    def _series(
        self, obj: Object, event_type: EventType, reason: str, message: str, *, action: str, identity: str
    ) -> _Series:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace") or _DEFAULT_NAMESPACE
        started = self._timestamp()
        digest = hashlib.sha256(f"{identity}\0{self._instance}\0{started}".encode()).hexdigest()[:16]
        name = f"{metadata['name'][:230].rstrip('-.')}.{digest}"
        reference = {
            "apiVersion": obj.get("apiVersion"),
            "kind": obj.get("kind"),
            "name": metadata["name"],
            "namespace": metadata.get("namespace"),
            "uid": metadata.get("uid"),
            "resourceVersion": metadata.get("resourceVersion"),
        }
        event: Object = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"namespace": namespace, "name": name},
            "involvedObject": {key: value for key, value in reference.items() if value},
            "type": event_type,
            "reason": reason,
            "message": message,
            "action": action,
            "source": {"component": self._reporter},
            "reportingComponent": self._reporter,
            "reportingInstance": self._instance,
            "firstTimestamp": started,
            "lastTimestamp": started,
        }
        return _Series(namespace, name, event, first=self._clock.monotonic())

    def _timestamp(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
