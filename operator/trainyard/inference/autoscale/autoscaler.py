"""The autoscaler of all services that ask for one: what is remembered of each, and the decision that its status should show.

A decision acts once the status shows it (`InferenceService.target`), as everything does. The status is written when the number
changes, or a limit is met or left; what was learned goes with it, so that an operator that starts anew goes on from there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from trainyard.api.autoscaling import Autoscaling, Scaling
from trainyard.api.inference_service import InferenceService
from trainyard.inference.autoscale.decide import Decision, Policy
from trainyard.inference.autoscale.demand import Meter
from trainyard.inference.autoscale.forecast import HALF_HOURS, DailyProfile
from trainyard.inference.autoscale.latency import LatencyModel
from trainyard.inference.autoscale.limits import in_force
from trainyard.inference.autoscale.starts import Starts, StartWatch, Told
from trainyard.inference.autoscale.tracker import Moment, Replicas, Tracker
from trainyard.inference.observed import Observed
from trainyard.inference.workload import active
from trainyard.workloads.keys import Key

LOOK_SECONDS = 2.0
IDLE_LOOK_SECONDS = 10.0
"""A service without replicas is looked at so often: the first request wakes it anyway."""
_LEAST_SECONDS = 0.9
_DEAF_SECONDS = 30.0
"""A gateway that is not heard for so long is no longer waited for."""
_LEARNED_SECONDS = 1800.0
_START_SECONDS = 60.0
"""What was learned is written at least so often, if there is something new; if that is of starts, sooner."""


@dataclass(slots=True)
class _Service:
    """What is remembered of one."""

    uid: str
    tracker: Tracker
    starts: Starts
    windows: tuple[int, int]
    meter: Meter = field(default_factory=Meter)
    latency: LatencyModel = field(default_factory=LatencyModel)
    told: Scaling | None = None
    decided_at: float | None = None
    deaf_since: float | None = None
    fitted_at: float = 0.0
    written: tuple[float, tuple[int, int]] = (0.0, (0, 0))
    """When the status was written last, and how many half-hours and starts were known then."""


class Autoscaler:
    """One for all services. In memory only."""

    def __init__(self, monotonic: Callable[[], float], told: Told = lambda _stage, _seconds: None) -> None:
        """told: hears how long each stage of each start took."""
        self._monotonic, self._starts = monotonic, StartWatch(told)
        self._services: dict[Key, _Service] = {}

    def forget(self, key: Key) -> None:
        """The service is gone."""
        self._services.pop(key, None)
        self._starts.forget(key)

    def look(self, observed: Observed, now: datetime) -> Scaling | None:
        """What status.scaling should be: the decision of this moment, or the one that stands. None without autoscaling."""
        service = observed.service
        key = Key("InferenceService", service.metadata.namespace, service.metadata.name)
        starts, autoscaling = self._starts.look(key, observed, now), service.spec.autoscaling
        if autoscaling is None:
            self._services.pop(key, None)
            return None
        known = self._of(key, service, autoscaling, starts)
        return self._decided(known, observed, autoscaling, now)

    def _of(self, key: Key, service: InferenceService, autoscaling: Autoscaling, starts: Starts) -> _Service:
        known, windows = self._services.get(key), (autoscaling.stable_window_seconds, autoscaling.panic_window_seconds)
        if known is None or known.uid != service.metadata.uid or known.windows != windows:
            before = service.status.scaling
            known = _Service(
                service.metadata.uid,
                Tracker(
                    *windows,
                    service_seconds=before.service_seconds if before else None,
                    profile=_profile(before),
                ),
                starts,
                windows,
                written=(self._monotonic(), (0, 0)),
            )
            self._services[key] = known
        return known

    def _decided(self, known: _Service, observed: Observed, autoscaling: Autoscaling, now: datetime) -> Scaling | None:
        service, monotonic = observed.service, self._monotonic()
        sample, complete = known.meter.sample(observed, now, monotonic)
        if complete:
            known.deaf_since = None
        elif known.deaf_since is None:
            known.deaf_since = monotonic
        deaf = known.deaf_since is not None and monotonic - known.deaf_since < _DEAF_SECONDS
        if sample is not None and not deaf:
            known.tracker.sample(sample)
        current = service.target()
        first = sample is not None and sample.backlog > 0 and current == 0
        recent = known.decided_at is not None and 0 <= monotonic - known.decided_at < _LEAST_SECONDS
        if recent and not first:
            return service.status.scaling or known.told
        known.decided_at = monotonic
        horizon = known.starts.horizon()
        limits, problems = in_force(autoscaling, now, horizon)
        ready = sum(pod.role == "replica" and pod.ready and pod.running for pod in observed.pods)
        starting = max(0, len(active(service)) - ready)
        policy = self._policy(known, service, autoscaling, ready, monotonic)
        decision = known.tracker.decide(
            Moment(monotonic, now.timestamp()),
            Replicas(current, ready, starting),
            limits,
            policy,
            horizon=horizon,
            complete=sample is not None and not deaf,
            predictive=autoscaling.predictive,
        )
        return self._told_of(known, service, decision, problems, policy, (ready, starting), now)

    def _policy(
        self, known: _Service, service: InferenceService, autoscaling: Autoscaling, ready: int, monotonic: float
    ) -> Policy:
        slots = float(service.spec.gateway.max_concurrency)
        target = autoscaling.target or slots
        if autoscaling.metric == "Latency" and autoscaling.latency_objective_ms is not None:
            window = known.tracker.history.window(autoscaling.panic_window_seconds)
            if window and ready and window.rate > 0 and monotonic - known.fitted_at >= autoscaling.panic_window_seconds:
                known.fitted_at = monotonic
                known.latency.add(window.in_flight / ready, window.in_flight / window.rate)
            target = known.latency.target(autoscaling.latency_objective_ms / 1000, min(target, slots))
        counts_rate = autoscaling.metric == "Rate"
        percent = autoscaling.target_utilization
        return Policy(
            counts_rate=counts_rate,
            target=target if counts_rate else min(target, slots),
            slots=slots,
            utilization=percent / 100 if percent else None,
            stable_seconds=autoscaling.stable_window_seconds,
            idle_seconds=autoscaling.scale_to_zero_after_seconds,
        )

    def _told_of(
        self,
        known: _Service,
        service: InferenceService,
        decision: Decision,
        problems: tuple[str, ...],
        policy: Policy,
        counts: tuple[int, int],
        now: datetime,
    ) -> Scaling:
        """The record of the decision, or the one that the status shows if this one brings no news."""
        before, monotonic = service.status.scaling, self._monotonic()
        learned = (known.tracker.profile.changes, known.starts.count)
        patience = _START_SECONDS if learned[1] != known.written[1][1] else _LEARNED_SECONDS
        rich = learned != known.written[1] and monotonic - known.written[0] >= patience
        limits = [_kind(each) for each in (*decision.limits, *problems)]
        same = before is not None and before.desired == decision.desired
        if same and before is not None and [_kind(each) for each in before.limits] == limits and not rich:
            return before
        known.written = (monotonic, learned)
        last = known.tracker.history.last
        known.told = Scaling(
            desired=decision.desired,
            reason=decision.reason,
            message=decision.message[:2048],
            limits=[*decision.limits, *problems][:4],
            decided_at=now,
            metric=service.spec.autoscaling.metric if service.spec.autoscaling else "",
            demand=_short(decision.demand),
            stable=_short(decision.stable),
            panic=_short(decision.panic),
            forecast=_short(decision.forecast),
            target=_short(policy.target),
            horizon_seconds=_short(known.starts.horizon()),
            held=last.held if last else 0,
            queued=last.queued if last else 0,
            in_flight=last.in_flight if last else 0,
            ready=counts[0],
            starting=counts[1],
            service_seconds=known.tracker.learned_service_seconds,
            cold_start=known.starts.cold_start(),
            profile=_levels(known.tracker.profile),
        )
        return known.told


def _kind(limit: str) -> str:
    """A met limit without its number: 'wanted 7, ...' and 'wanted 8, ...' are the same news."""
    return limit.split(", ", 1)[-1]


def _short(value: float) -> float:
    return round(value, 3)


def _levels(profile: DailyProfile) -> list[float]:
    return [_short(each) for each in profile.levels] if profile.changes or max(profile.levels) >= 0 else []


def _profile(before: Scaling | None) -> DailyProfile:
    if before is None or len(before.profile) != HALF_HOURS:
        return DailyProfile()
    return DailyProfile(list(before.profile))
