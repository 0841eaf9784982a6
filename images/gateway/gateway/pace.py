"""How fast requests are answered, and so when it makes sense to come back. Pure."""

import math
from dataclasses import dataclass

from gateway.observed import Observed

_MEMORY_SECONDS = 5.0
_MOST_SECONDS = 60


@dataclass(frozen=True)
class Pace:
    """rate is in answers a second, of late; answered and at are those of the last look, at in seconds of the clock."""

    rate: float = 0.0
    answered: int = 0
    at: float | None = None

    def seen(self, observed: Observed, now: float) -> "Pace":
        """Pace after another look. A count that went back is that of a new HAProxy, or of servers that are gone."""
        answered = sum(server.answered + server.failed for server in observed.servers)
        if self.at is None or now <= self.at:
            return Pace(self.rate, answered, now)
        passed = now - self.at
        keep = math.exp(-passed / _MEMORY_SECONDS)
        fresh = max(0, answered - self.answered) / passed
        return Pace(keep * self.rate + (1 - keep) * fresh, answered, now)

    def retry_after(self, queued: int) -> int:
        """Whole seconds until those who wait now have been answered; 1 where nothing is known."""
        if queued == 0 or self.rate <= 0:
            return 1
        return min(_MOST_SECONDS, max(1, math.ceil(queued / self.rate)))
