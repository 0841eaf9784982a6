"""The simulation under the autoscaling benchmark, and the algorithm it compares with."""

from tests.bench.autoscale import Ours, arrivals, good
from tests.bench.autoscale_kpa import Kpa
from tests.bench.autoscale_sim import Fixed, Request, View, simulate


def a_view(now: float, **fields: float) -> View:
    given = {"requests": 0, "held": 0, "queued": 0, "in_flight": 0, "ready": 0, "starting": 0}
    return View(now, **{name: int(fields.get(name, each)) for name, each in given.items()}, mean_start=None)


def test_nobody_waits_while_a_slot_is_free_and_all_are_answered() -> None:
    requests = [Request(float(each), 3.0) for each in range(50)]
    found = simulate(requests, Fixed(1), slots=3, initial=1)
    assert found.waits == [0.0] * 50
    assert found.replica_seconds == 52.0
    assert found.starts == 0
    queued = simulate(requests, Fixed(1), slots=2, initial=1)
    assert max(queued.waits) > 20
    assert len(queued.waits) == 50


def test_knatives_autoscaler_starts_one_panics_and_holds_its_peak() -> None:
    kpa = Kpa(4)
    assert kpa.wanted(a_view(0.0)) == 0
    assert kpa.wanted(a_view(1.0, held=1)) == 1
    for second in range(2, 12):
        peak = kpa.wanted(a_view(float(second), held=10 * second, starting=1))
    assert peak > 10
    for second in range(12, 40):
        after = kpa.wanted(a_view(float(second), ready=peak))
    assert after == peak


def test_from_zero_ours_starts_fewer_and_more_requests_are_good() -> None:
    requests = arrivals(lambda _: 4.0, 4.0, 900.0, 12)
    ours, kpa = simulate(requests, Ours(), slots=4), simulate(requests, Kpa(4), slots=4)
    assert ours.starts < kpa.starts
    assert good(ours) >= good(kpa)
