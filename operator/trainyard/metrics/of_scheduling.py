"""What the last admission cycle saw of flavors, and what became of kept places."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from trainyard.metrics import definitions as d
from trainyard.metrics.sample import Sample
from trainyard.scheduling.engine import Counters
from trainyard.scheduling.health import Health


class FlavorVitals(Protocol):
    """Of `admission.vitals`, as far as it is measured."""

    @property
    def health(self) -> Health: ...

    @property
    def fragmented(self) -> float: ...


class Vitals(Protocol):
    """Of `admission.vitals`."""

    @property
    def counters(self) -> Counters: ...

    @property
    def flavors(self) -> Mapping[str, FlavorVitals]: ...


def scheduling_samples(vitals: Vitals) -> Iterator[Sample]:
    """All series."""
    counters = vitals.counters
    kept = {"made": counters.made, "moved_later": counters.moved_later, "broken": counters.broken}
    for result, count in kept.items():
        yield Sample(d.KEPT_PLACES, (result,), count)
    for name, each in vitals.flavors.items():
        health = each.health
        yield Sample(d.FRAGMENTED, (name,), each.fragmented)
        sick = {"broken": len(health.broken), "suspect": len(health.suspects), "not_ready": health.not_ready}
        for state, count in sick.items():
            yield Sample(d.SICK_NODES, (name, state), count)
        yield Sample(d.BREAKER, (name,), float(health.breaker_open))
