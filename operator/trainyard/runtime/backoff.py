"""How long to wait before trying again: exponential, capped, with jitter so that many failures do not retry together.

Used by the work queue (per key), the cluster client (per request) and the informers (per connection).
"""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Delays grow from `base` by `factor` up to `cap` seconds; each is shortened by up to `jitter` (a share)."""

    base: float = 0.5
    cap: float = 60.0
    factor: float = 2.0
    jitter: float = 0.3

    def __post_init__(self) -> None:
        if not (0 < self.base <= self.cap and self.factor >= 1 and 0 <= self.jitter < 1):
            raise ValueError(f"backoff needs 0 < base <= cap, factor >= 1 and 0 <= jitter < 1, got {self}")

    def delay(self, failures: int, random: Random) -> float:
        """Seconds to wait after the given number of failures in a row (1 is the first)."""
        if failures < 1:
            raise ValueError(f"a delay follows at least one failure, got {failures}")
        # 64 doublings exceed any cap; without the bound a float overflows after weeks of failures.
        full = min(self.cap, self.base * self.factor ** min(failures - 1, 64))
        return full * (1 - self.jitter * random.random())


class Backoff:
    """The failures in a row of one thing, and the delay that follows from them."""

    def __init__(self, policy: BackoffPolicy, random: Random) -> None:
        self._policy = policy
        self._random = random
        self.failures = 0

    def next(self) -> float:
        """Note a failure and say how many seconds to wait."""
        self.failures += 1
        return self._policy.delay(self.failures, self._random)

    def reset(self) -> None:
        """Note a success."""
        self.failures = 0
