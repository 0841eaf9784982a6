"""The ideal that the benchmark `balance` measures against."""

import random
from itertools import accumulate
from math import factorial
from statistics import fmean

import pytest

from tests.bench.single_queue import latencies, percentile


def poisson(rate: float, count: int, seed: int = 1) -> list[float]:
    dice = random.Random(seed)
    return list(accumulate(dice.expovariate(rate) for _ in range(count)))


@pytest.mark.parametrize(
    ("arrivals", "work", "slowness", "expected"),
    [
        pytest.param([0.0, 5.0], [1.0, 2.0], [1.0], [1.0, 2.0], id="nobody waits"),
        pytest.param([0.0, 0.0, 0.5], [1.0, 1.0, 1.0], [1.0], [1.0, 2.0, 2.5], id="one after the other"),
        pytest.param([0.0, 0.0], [1.0, 1.0], [3.0, 1.0], [1.0, 3.0], id="the fastest free one first"),
        pytest.param([0.0, 0.1, 0.2], [1.0, 1.0, 1.0], [1.0, 3.0], [1.0, 3.0, 1.8], id="the first to be free"),
        pytest.param([0.0, 0.0, 0.0], [3.0, 1.0, 1.0], [1.0, 3.0], [3.0, 3.0, 4.0], id="the fastest of two at once"),
    ],
)
def test_by_hand(arrivals: list[float], work: list[float], slowness: list[float], expected: list[float]) -> None:
    assert latencies(arrivals, work, slowness) == pytest.approx(expected)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_replica_of_constant_time_waits_as_pollaczek_and_khinchine_say(load: float) -> None:
    count = 100_000
    found = fmean(latencies(poisson(load, count), [1.0] * count, [1.0]))
    assert found == pytest.approx(1 + load / (2 * (1 - load)), rel=0.03)


@pytest.mark.parametrize("load", [0.5, 0.7])
def test_four_equal_replicas_wait_as_erlang_says(load: float) -> None:
    count, servers = 100_000, 4
    dice = random.Random(2)
    found = fmean(latencies(poisson(load * servers, count), [dice.expovariate(1) for _ in range(count)], [1.0] * 4))
    offered = load * servers
    last = offered**servers / factorial(servers) / (1 - load)
    waits = last / (sum(offered**each / factorial(each) for each in range(servers)) + last)
    assert found == pytest.approx(1 + waits / (servers - offered), rel=0.03)


def test_a_percentile_is_one_of_the_values() -> None:
    assert [percentile(range(1, 101), share) for share in (0.01, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7.0
