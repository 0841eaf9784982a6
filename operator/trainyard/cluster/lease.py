"""Who leads: one process at a time holds a Lease and renews it.

client-go's rules, which the client library's asyncio election breaks in three ways (a network error leaves two
leaders, a hanging request outlasts the deadline, a crashed leader keeps its Lease). Every call has a deadline; a
leader that could not renew for `renew_deadline` seconds has lost, and `on_lost` ends the process. Others judge a
Lease by when they last saw it change, on their own monotonic clock, never by the times written in it.

A Lease does not fence: a request of the old leader may still be on its way. So a new leader waits until the last
write of the old one must have ended (see `sender.py`) before `acquired` fires, unless the old one said at its release
that none was left. `lease_thread.py` runs the election beside a busy event loop.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from trainyard.cluster.client import ClusterClient
from trainyard.cluster.errors import AlreadyExists, ClusterError, Conflict, NotFound
from trainyard.cluster.resources import LEASES, Object
from trainyard.runtime.clock import Clock

log = logging.getLogger(__name__)

WRITES_ENDED = "trainyard.dev/writes-ended"
"""Annotation of a released Lease: nothing of its last holder can still be written, so nobody needs to wait."""
_SOON = 0.1
"""Seconds that are not worth a try of their own."""
_EPOCH_START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """Times in seconds; the defaults are client-go's."""

    duration: float = 15.0
    """Others may take over when they saw no renewal for this long."""
    renew_deadline: float = 10.0
    """A leader without a successful renewal for this long has lost."""
    retry_period: float = 2.0
    attempt: float = 4.0
    """The longest that one request may hang before it is given up and another is tried."""
    old_writes: float = 5.0
    """How long a write of the old leader may still take effect: the write timeout and an allowance for skew."""

    def __post_init__(self) -> None:
        if not self.retry_period < self.renew_deadline < self.duration:
            raise ValueError(f"a Lease needs retry_period < renew_deadline < duration, got {self}")


@dataclass(frozen=True, slots=True)
class _Record:
    """What is written in a Lease, as far as it matters. Two are equal when nobody renewed in between."""

    holder: str
    duration: float
    transitions: int
    renewed: str
    writes_ended: bool
    version: str = field(compare=False)

    @classmethod
    def of(cls, lease: Object) -> "_Record":
        metadata, spec = lease["metadata"], lease.get("spec") or {}
        return cls(
            holder=str(spec.get("holderIdentity") or ""),
            duration=float(spec.get("leaseDurationSeconds") or 0),
            transitions=int(spec.get("leaseTransitions") or 0),
            renewed=str(spec.get("renewTime") or ""),
            writes_ended=(metadata.get("annotations") or {}).get(WRITES_ENDED) == "true",
            version=str(metadata["resourceVersion"]),
        )


class LeaseElection:
    """Takes part in the election of one Lease. Belongs to one event loop."""

    def __init__(
        self,
        client: ClusterClient,
        clock: Clock,
        on_lost: Callable[[str], None],
        *,
        namespace: str,
        name: str,
        identity: str,
        settings: LeaseSettings | None = None,
    ) -> None:
        self.acquired = asyncio.Event()
        """Set once this process leads and may write."""
        self.identity = identity
        self.holder = ""
        """Who held the Lease when it was last read; empty when nobody did."""
        self.epoch = 0
        """The Lease's count of transitions at our acquisition; grows with every change of leader."""
        self.settings = settings or LeaseSettings()
        self._client = client
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._on_lost = on_lost
        self._seen: _Record | None = None
        self._seen_at = 0.0
        self._held = False
        self._renewed_at = 0.0

    @property
    def is_leader(self) -> bool:
        """Whether this process leads and its last renewal is recent enough that nobody else can."""
        return self.acquired.is_set() and self._held and self._left() > 0

    async def run(self) -> None:
        """Wait for the Lease, then renew it; returns after a loss, when `on_lost` came back."""
        wait = await self._campaign()
        renewal = asyncio.create_task(self._renew_until_lost(), name="lease-renewal")
        try:
            # The Lease is renewed while we wait, or it would be lost again meanwhile.
            await asyncio.wait([renewal], timeout=wait)
            if not renewal.done():
                self.acquired.set()
                log.info("leading", extra={"lease": self._name, "identity": self.identity, "epoch": self.epoch})
            reason = await renewal
        finally:
            renewal.cancel()
        self._held = False
        self.acquired.clear()
        log.error("leadership lost", extra={"lease": self._name, "identity": self.identity, "reason": reason})
        self._on_lost(reason)

    async def release(self, *, writes_ended: bool) -> None:
        """Hand the Lease back if it is ours; to be called after `run` was cancelled.

        writes_ended: nothing this process asked for can still be written, so the next leader need not wait for it.
        """
        if not self._held or self._seen is None:
            return
        self._held = False
        self.acquired.clear()
        try:
            async with asyncio.timeout(self.settings.attempt):
                await self._write("", self._seen, duration=1, writes_ended=writes_ended)
        except (ClusterError, TimeoutError) as error:
            log.warning("the Lease could not be released and will run out", extra={"error": repr(error)})

    async def close(self) -> None:
        """Release the connections of the client."""
        await self._client.close()

    async def _campaign(self) -> float:
        """Try until the Lease is ours; returns the seconds for which the last leader may still write."""
        while True:
            started = self._clock.monotonic()
            try:
                async with asyncio.timeout(self.settings.attempt):
                    wait = await self._acquire()
            except (Conflict, AlreadyExists):
                wait = None  # somebody else was faster
            except (ClusterError, TimeoutError) as error:
                log.warning("cannot reach the Lease", extra={"lease": self._name, "error": repr(error)})
                wait = None
            if wait is not None:
                self._held, self._renewed_at = True, started
                return wait
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        """Until the next try: at the moment at which the Lease runs out, if that is sooner than usual."""
        usual = self.settings.retry_period
        left = self._seen_at + self._seen.duration - self._clock.monotonic() if self._seen is not None else usual
        return min(usual, left) if left >= _SOON else usual

    async def _acquire(self) -> float | None:
        lease = await self._client.get(LEASES, self._namespace, self._name)
        if lease is None:
            self._note(await self._create())
            self.epoch = self._seen.transitions if self._seen else 0
            return 0.0
        record = self._note(lease)
        ours = record.holder in {"", self.identity}  # our own: the process before us in this pod, which is dead
        if not ours and self._clock.monotonic() < self._seen_at + record.duration:
            return None
        self.epoch = record.transitions + 1
        await self._write(self.identity, record, duration=self.settings.duration, acquires=True)
        return 0.0 if record.writes_ended and not record.holder else self.settings.old_writes

    async def _renew_until_lost(self) -> str:
        while True:
            await asyncio.sleep(max(0.0, min(self.settings.retry_period, self._left())))
            left = self._left()
            if left <= 0:
                return f"not renewed for {self.settings.renew_deadline:g} s"
            started = self._clock.monotonic()
            try:
                async with asyncio.timeout(min(self.settings.attempt, left)):
                    reason = await self._renew()
            except (ClusterError, TimeoutError) as error:
                log.warning("the Lease was not renewed, it is tried again", extra={"error": repr(error)})
                continue
            if reason is not None:
                return reason
            self._renewed_at = started

    async def _renew(self) -> str | None:
        """Renew once; returns why the Lease is lost for good, or None."""
        if self._seen is None:
            return "the Lease was never read"
        try:
            await self._write(self.identity, self._seen, duration=self.settings.duration)
        except NotFound:
            # Making it anew would race with whoever else finds it missing.
            return "the Lease was deleted"
        except Conflict:
            lease = await self._client.get(LEASES, self._namespace, self._name)
            if lease is None:
                return "the Lease was deleted"
            record = self._note(lease)
            if record.holder != self.identity or record.transitions != self.epoch:
                return f"{record.holder or 'nobody'} holds the Lease"
            await self._write(self.identity, record, duration=self.settings.duration)
        return None

    async def _create(self) -> Object:
        # Not from zero: after a Lease was deleted with its namespace, jobs still carry epochs of the old one.
        first = max(1, int((self._clock.now() - _EPOCH_START).total_seconds()))
        spec = self._spec(self.identity, self.settings.duration) | {
            "acquireTime": self._timestamp(),
            "leaseTransitions": first,
        }
        metadata = {"namespace": self._namespace, "name": self._name}
        lease = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
        return await self._client.create(LEASES, lease)

    async def _write(
        self, holder: str, seen: _Record, *, duration: float, acquires: bool = False, writes_ended: bool = False
    ) -> None:
        spec = self._spec(holder, duration)
        if acquires:
            spec |= {"acquireTime": self._timestamp(), "leaseTransitions": self.epoch}
        annotations = {WRITES_ENDED: "true" if writes_ended else None}
        patch = {"metadata": {"resourceVersion": seen.version, "annotations": annotations}, "spec": spec}
        self._note(await self._client.patch(LEASES, self._namespace, self._name, patch))

    def _spec(self, holder: str, duration: float) -> Object:
        return {"holderIdentity": holder, "leaseDurationSeconds": int(duration), "renewTime": self._timestamp()}

    def _note(self, lease: Object) -> _Record:
        record = _Record.of(lease)
        if record != self._seen:
            self._seen_at = self._clock.monotonic()
        self._seen = record
        self.holder = record.holder
        return record

    def _left(self) -> float:
        return self._renewed_at + self.settings.renew_deadline - self._clock.monotonic()

    def _timestamp(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
