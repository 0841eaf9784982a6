"""A discrete-event simulation of one service: a gateway that holds and queues, replicas with slots, an autoscaler that looks every second."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Protocol

TICK_SECONDS = 1.0
"""Autoscalers are told so often; they decide at every second call."""
STAGES = {"scheduling": 0.5, "image": 4.0, "load": 18.0, "warm-up": 6.0}
"""Medians of the stages of a start in seconds; each is drawn from a lognormal distribution of sigma 0.25."""
_SIGMA = 0.25
_ARRIVAL, _DONE, _READY, _TICK = range(4)


@dataclass(frozen=True, slots=True)
class Request:
    """at: seconds since the beginning; service: seconds that a replica works on it."""

    at: float
    service: float


@dataclass(frozen=True, slots=True)
class View:
    """What an autoscaler may see."""

    now: float
    requests: int
    held: int
    queued: int
    in_flight: int
    ready: int
    starting: int
    mean_start: float | None
    """p90 of the starts that ended, seconds."""


class Scaler(Protocol):
    """An autoscaler."""

    def wanted(self, view: View) -> int: ...


@dataclass(slots=True)
class _Replica:
    began: float
    ready: bool = False
    leaving: bool = False
    busy: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trace."""

    waits: list[float]
    services: list[float]
    replica_seconds: float
    starts: int
    stages: dict[str, float]
    """Seconds spent in each stage by all starts."""
    most: int
    changes: int

    def attainment(self, slack: float, factor: float) -> float:
        """Part of requests answered within factor x their own service time + slack seconds."""
        good = sum(
            wait <= slack + (factor - 1) * service for wait, service in zip(self.waits, self.services, strict=True)
        )
        return good / len(self.waits) if self.waits else 1.0


@dataclass(slots=True)
class _Run:
    requests: Sequence[Request]
    scaler: Scaler
    slots: int
    random: Random
    ceiling: int
    events: list[tuple[float, int, int, object]] = field(default_factory=list)
    replicas: list[_Replica] = field(default_factory=list)
    line: deque[Request] = field(default_factory=deque)
    waits: list[float] = field(default_factory=list)
    services: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    seconds: float = 0.0
    arrived: int = 0
    in_flight: int = 0
    begun: int = 0
    most: int = 0
    changes: int = 0
    _number: int = 0

    def push(self, at: float, kind: int, what: object = None) -> None:
        self._number += 1
        heappush(self.events, (at, kind, self._number, what))

    def start(self, now: float, *, warm: bool = False) -> None:
        replica = _Replica(now)
        self.replicas.append(replica)
        if warm:
            replica.ready = True
            return
        self.begun += 1
        took = 0.0
        for name, median in STAGES.items():
            part = median * self.random.lognormvariate(0.0, _SIGMA)
            self.stages[name] += part
            took += part
        self.push(now + took, _READY, replica)

    def end(self, replica: _Replica, now: float) -> None:
        self.replicas.remove(replica)
        self.seconds += now - replica.began

    def serve(self, now: float) -> None:
        free = [each for each in self.replicas if each.ready and not each.leaving and each.busy < self.slots]
        while self.line and free:
            replica = min(free, key=lambda each: each.busy)
            request = self.line.popleft()
            self.waits.append(now - request.at)
            self.services.append(request.service)
            replica.busy += 1
            self.in_flight += 1
            self.push(now + request.service, _DONE, replica)
            if replica.busy >= self.slots:
                free.remove(replica)

    def scale(self, now: float) -> None:
        staying = [each for each in self.replicas if not each.leaving]
        ready = sum(each.ready for each in staying)
        waiting = len(self.line)
        view = View(
            now,
            self.arrived,
            waiting if ready == 0 else 0,
            waiting if ready else 0,
            self.in_flight,
            ready,
            len(staying) - ready,
            sorted(self.starts[-32:])[int(0.9 * len(self.starts[-32:]))] if self.starts else None,
        )
        wanted = min(self.ceiling, self.scaler.wanted(view))
        self.changes += wanted != len(staying)
        for _ in range(wanted - len(staying)):
            self.start(now)
        # Those still starting go first, then the idlest.
        for replica in sorted(staying, key=lambda each: (each.ready, each.busy))[: max(0, len(staying) - wanted)]:
            replica.leaving = True
            if not replica.busy:
                self.end(replica, now)
        self.most = max(self.most, wanted)

    def run(self, initial: int) -> Outcome:
        for _ in range(initial):
            self.start(0.0, warm=True)
        end = self.requests[-1].at if self.requests else 0.0
        incoming = iter(self.requests)
        upcoming = next(incoming, None)
        self.push(0.0, _TICK)
        now = 0.0
        while self.events or upcoming is not None:
            if upcoming is not None and (not self.events or upcoming.at <= self.events[0][0]):
                now = upcoming.at
                self.arrived += 1
                self.line.append(upcoming)
                self.serve(now)
                upcoming = next(incoming, None)
                continue
            now, kind, _, what = heappop(self.events)
            if kind == _TICK:
                self.scale(now)
                if upcoming is not None or self.line or self.in_flight:
                    self.push(now + TICK_SECONDS, _TICK)
                continue
            assert isinstance(what, _Replica)
            if kind == _READY:
                what.ready = True
                if what in self.replicas:
                    self.starts.append(now - what.began)
            else:
                what.busy -= 1
                self.in_flight -= 1
                if what.leaving and not what.busy:
                    self.end(what, now)
            self.serve(now)
        for replica in list(self.replicas):
            self.end(replica, max(now, end) if replica.began <= now else replica.began)
        return Outcome(self.waits, self.services, self.seconds, self.begun, self.stages, self.most, self.changes)


def simulate(
    requests: Sequence[Request],
    scaler: Scaler,
    *,
    slots: int,
    seed: int = 0,
    initial: int = 0,
    ceiling: int = 1000,
) -> Outcome:
    """Replay `requests` in order."""
    return _Run(requests, scaler, slots, Random(seed), ceiling).run(initial)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same number."""

    number: int

    def wanted(self, view: View) -> int:
        return self.number
