"""Benchmark `canary`: does the comparison find bad canaries in time, let good ones pass, and raise no false alarm?

2,000 simulated rollouts of each kind, looked at after every 50 requests of the canary, which gets one request in ten. The stable
revision fails 0.1 % of its requests; its times are log-normal with sigma 0.6 round 20 ms, as are those of a good canary. Bad ones fail 5 %,
take twice as long, or answer 5 % of the compared requests differently (a good one 0.2 %). Margins are the defaults: 1 percentage
point of errors, 1.25 times the 95th percentile, 2 % of differing answers. `rolled_back` is the share within 2,500 requests of the
canary, `promoted` that of good ones within 4,000; `false_alarms` is the share of good ones that 4,000 requests would ever roll back,
promoted or not; `edge` is a canary exactly at every margin, the hardest
of those that must not be rolled back. All in percent. `make bench NAME=canary`.
"""

import argparse
import json
from dataclasses import dataclass

import numpy as np
from gateway.traffic import Traffic

from trainyard.inference.rollout.counting import Counter, TrafficReport, answers
from trainyard.inference.rollout.latency import allowed, bucket, limit_of
from trainyard.inference.rollout.verdict import Answers, Comparison, Margins, Outcome, Tally, judge

RUNS, LOOK, LIMIT, LONG = 2000, 50, 2500, 4000
STABLE_PER_CANARY = 9
BEFORE = 1000
"""Answers of the stable revision from which its limit of time is taken."""
RATIO, MINIMUM = 1.25, 500
DIGEST = "sha256:" + "b" * 64


@dataclass(frozen=True)
class Kind:
    """What a canary does."""

    errors: float = 0.001
    times: float = 1.0
    differing: float = 0.002


KINDS = {
    "edge": Kind(errors=0.011, times=1.25, differing=0.02),
    "good": Kind(),
    "errors": Kind(errors=0.05),
    "latency": Kind(times=2.0),
    "answers": Kind(differing=0.05),
}
BAD = ("errors", "latency", "answers")


@dataclass(frozen=True)
class Run:
    """When it was decided, in requests of the canary; None where it was not."""

    promoted: int | None
    rolled_back: int | None


class Pairs:
    """Compared answers, counted by a gateway, told in its reports, and added up by the operator."""

    def __init__(self) -> None:
        self._traffic, self._counter = Traffic("boot"), Counter("bench")
        self._report()

    def answered(self, differed: np.ndarray) -> Answers:
        """All that was compared, after so many answers more."""
        for each in differed:
            self._traffic.compare(DIGEST, differs=bool(each))
        self._report()
        return answers(self._counter.of("service").of(DIGEST).beyond(None))

    def _report(self) -> None:
        self._counter.put("service", "gateway", TrafficReport.model_validate(self._traffic.report()))


def run(kind: Kind, random: np.random.Generator, longest: int) -> Run:
    """One rollout. A promotion is noted and the looks go on, so that alarms after it count."""
    limit = limit_of(_histogram(_times(random, BEFORE)))
    assert limit is not None
    looks = longest // LOOK
    stable = _tallies(random, looks, LOOK * STABLE_PER_CANARY, 0.001, 1.0, limit)
    canary = _tallies(random, looks, LOOK, kind.errors, kind.times, allowed(limit, RATIO))
    pairs = Pairs()
    differed = random.random((looks, LOOK)) < kind.differing
    promoted = None
    for index in range(looks):
        seen = Comparison(stable[index], canary[index], pairs.answered(differed[index]), shadowed=True)
        verdict = judge(seen, Margins(), MINIMUM)
        if verdict.outcome is Outcome.ROLL_BACK:
            return Run(promoted, (index + 1) * LOOK)
        if verdict.outcome is Outcome.PROMOTE and promoted is None:
            promoted = (index + 1) * LOOK
    return Run(promoted, None)


def _tallies(
    random: np.random.Generator, looks: int, each: int, errors: float, times: float, limit: int
) -> list[Tally]:
    failed = np.cumsum(random.binomial(each, errors, looks))
    edge = 2 ** (limit / 8)
    slow = np.cumsum((_times(random, looks * each, times).reshape(looks, each) > edge).sum(axis=1))
    return [
        Tally((index + 1) * each, int(failed[index]), (index + 1) * each, int(slow[index])) for index in range(looks)
    ]


def _times(random: np.random.Generator, count: int, factor: float = 1.0) -> np.ndarray:
    return random.lognormal(np.log(20.0 * factor), 0.6, count)


def _histogram(times: np.ndarray) -> dict[int, int]:
    found: dict[int, int] = {}
    for each in times:
        index = bucket(float(each))
        found[index] = found.get(index, 0) + 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = {}
    for number, (name, kind) in enumerate(KINDS.items()):
        random = np.random.default_rng([options.seed, number])
        found[name] = [run(kind, random, LIMIT if name in BAD else LONG) for _ in range(options.runs)]
        known = sorted(filter(None, (each.rolled_back if name in BAD else each.promoted for each in found[name])))
        if known:
            print(f"{name}: decided after {known[len(known) // 2]} requests of the canary (median), {known[-1]} (most)")
    figures = {"edge/false_alarms": [each.rolled_back is not None for each in found["edge"]]}
    figures |= {f"{name}/rolled_back": [each.rolled_back is not None for each in found[name]] for name in BAD}
    figures["good/promoted"] = [each.promoted is not None for each in found["good"]]
    figures["good/false_alarms"] = [each.rolled_back is not None for each in found["good"]]
    for key, holds in figures.items():
        line = {"name": f"canary/{key}", "value": round(100 * sum(holds) / len(holds), 3), "unit": "%"}
        print(json.dumps(line | {"runs": options.runs}), flush=True)


if __name__ == "__main__":
    main()
