"""What is known of the demand of one service, and the next decision from it. Knows nothing of Kubernetes, so that a benchmark runs exactly this."""

from dataclasses import dataclass
from math import sqrt

from trainyard.inference.autoscale.decide import Decision, Inputs, Limits, Memory, Policy, decide
from trainyard.inference.autoscale.forecast import PARTS, DailyProfile, slope
from trainyard.inference.autoscale.history import History, Sample

MOST_HORIZON_SECONDS = 900.0
_TREND_SECONDS = 120.0
_ENOUGH = 50
CAUTION = 0.7
"""Standard errors by which the mean time of an answer is taken longer than it looks: three times in four it is enough."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many there are. `wanted`: until now."""

    wanted: int
    ready: int
    starting: int


@dataclass(frozen=True, slots=True)
class Moment:
    """When a decision is made: `now` in monotonic seconds, `wall` in seconds since 1970."""

    now: float
    wall: float


class Tracker:
    """One service. Windows, profile and the memory of decisions live here."""

    def __init__(
        self,
        stable_seconds: float,
        panic_seconds: float,
        *,
        service_seconds: float | None = None,
        profile: DailyProfile | None = None,
    ) -> None:
        self._stable, self._panic = stable_seconds, panic_seconds
        self.history = History(max(2 * stable_seconds, 2 * MOST_HORIZON_SECONDS))
        self._known_service = service_seconds
        self.profile = profile or DailyProfile()
        self._memory = Memory()
        self._busy_at: float | None = None
        self._learned_at: float | None = None

    def service_seconds(self, horizon: float) -> float:
        """Mean time of an answer. Before any is seen: as it was before, else the guess that what loads slowly answers slowly."""
        return self.history.service_seconds(self._known_service or sqrt(max(1.0, horizon)))

    @property
    def learned_service_seconds(self) -> float | None:
        """The same for the next operator; None if there is nothing to tell."""
        if self.history.answered < _ENOUGH:
            return self._known_service
        return round(self.history.service_seconds(self._known_service or 0.0), 3)

    def sample(self, sample: Sample) -> None:
        """Take in what all gateways said together."""
        before = self.history.last
        if before is None or sample.backlog or sample.in_flight or sample.requests > before.requests:
            self._busy_at = sample.time
        self.history.add(sample)

    def decide(
        self,
        moment: Moment,
        replicas: Replicas,
        limits: Limits,
        policy: Policy,
        *,
        horizon: float,
        complete: bool = True,
        predictive: bool = True,
    ) -> Decision:
        """The decision from what was sampled until now. complete: every gateway was heard a moment ago."""
        horizon = min(max(horizon, 1.0), MOST_HORIZON_SECONDS)
        last, history = self.history.last, self.history
        if last is None:
            return decide(Inputs(moment.now, replicas.wanted, complete=False), limits, policy, self._memory)
        inputs = Inputs(
            now=moment.now,
            current=replicas.wanted,
            ready=replicas.ready,
            starting=replicas.starting,
            held=last.held,
            queued=last.queued,
            in_flight=last.in_flight,
            complete=complete,
            stable=history.window(self._stable),
            panic=history.window(self._panic),
            service_seconds=self.service_seconds(horizon) * (1 + CAUTION * history.service_error),
            slope=self._slope(horizon) if predictive else 0.0,
            season=self.profile.at(moment.wall + horizon) if predictive else None,
            horizon=horizon,
            idle_seconds=moment.now - (self._busy_at if self._busy_at is not None else moment.now),
        )
        decision = decide(inputs, limits, policy, self._memory)
        self._memory = decision.memory
        if complete and inputs.stable is not None:
            self._learn(moment, decision.stable)
        return decision

    def _slope(self, horizon: float) -> float:
        span = max(_TREND_SECONDS, 2 * self._stable, min(horizon, self._stable * 4))
        return slope(self.history.rates(span, PARTS), span)

    def _learn(self, moment: Moment, demand: float) -> None:
        if self._learned_at is not None:
            self.profile.add(moment.wall, demand, min(10.0, moment.now - self._learned_at))
        self._learned_at = moment.now
