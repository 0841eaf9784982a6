"""What the gateways of a service say together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from trainyard.inference.autoscale.history import Sample
from trainyard.inference.membership import FRESH_SECONDS
from trainyard.inference.observed import GatewayReport, Observed


@dataclass(slots=True)
class Meter:
    """Adds up requests over gateways that come, go and restart."""

    requests: float = 0.0
    _last: dict[str, int] = field(default_factory=dict)

    def sample(self, observed: Observed, now: datetime, monotonic: float) -> tuple[Sample | None, bool]:
        """A sample of those gateways that were heard a moment ago, and whether that is all of them."""
        fresh = {
            pod: report
            for pod, report in observed.reports.items()
            if (now - report.received).total_seconds() <= FRESH_SECONDS
        }
        running = {pod.name for pod in observed.gateway_pods if pod.running}
        if not fresh:
            return None, False
        for pod, report in fresh.items():
            self.requests += _more(self._last.get(pod), report.requests)
            self._last[pod] = report.requests
        self._last = {pod: count for pod, count in self._last.items() if pod in observed.reports}
        gateway = observed.service.spec.gateway
        queued, held = (sum(getattr(each, name) for each in fresh.values()) for name in ("queued", "held"))
        sample = Sample(
            monotonic,
            self.requests,
            held=held,
            queued=queued,
            in_flight=sum(each.in_flight for each in fresh.values()),
            refusing=_full(fresh, gateway.queue_limit),
        )
        return sample, running <= fresh.keys()


def _more(before: int | None, now: int) -> int:
    """A counter that went back began anew; of a gateway seen for the first time nobody knows when its requests came."""
    if before is None:
        return 0
    return now - before if now >= before else now


def _full(reports: Mapping[str, GatewayReport], limit: int) -> bool:
    return limit > 0 and any(report.queued >= limit for report in reports.values())
