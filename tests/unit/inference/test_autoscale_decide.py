"""The decision itself: properties over everything that can be measured, and the cases that people meet."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.inference.autoscale.decide import Decision, Inputs, Limits, Memory, Policy, decide
from trainyard.inference.autoscale.history import Window

POLICY = Policy(target=4, slots=4)
WIDE = Limits(0, 1000)


def window(rate: float, seconds: float = 60.0) -> Window:
    return Window(seconds, rate, rate * 2, 0.0)


def seen(rate: float = 0.0, panic: float | None = None, **more: Any) -> Inputs:
    given_: dict[str, Any] = {
        "now": 1000.0,
        "current": 1,
        "ready": 1,
        "service_seconds": 2.0,
        "stable": window(rate),
        "panic": window(rate if panic is None else panic, 6.0),
        **more,
    }
    return Inputs(**given_)


amounts = st.floats(0, 1e6)
counts = st.integers(0, 1000)
limits = st.tuples(counts, st.integers(1, 1000)).map(lambda both: Limits(min(both), max(both)))
inputs = st.builds(
    Inputs,
    now=st.floats(0, 1e9),
    current=counts,
    ready=counts,
    starting=counts,
    held=counts,
    queued=counts,
    in_flight=counts,
    complete=st.booleans(),
    stable=st.none() | amounts.map(window),
    panic=st.none() | amounts.map(lambda rate: window(rate, 6.0)),
    service_seconds=st.floats(0.001, 1e4),
    slope=st.floats(-100, 100),
    season=st.none() | amounts,
    horizon=st.floats(1, 900),
    idle_seconds=st.floats(0, 1e6),
)
policies = st.builds(
    Policy,
    counts_rate=st.booleans(),
    target=st.floats(0.1, 1000),
    slots=st.floats(1, 1000),
    utilization=st.none() | st.floats(0.1, 1),
)
memories = st.builds(
    Memory,
    wanted=st.lists(st.tuples(st.floats(0, 1e9), counts), max_size=5).map(tuple),
    lowered_at=st.none() | st.floats(0, 1e9),
)


@given(inputs, limits, policies, memories)
def test_every_decision_is_within_the_limits_and_explained(
    measured: Inputs, bounds: Limits, policy: Policy, memory: Memory
) -> None:
    found = decide(measured, bounds, policy, memory)
    assert bounds.minimum <= found.desired <= bounds.maximum
    assert found.message.startswith(f"{found.desired}: ")
    assert len(found.message) < 2048
    assert len(found.memory.wanted) <= 64


@given(st.floats(0, 1000), st.floats(0, 1000), counts)
def test_more_demand_never_wants_fewer(one: float, other: float, current: int) -> None:
    low, high = sorted((one, other))
    numbers = [decide(seen(rate, current=current, in_flight=1), WIDE, POLICY).desired for rate in (low, high)]
    assert numbers[0] <= numbers[1]


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 20))
def test_more_waiting_never_wants_fewer(one: int, other: int, ready: int) -> None:
    low, high = sorted((one, other))
    numbers = [decide(seen(2.0, queued=each, ready=ready, current=ready), WIDE, POLICY).desired for each in (low, high)]
    assert numbers[0] <= numbers[1]


def test_the_first_request_starts_a_replica_at_once() -> None:
    nothing = seen(current=0, ready=0, stable=None, panic=None)
    assert decide(nothing, WIDE, POLICY).desired == 0
    found = decide(seen(current=0, ready=0, held=1, stable=None, panic=None, complete=False), WIDE, POLICY)
    assert (found.desired, found.reason) == (1, "FromZero")


def test_the_first_request_of_all_starts_one_replica_and_no_more() -> None:
    """A moment after the gateways were heard for the first time, a single request looks like a stream of them."""
    moment = Window(0.6, 1 / 0.6, 0.0, 0.5)
    first = seen(current=0, ready=0, held=1, service_seconds=9.3, horizon=30.0)
    decision = decide(replace(first, stable=moment, panic=moment), WIDE, Policy(target=32, slots=32))
    assert (decision.desired, decision.reason) == (1, "FromZero")


def test_no_replica_is_wanted_after_an_idle_time_but_not_before() -> None:
    assert decide(seen(idle_seconds=299, current=2), WIDE, POLICY).desired >= 1
    found = decide(seen(idle_seconds=300, current=2), WIDE, POLICY)
    assert (found.desired, found.reason) == (0, "Idle")
    assert decide(seen(idle_seconds=300, current=2), Limits(1, 5), POLICY).desired == 1


def test_a_met_limit_is_said_with_the_number_that_was_wanted() -> None:
    found = decide(seen(12.0), Limits(0, 4, maximum_of="spec.autoscaling.maxReplicas"), POLICY)
    assert found.desired == 4
    assert found.limits == ("wanted 8, spec.autoscaling.maxReplicas is 4",)
    assert found.limits[0] in found.message


@pytest.mark.fault(90)
def test_those_that_start_count_against_what_waits() -> None:
    waiting = {"held": 40, "ready": 0, "current": 6}
    alone = decide(seen(1.5, starting=0, **waiting), WIDE, POLICY)
    helped = decide(seen(1.5, starting=6, **waiting), WIDE, POLICY)
    assert helped.desired < alone.desired


def test_a_surge_is_followed_although_the_mean_is_low() -> None:
    calm = decide(seen(1.0, panic=1.3, in_flight=1), WIDE, POLICY)
    surge = decide(seen(1.0, panic=10.0, in_flight=1), WIDE, POLICY)
    assert calm.reason == "Demand"
    assert surge.reason == "Surge"
    assert surge.desired > 2 * calm.desired


def test_a_trend_is_followed_by_the_time_that_a_start_takes() -> None:
    near, far = (decide(seen(2.0, slope=0.1, horizon=each), WIDE, POLICY).forecast for each in (10.0, 100.0))
    assert near == pytest.approx((2.0 + 0.1 * 10) * 2)
    assert far == pytest.approx((2.0 + 0.1 * 100) * 2)


def test_what_earlier_days_foretell_is_ready_in_time() -> None:
    found = decide(seen(current=0, ready=0, season=12.0), WIDE, POLICY)
    assert (found.desired, found.reason) == (4, "DailyPattern")


def test_fewer_are_wanted_only_after_they_were_enough_for_a_while() -> None:
    memory, number, history = Memory(), 8, []
    for step in range(100):
        found: Decision = decide(seen(1.0, now=2.0 * step, current=number, ready=number), WIDE, POLICY, memory)
        memory, number = found.memory, found.desired
        history.append(number)
    assert history[-1] == 1
    memory = decide(seen(20.0, now=0.0, current=8), WIDE, POLICY).memory
    kept = decide(seen(1.0, now=50.0, current=12, ready=12), WIDE, POLICY, memory)
    assert (kept.desired, kept.reason) == (12, "Calming")
    later = decide(seen(1.0, now=61.0, current=12, ready=12), WIDE, POLICY, kept.memory)
    assert later.desired == 6  # by half at most
    assert decide(seen(1.0, now=63.0, current=6, ready=6), WIDE, POLICY, later.memory).desired == 6
    assert decide(seen(1.0, now=80.0, current=6, ready=6), WIDE, POLICY, later.memory).desired == 3


def test_fewer_are_wanted_only_once_a_whole_window_was_seen() -> None:
    short = Window(20.0, 0.1, 0.2, 0.0)
    found = decide(seen(0.1, current=6, ready=6, stable=short), WIDE, POLICY)
    assert (found.desired, found.reason) == (6, "Calming")
    assert decide(seen(0.1, current=6, ready=6), WIDE, POLICY).desired == 3


def test_what_is_in_flight_keeps_its_replicas() -> None:
    found = decide(seen(0.1, current=5, ready=5, in_flight=17), WIDE, POLICY)
    assert (found.desired, found.reason) == (5, "Busy")


@pytest.mark.fault(91)
def test_without_word_of_every_gateway_the_number_is_kept() -> None:
    found = decide(seen(100.0, current=3, complete=False), WIDE, POLICY)
    assert (found.desired, found.reason) == (3, "NoData")


def test_a_large_service_keeps_a_smaller_part_free() -> None:
    small, large = (decide(seen(rate), WIDE, POLICY).desired for rate in (4.0, 400.0))
    assert small == 3  # 8 at a time
    assert large < 210  # 800 at a time: 200 would be none free
    assert decide(seen(400.0), WIDE, Policy(target=4, slots=4, utilization=0.7)).desired == 286


def test_a_rate_is_counted_by_the_second() -> None:
    found = decide(seen(10.0), WIDE, Policy(counts_rate=True, target=2.5, slots=4, utilization=1.0))
    assert found.desired == 4
