"""The decision: how many replicas, and the arithmetic in words. A pure function of what was measured.

The demand is the work that arrives (rate x time of an answer, Little's law), not the requests that are there: those that wait
while the first replica loads are a backlog that the replicas on their way will work off, and not a reason for more of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil, isfinite, sqrt

from trainyard.inference.autoscale.history import Window

QUALITY = 1.0
"""Slots kept free, in square roots of the demand. Source: Halfin and Whitt, Heavy-traffic limits for queues with many
exponential servers, Operations Research 29 (1981): with 1.0 about one request in five waits, and that shortly, however large the service is."""
RATE_UTILIZATION = 0.8
SURGE = 3.0
"""Standard deviations of a Poisson process by which the panic window must exceed the stable one."""
DRAIN = 0.33
_MOST_MEMORY = 64
_EPSILON = 1e-9
_KNOWN = 0.9
"""Part of the stable window that must have been seen before fewer are wanted: an operator that has just started knows nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds in force and where each is written."""

    minimum: int
    maximum: int
    minimum_of: str = "minReplicas"
    maximum_of: str = "maxReplicas"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user asks for."""

    counts_rate: bool = False
    """The target is requests a second, not at a time."""
    target: float = 1.0
    slots: float = 1.0
    """Requests that a replica really takes at a time."""
    utilization: float | None = None
    """Part of the target that is planned with; None keeps what random arrivals need."""
    stable_seconds: float = 60.0
    idle_seconds: float = 300.0
    quality: float = QUALITY
    """Of a staffing without `utilization`."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision hands to the next."""

    wanted: tuple[tuple[float, int], ...] = ()
    """Times and numbers that were wanted, each larger than all after it."""
    lowered_at: float | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was measured. Times in monotonic seconds."""

    now: float
    current: int
    """Replicas wanted until now."""
    ready: int = 0
    starting: int = 0
    held: int = 0
    queued: int = 0
    in_flight: int = 0
    complete: bool = True
    """Every gateway was heard a moment ago."""
    stable: Window | None = None
    panic: Window | None = None
    service_seconds: float = 1.0
    """Mean time of an answer, without waiting."""
    slope: float = 0.0
    """How much the rate of requests rises, a second."""
    season: float | None = None
    """Demand foretold by earlier days for `now + horizon`."""
    horizon: float = 30.0
    """Seconds that a replica takes to start."""
    idle_seconds: float = 0.0
    """Since the last request was there."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How many, and why."""

    desired: int
    reason: str
    message: str
    limits: tuple[str, ...] = ()
    demand: float = 0.0
    stable: float = 0.0
    panic: float = 0.0
    forecast: float = 0.0
    memory: Memory = field(default_factory=Memory)


def decide(inputs: Inputs, limits: Limits, policy: Policy, memory: Memory = Memory()) -> Decision:
    """The number of replicas that should be wanted now. Always within the limits."""
    inputs = replace(inputs, stable=_believed(inputs.stable, policy.stable_seconds))
    backlog = inputs.held + inputs.queued
    if not inputs.complete and not backlog:
        kept, met = _bounded(inputs.current, limits)
        said = f"{kept}: no recent word of every gateway, the number is kept"
        return Decision(kept, "NoData", said, met, memory=memory)
    seen = _Demand.of(inputs, policy)
    wanted = _replicas(seen.planned, policy)
    reason, words = seen.reason, seen.words
    if backlog + inputs.in_flight:
        wanted = max(1, wanted)
        if inputs.current == 0:
            reason, words = "FromZero", f"{backlog} requests wait for the first replica"
    elif inputs.current == 0 and (inputs.season or 0.0) < 1:
        wanted = 0
    elif inputs.idle_seconds >= policy.idle_seconds and (inputs.season or 0.0) < 1:
        wanted, reason = 0, "Idle"
        words = f"no request for {inputs.idle_seconds:.0f} s"
    elif inputs.current > 0:
        wanted = max(1, wanted)
    bounded, met = _bounded(wanted, limits)
    memory = _remembered(memory, inputs.now, bounded)
    desired, why = _calmed(bounded, inputs, limits, policy, memory, at_once=reason == "Idle")
    if why:
        reason, words = why[0], f"{words}; {why[1]}"
    if desired < inputs.current:
        memory = replace(memory, lowered_at=inputs.now)
    message = f"{desired}: {words}" + "".join(f"; {each}" for each in met)
    return Decision(desired, reason, message, met, seen.planned, seen.stable, seen.panic, seen.forecast, memory)


@dataclass(frozen=True, slots=True)
class _Demand:
    planned: float
    stable: float
    panic: float
    forecast: float
    reason: str
    words: str

    @classmethod
    def of(cls, inputs: Inputs, policy: Policy) -> "_Demand":
        """The demand to plan for: the mean, unless a surge, the trend or earlier days say more; and the backlog that will be left."""
        weight = 1.0 if policy.counts_rate else inputs.service_seconds
        stable, panic = _load(inputs.stable, inputs, policy), _load(inputs.panic, inputs, policy)
        unit = "requests a second" if policy.counts_rate else "requests at a time"
        planned, reason = stable, "Demand"
        words = f"{stable:.1f} {unit} over {_span(inputs.stable)}"
        panic *= _sure(inputs.panic)
        if _surge(inputs.stable, inputs.panic) and panic > stable:
            planned, reason, words = (
                panic,
                "Surge",
                f"{panic:.1f} {unit} over {_span(inputs.panic)}, before {stable:.1f}",
            )
        forecast = planned + max(0.0, inputs.slope) * weight * inputs.horizon
        if forecast > planned * 1.02 + _EPSILON:
            planned, reason = forecast, "Trend"
            words += f", rising to {forecast:.1f} within the {inputs.horizon:.0f} s of a start"
        if inputs.season is not None and inputs.season > planned:
            planned, reason = inputs.season, "DailyPattern"
            words += f", on earlier days {inputs.season:.1f} at the time when a start ends"
        forecast = max(forecast, planned)
        extra = _backlog_work(inputs, policy, weight)
        if extra > 0:
            planned += extra
            words += f", {inputs.held + inputs.queued} waiting add {extra:.1f}"
            reason = "Backlog" if extra > planned / 4 else reason
        words += f"; one replica takes {policy.target:g}" + (
            f", planned with {100 * policy.utilization:.0f} %" if policy.utilization is not None else ""
        )
        return cls(planned, stable, panic, forecast, reason, words)


def _load(window: Window | None, inputs: Inputs, policy: Policy) -> float:
    """Demand over a window."""
    if window is None:
        return 0.0
    if policy.counts_rate:
        return window.rate
    return window.rate * inputs.service_seconds


def _span(window: Window | None) -> str:
    return f"{window.seconds:.0f} s" if window is not None else "no time yet"


def _sure(window: Window | None) -> float:
    """Part of a short window's requests that stand for more than chance: all but one standard deviation."""
    count = window.rate * window.seconds if window is not None else 0.0
    return max(0.0, 1 - 1 / sqrt(count)) if count > 0 else 0.0


def _believed(window: Window | None, whole: float) -> Window | None:
    """A window that is not whole yet may hold its requests by chance: the first of all, a moment after the start, is no stream."""
    if window is None or window.seconds >= _KNOWN * whole:
        return window
    return replace(window, rate=window.rate * _sure(window))


def _surge(stable: Window | None, panic: Window | None) -> bool:
    """More requests came in the panic window than chance explains."""
    if stable is None or panic is None:
        return False
    noise = sqrt(max(0.0, stable.rate) * panic.seconds) / panic.seconds
    return panic.rate > stable.rate + SURGE * noise + 1 / panic.seconds


def _backlog_work(inputs: Inputs, policy: Policy, weight: float) -> float:
    """Demand that the backlog adds: what will be left of it when a replica started now answers, worked off in as long again."""
    backlog = inputs.held + inputs.queued
    if not backlog:
        return 0.0
    window = inputs.panic if _surge(inputs.stable, inputs.panic) else inputs.stable
    rate = window.rate if window is not None else 0.0
    each = (policy.target if policy.counts_rate else policy.slots) / weight
    # A replica that starts already will answer for half of that time, on average.
    gone = inputs.horizon * each * (inputs.ready + inputs.starting / 2)
    left = max(0.0, backlog + inputs.horizon * rate - gone)
    return left * weight / max(DRAIN * inputs.horizon, 5.0)


def _replicas(demand: float, policy: Policy) -> int:
    if demand <= _EPSILON or not isfinite(demand):
        return 0
    if policy.utilization is not None:
        slots = demand / policy.utilization
    elif policy.counts_rate:
        slots = demand / RATE_UTILIZATION
    else:
        slots = demand + policy.quality * sqrt(demand)
    return ceil(slots / policy.target - _EPSILON)


def _bounded(wanted: int, limits: Limits) -> tuple[int, tuple[str, ...]]:
    if wanted > limits.maximum:
        return limits.maximum, (f"wanted {wanted}, {limits.maximum_of} is {limits.maximum}",)
    if wanted < limits.minimum:
        return limits.minimum, (f"wanted {wanted}, {limits.minimum_of} is {limits.minimum}",)
    return wanted, ()


def _remembered(memory: Memory, now: float, wanted: int) -> Memory:
    kept: list[tuple[float, int]] = [each for each in memory.wanted if each[1] > wanted]
    return replace(memory, wanted=(*kept, (now, wanted))[-_MOST_MEMORY:])


def _calmed(
    wanted: int, inputs: Inputs, limits: Limits, policy: Policy, memory: Memory, *, at_once: bool
) -> tuple[int, tuple[str, str] | None]:
    """Up at once; down only to what was enough for a while, by half at most, and never below what is in flight."""
    current = inputs.current
    if wanted >= current or at_once:
        return wanted, None
    if current > limits.maximum:
        return limits.maximum, None
    known = inputs.stable.seconds if inputs.stable is not None else 0.0
    if known < _KNOWN * policy.stable_seconds:
        return current, ("Calming", f"the demand of {known:.0f} s only is known")
    span = calm_seconds(inputs.horizon, policy)
    recent: Sequence[int] = [number for time, number in memory.wanted if inputs.now - time < span]
    floor = max(recent, default=wanted)
    busy = ceil(inputs.in_flight / policy.slots) if policy.slots > 0 else 0
    target = max(floor, busy, current - max(1, current // 2))
    if target >= current:
        if busy > floor:
            return current, ("Busy", f"{inputs.in_flight} in flight keep {current}")
        return current, ("Calming", f"{floor} were wanted within the last {span:.0f} s")
    if memory.lowered_at is not None and 0 <= inputs.now - memory.lowered_at < policy.stable_seconds / 4:
        return current, ("Calming", "a replica was taken away a moment ago")
    return target, None


def calm_seconds(horizon: float, policy: Policy) -> float:
    """How long fewer must have been enough: as long as it would take to get one back, if that is longer than the window."""
    return max(policy.stable_seconds, min(2 * horizon, 600.0))
