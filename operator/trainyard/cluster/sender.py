"""One request to the API server with its deadline, its retries and its place among the requests in flight.

Retry rules. 429 is always tried again, since the server did nothing. A 5xx or no answer at all is ambiguous, and is
tried again only where a second time does no harm (`Call.repeatable`): reads, reviews, server-side apply, merge
patches, deletes, and creates of a named object, whose second answer is then `AlreadyExists` for the caller to judge.

Deadlines. Every write asks the server to give up after `write_timeout` seconds, so that a leader which lost its Lease
knows when its last write must have ended; the client waits a little longer than that. `may_write` is asked before
each attempt, so that a retry of a write never leaves a process that stopped leading meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Protocol

from trainyard.cluster.errors import ClusterError, Fenced, TooManyRequests, error_from
from trainyard.cluster.resources import Resource
from trainyard.cluster.transport import JSON, Response, Transport
from trainyard.runtime.backoff import Backoff, BackoffPolicy
from trainyard.runtime.clock import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Limits of a client; times in seconds."""

    write_timeout: float = 4.0
    """Given to the server with every write."""
    write_slack: float = 1.0
    """How much longer than that we wait for the answer; also the skew allowed for in `writes_end_in`."""
    read_timeout: float = 15.0
    list_timeout: float = 30.0
    attempts: int = 4
    longest_call: float = inf
    """For all attempts together, where somebody sits and waits; by default each is bounded alone."""
    retry: BackoffPolicy = field(default_factory=lambda: BackoffPolicy(base=0.2, cap=5.0))
    longest_retry_after: float = 15.0
    """A longer Retry-After is the caller's business: the error is raised at once."""
    in_flight: int = 64
    page: int = 200
    watch_seconds: float = 300.0
    """The server is asked to end a watch after this long, with up to a third more at random."""


class CallObserver(Protocol):
    """Told about every request: for metrics, and for tests that count writes."""

    def __call__(self, verb: str, resource: Resource, code: int, seconds: float, size: int, /) -> None:
        """code: HTTP status, 0 without an answer. size: bytes of the larger of the two bodies."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """What to ask. `repeatable`: a second time does no harm; `writes`: it may change what is stored."""

    verb: str
    method: str
    resource: Resource
    path: str
    query: Mapping[str, str]
    body: object | None = None
    content_type: str = JSON
    within: float = 0.0
    repeatable: bool = True
    writes: bool = False


class Sender:
    """Sends calls over one transport. Belongs to one event loop."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        random: Random,
        settings: ClientSettings | None = None,
        observer: CallObserver | None = None,
        may_write: Callable[[], bool] | None = None,
    ) -> None:
        self.settings = settings or ClientSettings()
        self.retries = 0
        """Requests that were tried again since the start."""
        self._transport = transport
        self._clock = clock
        self._random = random
        self._observer = observer
        self._may_write = may_write
        self._slots = asyncio.Semaphore(self.settings.in_flight)
        self._writes_end = 0.0
        """Monotonic time by which the last write whose outcome is unknown must have ended."""
        self._writing = 0

    @property
    def writes_end_in(self) -> float:
        """Seconds until no write of this client can take effect any more; 0 when none is under way or unknown."""
        if self._writing:
            return self.settings.write_timeout + self.settings.write_slack
        return max(0.0, self._writes_end - self._clock.monotonic())

    async def send(self, call: Call) -> Response:
        """The successful answer, after as many attempts as the rules allow; raises the error of the last one."""
        backoff = Backoff(self.settings.retry, self._random)
        ends = self._clock.monotonic() + self.settings.longest_call
        while True:
            left = ends - self._clock.monotonic()
            try:
                async with self._slots:
                    return await self._attempt(call, min(call.within, left))
            except ClusterError as error:
                delay = self._retry_delay(call, error, backoff)
                if delay is None or self._clock.monotonic() + delay >= ends:
                    raise
                self.retries += 1
                log.debug("request is tried again", extra={"verb": call.verb, "path": call.path, "error": str(error)})
            await asyncio.sleep(delay)

    def _retry_delay(self, call: Call, error: ClusterError, backoff: Backoff) -> float | None:
        """Seconds to wait before the next attempt, or None when there shall be none."""
        safe = isinstance(error, TooManyRequests) or (error.ambiguous and call.repeatable)
        if not safe or backoff.failures + 1 >= self.settings.attempts:
            return None
        delay = backoff.next()
        if error.retry_after is not None:
            if error.retry_after > self.settings.longest_retry_after:
                return None
            delay = max(delay, error.retry_after)
        return delay

    async def _attempt(self, call: Call, within: float) -> Response:
        if call.writes and self._may_write is not None and not self._may_write():
            raise Fenced("this process does not lead", doing=f"{call.verb} {call.path}")
        started = self._clock.monotonic()
        code, size = 0, 0
        self._writing += call.writes
        unknown = True
        try:
            answer = await self._transport.request(
                call.method,
                call.path,
                call.query,
                body=call.body,
                content_type=call.content_type,
                within=within,
            )
            code, size = answer.status, max(answer.sent, answer.received)
            unknown = False
        finally:
            self._writing -= call.writes
            if call.writes and unknown:  # no answer, or cancelled: the server may still be at it
                self._writes_end = self._clock.monotonic() + self.settings.write_timeout + self.settings.write_slack
            self.observe(call.verb, call.resource, code, self._clock.monotonic() - started, size)
        error = error_from(answer.status, answer.body, answer.headers, doing=f"{call.verb} {call.path}")
        if error is not None:
            raise error
        return answer

    def observe(self, verb: str, resource: Resource, code: int, seconds: float, size: int) -> None:
        """Report a request to the observer, if there is one."""
        if self._observer is not None:
            self._observer(verb, resource, code, seconds, size)
