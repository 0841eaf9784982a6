"""Knative's autoscaler (KPA) as it is published, with its defaults: what ours is compared with.

Source: knative/serving, pkg/autoscaler/scaling/autoscaler.go and pkg/reconciler/autoscaling/kpa/scaler.go. Concurrency is
averaged over 60 s (stable) and 6 s (panic), of the seconds seen so far; the target is 70 % of what a pod takes at a time.
"""

from bisect import bisect_left
from math import ceil, floor

from tests.bench.autoscale_sim import View

STABLE, PANIC = 60.0, 6.0
THRESHOLD = 2.0
MAX_UP, MAX_DOWN = 1000.0, 2.0
GRACE = 30.0


class Kpa:
    """One service."""

    def __init__(self, slots: int, utilization: float = 0.7) -> None:
        self.target = slots * utilization
        self._seen: list[tuple[float, float]] = []
        self._panicking: float | None = None
        self._most = 0
        self._inactive: float | None = None
        self._turn = 0
        self._wanted = 0

    def wanted(self, view: View) -> int:
        """Replicas that it wants. Every second call decides."""
        now = view.now
        self._turn += 1
        self._seen.append((now, float(view.held + view.queued + view.in_flight)))
        del self._seen[: bisect_left(self._seen, (now - STABLE, -1.0))]
        stable, panic = self._mean(now - STABLE), self._mean(now - PANIC)
        running = view.ready + view.starting
        if self._turn % 2 == 0 and running:
            return self._wanted
        self._wanted = self._decide(view, stable, panic)
        return self._wanted

    def _decide(self, view: View, stable: float, panic: float) -> int:
        now, running = view.now, view.ready + view.starting
        if running == 0:
            # The activator reports the first request at once.
            return 1 if view.held else 0
        ready = max(1, view.ready)
        high, low = ceil(MAX_UP * ready), floor(ready / MAX_DOWN)
        by_stable = min(max(ceil(stable / self.target), low), high)
        raw = ceil(panic / self.target)
        by_panic = min(max(raw, low), high)
        over = raw / ready >= THRESHOLD
        if over:
            self._panicking = now
        elif self._panicking is not None and now - self._panicking > STABLE:
            self._panicking, self._most = None, 0
        want = by_stable
        if self._panicking is not None:
            self._most = max(self._most, by_stable, by_panic)
            want = self._most
        return self._to_zero(now, want)

    def _to_zero(self, now: float, want: int) -> int:
        """The last pod stays for the grace period."""
        if want > 0:
            self._inactive = None
            return want
        if self._inactive is None:
            self._inactive = now
        return 0 if now - self._inactive >= GRACE else 1

    def _mean(self, since: float) -> float:
        values = [value for time, value in self._seen if time > since]
        return sum(values) / len(values) if values else 0.0
