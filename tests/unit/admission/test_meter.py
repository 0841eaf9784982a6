"""What everything that holds a place draws and costs, added up by queue and namespace."""

from collections import defaultdict
from datetime import UTC, datetime

import pytest

from trainyard.admission.meter import Meter, drawn
from trainyard.api.flavor import FlavorSpec
from trainyard.api.names import GPU
from trainyard.scheduling.snapshot import Assignment, PodSet, Workload, WorkloadKey

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FLAVORS = {"hot": FlavorSpec(watts_per_unit=700, idle_watts_per_unit=100, price_per_hour=2), "bare": FlavorSpec()}


def a_workload(
    name: str, gpus: int, *, flavor: str | None = "hot", runs: bool = True, namespace: str = "team"
) -> Workload:
    place = Assignment(flavor, {"worker": ("n0", "n1")}) if flavor else None
    key = WorkloadKey("TrainingJob", namespace, name)
    pods = (PodSet("worker", 2, {GPU: gpus * 1000}),)
    return Workload(key, name, "research", NOW, pods, admission=place, started=NOW if runs else None)


class Counts:
    def __init__(self) -> None:
        self.joules: dict[tuple[str, str], float] = defaultdict(float)
        self.cost: dict[tuple[str, str], float] = defaultdict(float)
        self.grams: list[float | None] = []

    def drew(self, queue: str, namespace: str, joules: float, cost: float, grams: float | None) -> None:
        self.joules[queue, namespace] += joules
        self.cost[queue, namespace] += cost
        self.grams.append(grams)


class HandClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.seconds


def test_only_who_holds_a_place_on_a_flavor_that_states_something_draws() -> None:
    there = [
        a_workload("a", 1),
        a_workload("starts", 2, runs=False),
        a_workload("waits", 8, flavor=None),
        a_workload("bare", 8, flavor="bare"),
        a_workload("other", 1, namespace="other"),
    ]
    assert drawn(there, FLAVORS) == {
        ("research", "team"): (2 * 700 + 4 * 100, 2 * 2 + 4 * 2),
        ("research", "other"): (1400, 4),
    }


@pytest.mark.parametrize(("grams_per_kwh", "expected"), [(None, None), (400.0, 1400 * 30 / 3.6e6 * 400)])
def test_what_was_seen_counts_for_the_time_until_the_next_look(
    grams_per_kwh: float | None, expected: float | None
) -> None:
    there, counts, clock = [a_workload("a", 1)], Counts(), HandClock()
    meter = Meter(lambda: there, lambda: FLAVORS, clock, counts, grams_per_kwh)
    meter.look()
    assert counts.joules == {("research", "team"): 0}, "a series begins at 0"
    clock.seconds = 30
    there.clear()
    meter.look()
    assert counts.joules["research", "team"] == pytest.approx(1400 * 30)
    assert counts.cost["research", "team"] == pytest.approx(4 * 30 / 3600)
    assert counts.grams[-1] == (expected if expected is None else pytest.approx(expected))
    clock.seconds = 60
    meter.look()
    assert counts.joules["research", "team"] == pytest.approx(1400 * 30), "it is gone, and draws nothing"
