"""How scheduling is doing, as of the last cycle: what metrics tell and no status shows. Written in the scheduler's thread, read in others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trainyard.runtime.clock import Clock
from trainyard.scheduling.engine import Counters, Engine
from trainyard.scheduling.fragmentation import learn_classes, tasks_of, unusable
from trainyard.scheduling.health import Health
from trainyard.scheduling.snapshot import Decision, Snapshot

_PERIOD_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class FlavorVitals:
    """Of the nodes of one flavor."""

    health: Health
    fragmented: float
    """Free GPUs that typical workloads of now cannot use."""


class Vitals:
    """The newest; whole values are swapped, so a reader never sees half of one."""

    def __init__(self, clock: Clock) -> None:
        self.flavors: Mapping[str, FlavorVitals] = {}
        self.counters = Counters()
        self._clock = clock
        self._looked: float | None = None

    def look(self, engine: Engine, snapshot: Snapshot, _now: datetime, _decisions: Sequence[Decision]) -> None:
        """After a cycle."""
        self.counters = engine.counters
        now = self._clock.monotonic()
        if self._looked is not None and now - self._looked < _PERIOD_SECONDS:
            return
        self._looked = now
        typical = learn_classes(tasks_of(snapshot.workloads))
        self.flavors = {
            name: FlavorVitals(engine.health(name), unusable(engine.fleet, typical, engine.usable(name)))
            for name in engine.rules.flavors
        }
