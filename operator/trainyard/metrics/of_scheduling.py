"""What the last admission cycle saw of flavors, and what became of kept places."""

from collections.abc import Iterator

from trainyard.admission.vitals import Vitals
from trainyard.metrics import definitions as d
from trainyard.metrics.sample import Sample


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
