"""What can go wrong between the operator and the fake API server, scripted by predicates.

api.faults.fail(writes(PODS), status=503, times=2)
api.faults.lose(verb("create"))               # done, but the client sees a timeout
api.faults.crash_after_write(7)               # the operator dies right after its seventh write
api.faults.drop_events(lambda event: ...)     # a watch skips them
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.simulation.fake_storage import Storage, Watcher, copy_of
from trainyard.cluster.resources import LEASES, Object, Resource

WRITE_VERBS = frozenset({"create", "apply", "patch", "patch_status", "delete"})


class Crashed(BaseException):
    """The simulated operator died here. Not an Exception: no code of the operator may survive it."""


@dataclass(slots=True)
class Request:
    """One request as the server saw it."""

    at: float
    client: str
    verb: str
    resource: Resource
    namespace: str
    name: str
    query: dict[str, str]
    body: Any
    size: int
    status: int = 0
    """0 until answered; the client may never have seen the answer."""
    revision: int = 0
    """Of the storage after the request."""

    @property
    def is_write(self) -> bool:
        return self.verb in WRITE_VERBS and self.resource.stored and "dryRun" not in self.query


When = Callable[[Request], bool]
Effect = Literal["fail", "hang", "lose", "slow", "crash", "then"]


def verb(*verbs: str) -> When:
    """Requests with one of these verbs: get list watch create apply patch patch_status delete."""
    return lambda request: request.verb in verbs


def on(*resources: Resource) -> When:
    """Requests for these resources."""
    return lambda request: request.resource in resources


def writes(*resources: Resource) -> When:
    """Writes, of these resources if any are given."""
    return lambda request: request.is_write and (not resources or request.resource in resources)


def both(*conditions: When) -> When:
    """Requests for which every condition holds."""
    return lambda request: all(condition(request) for condition in conditions)


@dataclass(slots=True)
class Fault:
    """One scripted misfortune; `hits` counts how often it struck."""

    when: When
    effect: Effect
    times: int | None = 1
    skip: int = 0
    status: int = 500
    reason: str = ""
    message: str = "a scripted fault"
    retry_after: int | None = None
    seconds: float = 0.0
    action: Callable[[], None] = lambda: None
    hits: int = 0

    def strikes(self, request: Request) -> bool:
        if (self.times is not None and self.hits >= self.times) or not self.when(request):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.hits += 1
        return True


@dataclass(slots=True)
class Faults:
    """The script. Faults are tried in order; the first that strikes decides."""

    storage: Storage
    script: list[Fault] = field(default_factory=list)
    _held: list[tuple[Watcher, dict[str, Any]]] = field(default_factory=list)

    def add(self, fault: Fault) -> Fault:
        self.script.append(fault)
        return fault

    def pick(self, request: Request) -> Fault | None:
        return next((fault for fault in self.script if fault.strikes(request)), None)

    def fail(
        self,
        when: When,
        status: int = 500,
        *,
        times: int | None = 1,
        skip: int = 0,
        reason: str = "",
        message: str = "a scripted fault",
        retry_after: int | None = None,
    ) -> Fault:
        """Answer with an error and do nothing."""
        return self.add(Fault(when, "fail", times, skip, status, reason, message, retry_after))

    def hang(self, when: When, *, times: int | None = 1, skip: int = 0) -> Fault:
        """Do nothing and never answer."""
        return self.add(Fault(when, "hang", times, skip))

    def lose(self, when: When, *, times: int | None = 1, skip: int = 0) -> Fault:
        """Do it, but let the client wait for an answer in vain."""
        return self.add(Fault(when, "lose", times, skip))

    def slow(self, when: When, seconds: float, *, times: int | None = 1, skip: int = 0) -> Fault:
        """Do it after so many seconds, even if the client waits no longer; not after the request's own timeout."""
        return self.add(Fault(when, "slow", times, skip, seconds=seconds))

    def crash(self, when: When, *, skip: int = 0) -> Fault:
        """Do it, then let the client die; all else it asks for hangs for ever."""
        return self.add(Fault(when, "crash", 1, skip))

    def crash_after_write(self, number: int) -> Fault:
        """Let the operator die right after this write, counted from now and from 1; renewals of a Lease do not count."""
        return self.crash(_counted, skip=number - 1)

    def then_after_write(self, number: int, action: Callable[[], None]) -> Fault:
        """Let somebody do something right after this write of the operator, before it hears the answer."""
        return self.add(Fault(_counted, "then", 1, number - 1, action=action))

    def clear(self) -> None:
        """Go back to a healthy server."""
        self.script.clear()
        self.storage.deliver = _deliver

    def compact(self) -> None:
        """Forget history and end every watch with 410."""
        self.storage.compact()
        gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
        for watcher in list(self.storage.watchers):
            watcher.offer({"type": "ERROR", "object": gone})

    def break_watches(self) -> None:
        """End every watch as a server does that restarts."""
        for watcher in list(self.storage.watchers):
            watcher.events.put_nowait(None)

    def silence_watches(self, resource: Resource | None = None) -> None:
        """Leave every open watch half-open: nothing arrives any more, nothing ends it."""
        for watcher in self.storage.watchers:
            watcher.silent = watcher.silent or resource in {None, watcher.resource}

    def drop_events(self, when: Callable[[str, Object], bool]) -> None:
        """Let watches skip these events."""

        def deliver(watcher: Watcher, event: dict[str, Any]) -> None:
            if not when(event["type"], event["object"]):
                _deliver(watcher, event)

        self.storage.deliver = deliver

    def repeat_events(self, times: int = 2) -> None:
        """Let watches send every event several times."""

        def deliver(watcher: Watcher, event: dict[str, Any]) -> None:
            for _ in range(times):
                _deliver(watcher, _copied(event))

        self.storage.deliver = deliver

    def reorder_events(self, hold: float = 0.5) -> None:
        """Let every second event overtake the one before it; one that is not overtaken comes `hold` seconds late."""

        def release(item: tuple[Watcher, dict[str, Any]]) -> None:
            if item in self._held:
                self._held.remove(item)
                _deliver(*item)

        def deliver(watcher: Watcher, event: dict[str, Any]) -> None:
            waiting = next((item for item in self._held if item[0] is watcher), None)
            if waiting is None:
                item = (watcher, event)
                self._held.append(item)
                asyncio.get_running_loop().call_later(hold, release, item)
            else:
                _deliver(watcher, event)
                release(waiting)

        self.storage.deliver = deliver

    def delay_events(self, seconds: float) -> None:
        """Let watches tell everything so much later, in order."""

        def deliver(watcher: Watcher, event: dict[str, Any]) -> None:
            asyncio.get_running_loop().call_later(seconds, _deliver, watcher, event)

        self.storage.deliver = deliver

    def replay_events(self, depth: int = 5) -> None:
        """Let watches tell old events again: after each, the one that is so many events old."""
        told: dict[Watcher, list[dict[str, Any]]] = {}

        def deliver(watcher: Watcher, event: dict[str, Any]) -> None:
            mine = told.setdefault(watcher, [])
            mine.append(_copied(event))
            _deliver(watcher, event)
            if len(mine) > depth:
                _deliver(watcher, mine.pop(0))

        self.storage.deliver = deliver

    def drop_event(self, number: int) -> list[dict[str, Any]]:
        """Let watches skip one event, counted from now and from 1. Returns a list that will hold it."""
        left, dropped = [number], list[dict[str, Any]]()

        def deliver(watcher: Watcher, event: dict[str, Any]) -> None:
            left[0] -= 1
            dropped.append(event) if left[0] == 0 else _deliver(watcher, event)

        self.storage.deliver = deliver
        return dropped


def _counted(request: Request) -> bool:
    return request.is_write and request.resource != LEASES


def _deliver(watcher: Watcher, event: dict[str, Any]) -> None:
    watcher.offer(event)


def _copied(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"object": copy_of(event["object"])}
