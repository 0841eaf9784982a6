"""How long replicas of a service take to start, by stage: seen at their pods and at the gateways."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil

from trainyard.api.autoscaling import ColdStart, StartStage
from trainyard.inference.names import pod_name
from trainyard.inference.observed import Observed
from trainyard.inference.workload import wanted
from trainyard.workloads.keys import Key

STAGES = ("quota", "scheduling", "image", "load", "gateway")
"""Wanted, then a place, a bound pod, a running server, a loaded and warmed-up model, and a gateway that sends it requests."""
UNKNOWN_START_SECONDS = 30.0
_REMEMBERED = 64
_GATEWAY_PATIENCE_SECONDS = 60.0
Told = Callable[[str, float], None]
"""A stage took so many seconds."""


@dataclass(slots=True)
class _Watched:
    """A start that is seen from its beginning."""

    wanted: datetime
    ready: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Start:
    flavor: str
    stages: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """From the place on: how long quota is waited for says nothing of the next start."""
        return sum(seconds for name, seconds in self.stages.items() if name != "quota")


@dataclass(slots=True)
class Starts:
    """Of one service. `known`: what an earlier operator had learned."""

    known: ColdStart | None = None
    _watched: dict[int, _Watched] = field(default_factory=dict)
    _done: deque[_Start] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    count: int = 0

    def look(self, observed: Observed, now: datetime, told: Told) -> None:
        """Follow the starts that are under way."""
        pods = {pod.index: pod for pod in observed.pods}
        for serial in wanted(observed):
            self._watched.setdefault(serial, _Watched(now))
        places = {each.serial: each for each in observed.service.status.admission if not each.release}
        self._watched = {
            serial: each for serial, each in self._watched.items() if serial in places or serial in wanted(observed)
        }
        for serial, watched in list(self._watched.items()):
            place, pod = places.get(serial), pods.get(serial)
            if place is None or pod is None or not pod.ready or pod.started is None:
                continue
            watched.ready = watched.ready or now
            up = pod_name(observed.service, serial)
            reached = any(up in report.up for report in observed.reports.values())
            if not reached and (now - watched.ready).total_seconds() < _GATEWAY_PATIENCE_SECONDS:
                continue
            bound = pod.scheduled or pod.started
            served = now if reached else watched.ready  # without a word of it, nothing is known of that stage
            times = (watched.wanted, place.admitted_at, bound, pod.started, watched.ready, served)
            self._over(_Start(place.flavor, dict(zip(STAGES, _spans(times), strict=True))), told)
            del self._watched[serial]

    def _over(self, start: _Start, told: Told) -> None:
        self._done.append(start)
        self.count += 1
        for name, seconds in start.stages.items():
            told(name, seconds)

    def horizon(self) -> float:
        """Seconds that a start takes, nine times out of ten."""
        found = self.cold_start()
        return found.p90_seconds if found and found.p90_seconds > 0 else UNKNOWN_START_SECONDS

    def cold_start(self) -> ColdStart | None:
        """In numbers, on the flavor of the last start."""
        if not self._done:
            return self.known
        flavor = self._done[-1].flavor
        mine = [each for each in self._done if each.flavor == flavor]
        totals = [each.seconds for each in mine]
        stages = [
            StartStage(name=name, p50_seconds=_quantile(values, 0.5), p90_seconds=_quantile(values, 0.9))
            for name in STAGES
            if (values := [each.stages[name] for each in mine])
        ]
        return ColdStart(
            flavor=flavor,
            starts=len(mine),
            p50_seconds=_quantile(totals, 0.5),
            p90_seconds=_quantile(totals, 0.9),
            stages=stages,
        )


class StartWatch:
    """The starts of all services, whether or not their number of replicas is left to us. told: hears how long each stage took."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._services: dict[Key, tuple[str, Starts]] = {}

    def look(self, key: Key, observed: Observed, now: datetime) -> Starts:
        """What is known of the service's starts now."""
        service = observed.service
        uid, starts = self._services.get(key, ("", Starts()))
        if uid != service.metadata.uid:
            before = service.status.scaling
            starts = Starts(before.cold_start if before else None)
            self._services[key] = (service.metadata.uid, starts)
        starts.look(observed, now, self._told)
        return starts

    def forget(self, key: Key) -> None:
        """The service is gone."""
        self._services.pop(key, None)


def _spans(times: tuple[datetime, ...]) -> Iterator[float]:
    """Seconds between each two; the API server's times are whole seconds, so a later one may look earlier."""
    last = times[0]
    for each in times[1:]:
        yield max(0.0, (each - last).total_seconds())
        last = max(last, each)


def _quantile(values: list[float], part: float) -> float:
    """The smallest value that `part` of them do not exceed, to milliseconds."""
    return round(sorted(values)[max(0, ceil(part * len(values)) - 1)], 3)
