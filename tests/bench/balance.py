"""Benchmark `balance`: four replicas of which one is three times slower, behind real gateways, beside an ideal single queue.

A replica computes one request at a time, first come, first served. What a request costs is drawn once, log-normal with a mean of 40 ms and sigma 0.5
(constant times would make every p99 a multiple of 40 ms, which hides differences), and is three times that at the slow replica. Requests come
at random (Poisson) at 50, 70 and 85 % of what all four can do, are sent at their time whatever is still unanswered, and their latency counts from
that time. `ratio` is the p99 over that of one queue in front of the same replicas with the same arrivals and costs, in which a free replica takes the
head at no cost, the fastest first (tests/bench/single_queue.py). `rounds_as_sent` is the same from the moment at which a busy machine really
sent each request, on both sides. The first ten seconds, in which gateways learn, are not counted.

Gateways are both containers of their pods as processes, with what the operator sets by default but for what the case says. `make bench NAME=balance`
runs all cases, two rounds of the loads side by side, 17 minutes; `python -m tests.bench.balance --rounds 1 one-gateway` less.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import aiohttp
import numpy as np

from dev.packages import ensure_programs
from tests.bench.balance_rig import served
from tests.bench.single_queue import latencies, percentile
from tests.e2e.gateway_rig import HOST
from trainyard.api.gateway import Gateway as GatewaySpec

LOADS = (50, 70, 85)
SLOWNESS = (1.0, 1.0, 1.0, 3.0)
MEAN_SECONDS, SIGMA = 0.040, 0.5
WARM_SECONDS, COUNTED = 10.0, 4000
BAR = 1.2
_TIMEOUT = aiohttp.ClientTimeout(total=300)


@dataclass(frozen=True)
class Case:
    """A way to spread the requests. spec: what differs from the defaults of spec.gateway; None: plain round robin."""

    name: str
    spec: GatewaySpec | None
    bar: float | None = BAR

    def line(self, load: int) -> str:
        return "/".join(part for part in ("balance", str(load), self.name, "ratio") if part)


CASES = {
    "one-gateway": Case("", GatewaySpec(replicas=1)),
    "two-gateways": Case("two-gateways", GatewaySpec()),
    # Replicas idle from their answer until the next request has come, which no gateway can help: no bar.
    "one-at-a-time": Case("one-at-a-time", GatewaySpec(replicas=1, max_concurrency=1), None),
    "two-gateways-one-at-a-time": Case("two-gateways-one-at-a-time", GatewaySpec(max_concurrency=1), None),
    "round-robin": Case("round-robin", None, None),
}


@dataclass(frozen=True)
class Course:
    """What comes: seconds from the start, what each costs, and which gateway it asks."""

    arrivals: list[float]
    work: list[float]
    gateways: list[float]
    """0 to 1."""

    def ideal(self, late: list[float] | None = None) -> list[float]:
        """Latencies of the single queue; with each so late, from when it was really sent."""
        sent = self.arrivals if late is None else [at + each for at, each in zip(self.arrivals, late, strict=True)]
        return self.counted(latencies(sent, self.work, SLOWNESS))

    def counted(self, each: list[float]) -> list[float]:
        return each[-COUNTED:]


def course(load: int, seed: int) -> Course:
    """So many requests that COUNTED come after the warm-up."""
    random = np.random.default_rng([load, seed])
    rate = load / 100 * sum(1 / each for each in SLOWNESS) / MEAN_SECONDS
    count = COUNTED + round(rate * WARM_SECONDS)
    work = random.lognormal(np.log(MEAN_SECONDS) - SIGMA**2 / 2, SIGMA, count)
    return Course(np.cumsum(random.exponential(1 / rate, count)).tolist(), work.tolist(), random.random(count).tolist())


@dataclass
class Answers:
    """latencies: seconds from the planned arrival, in the order of arrival; late: of them, until it was sent."""

    latencies: list[float]
    late: list[float]
    statuses: Counter[str] = field(default_factory=Counter)
    slow_share: float = 0.0

    def from_sent(self) -> list[float]:
        return [whole - late for whole, late in zip(self.latencies, self.late, strict=True)]


async def measure(case: Case, load: int, seed: int) -> Answers:
    """One course through the gateways."""
    planned = course(load, seed)
    count = len(planned.arrivals)
    found = Answers([0.0] * count, [0.0] * count)
    async with (
        served(case.spec, SLOWNESS) as (workers, ports),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=_TIMEOUT) as session,
    ):
        began = time.monotonic() + 0.1

        async def one(index: int) -> None:
            due = began + planned.arrivals[index]
            found.late[index] = time.monotonic() - due
            url = f"http://{HOST}:{ports[int(planned.gateways[index] * len(ports))]}/infer"
            try:
                async with session.post(url, data=str(planned.work[index])) as answer:
                    await answer.read()
                    found.statuses[str(answer.status)] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                found.statuses[type(error).__name__] += 1
            found.latencies[index] = time.monotonic() - due

        sent = []
        for index in range(count):
            await asyncio.sleep(began + planned.arrivals[index] - time.monotonic())
            sent.append(asyncio.create_task(one(index)))
        await asyncio.gather(*sent)
        found.slow_share = workers[-1].answered / count
    return found


def tell(case: Case, load: int, rounds: list[Answers]) -> dict[str, Any]:
    """Printed: p99 of all rounds together over that of the ideal, and of each round."""
    courses = [course(load, seed) for seed in range(len(rounds))]
    ours = [planned.counted(each.latencies) for planned, each in zip(courses, rounds, strict=True)]
    ideal = [planned.ideal() for planned in courses]
    sent = [planned.counted(each.from_sent()) for planned, each in zip(courses, rounds, strict=True)]
    ideal_sent = [planned.ideal(each.late) for planned, each in zip(courses, rounds, strict=True)]
    ours_all, ideal_all = list(chain(*ours)), list(chain(*ideal))
    p99, best = percentile(ours_all, 0.99), percentile(ideal_all, 0.99)
    statuses = sum((each.statuses for each in rounds), Counter[str]())
    line = {
        "name": case.line(load),
        "value": round(p99 / best, 3),
        "unit": "x the p99 of an ideal single queue",
        "bar": case.bar,
        "p99_ms": round(1000 * p99, 1),
        "ideal_p99_ms": round(1000 * best, 1),
        "p50_ms": round(1000 * percentile(ours_all, 0.5), 1),
        "ideal_p50_ms": round(1000 * percentile(ideal_all, 0.5), 1),
        "rounds": _ratios(ours, ideal),
        "rounds_as_sent": _ratios(sent, ideal_sent),
        "requests": len(ours_all),
        "failed": sum(statuses.values()) - statuses["200"],
        "answers": dict(statuses),
        "slow_share": round(sum(each.slow_share for each in rounds) / len(rounds), 3),
        "sent_late_p99_ms": round(1000 * percentile(list(chain(*(each.late for each in rounds))), 0.99), 1),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(line), flush=True)
    return line


def _ratios(ours: list[list[float]], ideal: list[list[float]]) -> list[float]:
    return [round(percentile(a, 0.99) / percentile(b, 0.99), 3) for a, b in zip(ours, ideal, strict=True)]


async def run(case: Case, rounds: int) -> list[dict[str, Any]]:
    """All loads side by side, round after round. Round robin once: at every load its slow replica is asked more than it can do."""
    seen: dict[int, list[Answers]] = {load: [] for load in LOADS}
    for seed in range(rounds if case.spec else 1):
        found = await asyncio.gather(*(measure(case, load, seed) for load in LOADS))
        for load, answers in zip(LOADS, found, strict=True):
            seen[load].append(answers)
    return [tell(case, load, answers) for load, answers in seen.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="all of them, if none is named")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    ensure_programs({"haproxy": "haproxy"})
    sys.setswitchinterval(0.001)
    lines = []
    for name in options.cases or CASES:
        lines += asyncio.run(run(CASES[name], options.rounds))
    failed = [line["name"] for line in lines if line["failed"]]
    assert not failed, f"requests failed: {', '.join(failed)}"
    above = [line["name"] for line in lines if line["bar"] is not None and line["value"] > line["bar"]]
    assert not above, f"above the bar of {BAR}: {', '.join(above)}"


if __name__ == "__main__":
    main()
