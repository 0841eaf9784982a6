"""Benchmark `node_health`: what errors that harmed nobody foretell, on a simulated fleet that fails as Meta's did under Llama 3.

2,048 nodes of 8 GPUs for 54 days, 419 unexpected interruptions with the published mix of causes. How many failures announce themselves is
published by nobody; `ANNOUNCED` are assumptions, by cause, and so is `NOISE`, what healthy GPUs report. Alarms are those of
`nodes/risk`, from errors as the adapter of DCGM's exporter counts them. Precision: alarms after whose beginning, and until `AFTER` their
end, the node fails. Recall: failures of a node's hardware at which the node was in alarm an hour before. `--announced 0.5 --noise 2`
asks how much hangs on the assumptions. `make bench NAME=node_health`.
"""

import argparse
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from trainyard.nodes.errors import ErrorKind, GpuError
from trainyard.nodes.risk import level

NODES, GPUS, DAYS = 2048, 8, 54
START = datetime(2026, 1, 1, tzinfo=UTC)
LOOK = timedelta(hours=6)
AFTER = timedelta(days=3)
BEFORE = timedelta(hours=1)
MIX = {
    "GPU": 148,
    "HBM3": 72,
    "software": 54,
    "switch or cable": 35,
    "host maintenance": 32,
    "SRAM": 19,
    "GPU system processor": 17,
    "NIC": 7,
    "NCCL watchdog": 7,
    "silent data corruption": 6,
    "thermal": 6,
    "SSD": 3,
    "power supply": 3,
    "other": 10,
}
"""Unexpected interruptions of Llama 3 405B's training: Meta, "The Llama 3 Herd of Models", 2024, table 5; `other` is what is missing to 419."""
HARDWARE = frozenset(MIX) - {"software", "host maintenance", "NCCL watchdog", "switch or cable", "other"}
"""Causes that lie in a node."""
Sign = tuple[ErrorKind, int | None]
ANNOUNCED: dict[str, tuple[float, tuple[tuple[Sign, float], ...]]] = {
    "GPU": (0.25, (((ErrorKind.XID, 94), 0.5), ((ErrorKind.XID, 31), 2.0), ((ErrorKind.CORRECTED, None), 20.0))),
    "HBM3": (0.6, (((ErrorKind.REMAPPED, None), 0.8), ((ErrorKind.XID, 63), 0.8), ((ErrorKind.CORRECTED, None), 60.0))),
    "SRAM": (0.3, (((ErrorKind.CORRECTED, None), 40.0), ((ErrorKind.XID, 92), 0.5))),
    "GPU system processor": (0.1, (((ErrorKind.XID, 154), 0.5),)),
    "thermal": (0.8, (((ErrorKind.THERMAL, None), 60.0),)),
    "power supply": (0.3, (((ErrorKind.POWER, None), 40.0),)),
}
"""By cause: the share of failures that are announced, and by what, how often in a day."""
LEAD_DAYS = (0.5, 7.0)
"""They begin so long before, evenly."""
NOISE: dict[Sign, float] = {
    (ErrorKind.CORRECTED, None): 0.02,
    (ErrorKind.REMAPPED, None): 0.0002,
    (ErrorKind.XID, 63): 0.0002,
    (ErrorKind.XID, 94): 0.0002,
    (ErrorKind.XID, 31): 0.01,
    (ErrorKind.XID, 13): 0.01,
    (ErrorKind.THERMAL, None): 0.01,
}
"""What a GPU that does not fail reports in a day."""


@dataclass(frozen=True)
class Failure:
    """When, where, and why a job was interrupted."""

    time: datetime
    node: int
    cause: str


Errors = list[tuple[datetime, int, int, Sign]]
"""Time, node, GPU and what."""


def failures(random: Random) -> list[Failure]:
    """The interruptions, anywhere and at any time."""
    return [
        Failure(START + timedelta(days=random.uniform(0, DAYS)), random.randrange(NODES), cause)
        for cause, count in MIX.items()
        for _ in range(count)
    ]


def errors(random: Random, failed: list[Failure], announced: float, noise: float) -> tuple[Errors, set[Failure]]:
    """What GPUs report: before some of the failures, and otherwise. With the failures that were told of early enough to be foretold."""
    found: Errors = []
    told: set[Failure] = set()
    for each in failed:
        share, signs = ANNOUNCED.get(each.cause, (0.0, ()))
        if random.random() < share * announced:
            lead, gpu = random.uniform(*LEAD_DAYS), random.randrange(GPUS)
            for sign, daily in signs:
                for time in _times(random, daily, lead):
                    at = each.time - timedelta(days=lead - time)
                    found.append((at, each.node, gpu, sign))
                    told |= {each} if START <= at <= each.time - BEFORE else set()
    for sign, daily in NOISE.items():
        for time in _times(random, daily * noise * NODES * GPUS, DAYS):
            found.append((START + timedelta(days=time), random.randrange(NODES), random.randrange(GPUS), sign))
    return sorted(found, key=lambda each: each[0]), told


def _times(random: Random, daily: float, days: float) -> list[float]:
    """Of a Poisson process."""
    found, time = [], 0.0
    while daily > 0 and (time := time + random.expovariate(daily)) < days:
        found.append(time)
    return found


def alarms(told: Errors) -> dict[int, list[datetime]]:
    """By node, the looks at which it is in alarm."""
    of_node: dict[int, Errors] = defaultdict(list)
    for each in told:
        of_node[each[1]].append(each)
    found: dict[int, list[datetime]] = {}
    for node, mine in of_node.items():
        known: dict[tuple[str, ErrorKind, int | None], GpuError] = {}
        position = 0
        for number in range(int(timedelta(days=DAYS) / LOOK) + 1):
            look = START + number * LOOK
            while position < len(mine) and mine[position][0] <= look:
                time, _, gpu, (kind, code) = mine[position]
                error = known.get((str(gpu), kind, code)) or GpuError(str(gpu), kind, 0, 0.0, time, code)
                known[error.key] = error.more(1, time, "")
                position += 1
            if known and level(known.values(), look):
                found.setdefault(node, []).append(look)
    return found


def episodes(looks: list[datetime]) -> list[tuple[datetime, datetime]]:
    """Begin and end of each alarm; a day of silence ends one."""
    found: list[tuple[datetime, datetime]] = []
    for look in looks:
        if found and look - found[-1][1] <= timedelta(days=1):
            found[-1] = (found[-1][0], look)
        else:
            found.append((look, look))
    return found


@dataclass(frozen=True)
class Outcome:
    """Of one fleet."""

    alarms: int
    right: int
    hardware: int
    foretold: Counter[str]
    told: int
    """Hardware failures before which something was told at all."""
    understood: int
    """Those of them that were foretold."""


def judge(failed: list[Failure], told: set[Failure], found: dict[int, list[datetime]]) -> Outcome:
    """Alarms against what happened."""
    hardware = [each for each in failed if each.cause in HARDWARE]
    of_node: dict[int, list[datetime]] = defaultdict(list)
    for each in hardware:
        of_node[each.node].append(each.time)
    every = [(node, *episode) for node, looks in found.items() for episode in episodes(looks)]
    right = sum(any(begin <= time <= end + AFTER for time in of_node[node]) for node, begin, end in every)
    foretold = [
        each
        for each in hardware
        if any(timedelta(0) <= each.time - BEFORE - look < LOOK for look in found.get(each.node, ()))
    ]
    causes = Counter(each.cause for each in foretold)
    return Outcome(len(every), right, len(hardware), causes, len(told), len(told.intersection(foretold)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--announced", type=float, default=1.0, help="times the assumed share of announced failures")
    parser.add_argument("--noise", type=float, default=1.0, help="times what healthy GPUs are assumed to report")
    arguments = parser.parse_args()
    outcomes = []
    for seed in range(arguments.seeds):
        random = Random(seed)
        failed = failures(random)
        reported, told = errors(random, failed, arguments.announced, arguments.noise)
        outcomes.append(judge(failed, told, alarms(reported)))
    rung, right = sum(each.alarms for each in outcomes), sum(each.right for each in outcomes)
    hardware = sum(each.hardware for each in outcomes)
    foretold = sum((each.foretold for each in outcomes), Counter[str]())
    for cause in sorted(HARDWARE, key=lambda each: -MIX[each]):
        share = foretold[cause] / (MIX[cause] * arguments.seeds)
        print(f"{cause}: {foretold[cause]} of {MIX[cause] * arguments.seeds} foretold ({share:.0%})")
    chance = hardware / arguments.seeds / NODES / DAYS * (AFTER / timedelta(days=1))
    about = {"seeds": arguments.seeds, "announced": arguments.announced, "noise": arguments.noise}
    precision = {"name": "node_health/precision", "value": round(right / max(1, rung), 3), "unit": "of the alarms"}
    print(json.dumps({**precision, "alarms": rung, "by_chance": round(chance, 4), **about}))
    recall = {
        "name": "node_health/recall",
        "value": round(foretold.total() / hardware, 3),
        "unit": "of hardware failures",
    }
    print(json.dumps({**recall, "failures": hardware, "interruptions": sum(MIX.values()) * arguments.seeds, **about}))
    telling = sum(each.told for each in outcomes)
    share = round(sum(each.understood for each in outcomes) / max(1, telling), 3)
    of_told = {"name": "node_health/recall_of_announced", "value": share, "unit": "of failures that were announced"}
    print(json.dumps({**of_told, "failures": telling, "ceiling_of_recall": round(telling / hardware, 3), **about}))


if __name__ == "__main__":
    main()
