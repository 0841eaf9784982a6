"""Autoscaling: ours, Knative's algorithm and a fixed size on the same requests, in a simulation.

    make bench NAME=autoscale

The trace is an hour of a real conversation service (data/azure_llm). A request takes 0.25 ms for each token of its context and
25 ms for each that is generated, whatever else its replica does; a replica takes four at a time. A start takes about 29 s (stages
in `autoscale_sim.STAGES`). A request is good if it is answered within 1.25 x its own time + 2 s. Both autoscalers begin with no
replica and none of what they may learn; the fixed size is the smallest that is as good as ours, there from the beginning. The
other patterns, made from a seed, show that nothing was fitted to the trace.
"""

import json
import lzma
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.bench.autoscale_kpa import Kpa
from tests.bench.autoscale_sim import Fixed, Outcome, Request, View, simulate
from trainyard.inference.autoscale.decide import Limits, Policy
from trainyard.inference.autoscale.history import Sample
from trainyard.inference.autoscale.tracker import Moment, Replicas, Tracker

SLOTS = 4
SLACK, FACTOR = 2.0, 1.25
PREFILL, DECODE = 0.25e-3, 25e-3
_FILE = Path(__file__).parent / "data" / "azure_llm" / "conversation.csv.xz"
_HOUR = 3600.0
_EPOCH = 1_700_000_000.0 // 86_400 * 86_400
_UNKNOWN_START_SECONDS = 30.0


class Ours:
    """Trainyard's own code, fed as its controller feeds it."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy(target=SLOTS, slots=SLOTS)
        self.tracker = Tracker(self.policy.stable_seconds, self.policy.stable_seconds / 10)
        self.limits = Limits(0, 1000)
        self._turn = self._wanted = 0

    def wanted(self, view: View) -> int:
        self.tracker.sample(Sample(view.now, view.requests, view.held, view.queued, view.in_flight))
        self._turn += 1
        if self._turn % 2 == 0 and not (view.held and not self._wanted):
            return self._wanted
        decision = self.tracker.decide(
            Moment(view.now, _EPOCH + view.now),
            Replicas(self._wanted, view.ready, view.starting),
            self.limits,
            self.policy,
            horizon=view.mean_start or _UNKNOWN_START_SECONDS,
        )
        self._wanted = decision.desired
        return self._wanted


def trace() -> list[Request]:
    """The conversation trace."""
    lines = lzma.decompress(_FILE.read_bytes()).decode().split()[1:]
    rows = ([int(each) for each in line.split(",")] for line in lines)
    return [Request(at / 1000, PREFILL * context + DECODE * generated) for at, context, generated in rows]


def arrivals(rate: Callable[[float], float], most: float, seconds: float, seed: int) -> list[Request]:
    """Poisson arrivals at `rate` requests a second (at most `most`), by thinning; 5 s of work each, exponential."""
    random, found, now = Random(seed), list[Request](), 0.0
    while (now := now + random.expovariate(most)) < seconds:
        if random.random() * most < rate(now):
            found.append(Request(now, 0.2 + random.expovariate(1 / 4.8)))
    return found


def patterns() -> Iterator[tuple[str, list[Request]]]:
    """Demand of other shapes."""
    yield "step", arrivals(lambda t: 6.0 if 1200 <= t < 2700 else 1.0, 6.0, _HOUR, 1)
    yield "ramp", arrivals(lambda t: 0.5 + 7.5 * min(t, _HOUR - t) / 1800, 8.0, _HOUR, 2)
    yield "bursts", arrivals(lambda t: 8.0 if t % 600 < 60 else 1.0, 8.0, _HOUR, 3)
    yield "constant", arrivals(lambda _: 4.0, 4.0, _HOUR, 4)
    yield "sparse", arrivals(lambda t: 0.5 if t % 1800 < 300 else 0.0, 0.5, 2 * _HOUR, 5)
    yield "daily", arrivals(_daily, 2.0, 4 * 24 * _HOUR, 6)


def _daily(now: float) -> float:
    """Two busy spells a day, a jump in the morning, next to nothing at night."""
    hour = now / _HOUR % 24
    return 0.0 if hour < 7 else 2.0 * math.exp(-(((hour - 10) / 3) ** 2)) + 1.2 * math.exp(-(((hour - 19) / 2) ** 2))


def good(outcome: Outcome) -> float:
    """SLO attainment."""
    return outcome.attainment(SLACK, FACTOR)


def smallest(requests: list[Request], wanted: float) -> tuple[int, Outcome]:
    """The smallest fixed number of replicas that is as good."""
    number = 1
    while good(found := simulate(requests, Fixed(number), slots=SLOTS, initial=number)) < wanted:
        number += 1
    return number, found


def main() -> None:
    """Print one line of JSON for each figure."""
    requests = trace()
    ours, kpa = simulate(requests, Ours(), slots=SLOTS), simulate(requests, Kpa(SLOTS), slots=SLOTS)
    number, fixed = smallest(requests, good(ours))
    _say("autoscale/attainment", 100 * good(ours), "% of requests")
    _say("autoscale/attainment/kpa", 100 * good(kpa), "% of requests")
    _say("autoscale/attainment/fixed", 100 * good(fixed), "% of requests", replicas=number)
    for name, each in (("ours", ours), ("kpa", kpa), ("fixed", fixed)):
        _say(f"autoscale/replica_hours/{name}", each.replica_seconds / _HOUR, "h", most=each.most)
    _say("autoscale/replica_hours/ratio_kpa", ours.replica_seconds / kpa.replica_seconds, "x KPA")
    _say("autoscale/replica_hours/ratio_fixed", ours.replica_seconds / fixed.replica_seconds, "x fixed")
    _say("autoscale/cold_starts", ours.starts, "")
    _say("autoscale/cold_starts/kpa", kpa.starts, "")
    for stage, seconds in ours.stages.items():
        _say(f"autoscale/cold_start/{stage}", seconds / max(1, ours.starts), "s, mean, simulated")
    for name, made in patterns():
        ours, kpa = simulate(made, Ours(), slots=SLOTS), simulate(made, Kpa(SLOTS), slots=SLOTS)
        _say(f"autoscale/{name}/attainment", 100 * good(ours), "% of requests", kpa=round(100 * good(kpa), 2))
        _say(f"autoscale/{name}/replica_hours/ratio_kpa", ours.replica_seconds / kpa.replica_seconds, "x KPA")
        _say(f"autoscale/{name}/cold_starts", ours.starts, "", kpa=kpa.starts)


def _say(name: str, value: float, unit: str, **more: float) -> None:
    print(json.dumps({"name": name, "value": round(float(value), 3), "unit": unit, **more}), flush=True)


if __name__ == "__main__":
    main()
