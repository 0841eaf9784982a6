"""Adds up what everything that holds a place draws, costs and emits, by queue and namespace: jobs and replicas alike.

It looks every few seconds and takes what it saw to have lasted until the next look. Beside it, each job's ledger counts by its own
transitions (`training/ledger`); what trainers measure is counted from there and never mixed with this.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from trainyard.api.energy import carbon
from trainyard.api.flavor import FlavorSpec
from trainyard.runtime.clock import Clock
from trainyard.scheduling.power import draw
from trainyard.scheduling.quota import granted
from trainyard.scheduling.snapshot import Workload

LOOK_SECONDS = 15.0
Whose = tuple[str, str]
"""Queue and namespace."""


class Counts(Protocol):
    """What is told of it."""

    def drew(self, queue: str, namespace: str, joules: float, cost: float, grams: float | None) -> None: ...


class Meter:
    """Of one operator, while it leads."""

    def __init__(
        self,
        workloads: Callable[[], Iterable[Workload]],
        flavors: Callable[[], Mapping[str, FlavorSpec]],
        clock: Clock,
        counts: Counts,
        grams_per_kwh: float | None,
    ) -> None:
        self._workloads, self._flavors, self._clock, self._counts = workloads, flavors, clock, counts
        self._grams_per_kwh = grams_per_kwh
        self._seen: dict[Whose, tuple[float, float]] = {}
        """Watts, and price per hour, as of the last look."""
        self._looked = clock.monotonic()

    async def run(self) -> None:
        """Look now and then until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Count what was seen last for the time since; then see what there is now."""
        now = self._clock.monotonic()
        hours = (now - self._looked) / 3600
        seen, self._looked = self._seen, now
        self._seen = drawn(self._workloads(), self._flavors())
        for queue, namespace in self._seen.keys() | seen.keys():  # who is new begins at 0
            watts, price = seen.get((queue, namespace), (0.0, 0.0))
            joules = watts * hours * 3600
            self._counts.drew(queue, namespace, joules, price * hours, carbon(joules, self._grams_per_kwh))


def drawn(workloads: Iterable[Workload], flavors: Mapping[str, FlavorSpec]) -> dict[Whose, tuple[float, float]]:
    """Watts and price per hour now of whoever holds a place on a flavor that states one of them. Who has not begun to run draws what idles."""
    found: dict[Whose, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for each in workloads:
        spec = flavors.get(each.admission.flavor) if each.admission else None
        if each.admission is None or spec is None:
            continue
        own = draw(spec, granted(each, each.admission))
        watts = own.busy_watts if each.started is not None else own.idle_watts
        if watts or own.price_per_hour:
            before = found[each.queue, each.key.namespace]
            found[each.queue, each.key.namespace] = (before[0] + watts, before[1] + own.price_per_hour)
    return dict(found)
