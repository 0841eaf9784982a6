"""Benchmark `histories`: 10,000 random histories of a job, with faults and a fake clock.

At every step of each: no pods of two attempts at once, a ledger that adds up to the job's age within 1 ms, GPU-hours that are those
that were held. At the end of each: complete, failed, or suspended with a budget that is used up. `make bench NAME=histories`.
"""

import argparse
import json
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.unit.training.histories import History


def live(first: int, count: int) -> tuple[Counter[str], int, int, float]:
    """Histories from a seed on: how they ended, steps, status writes, CPU seconds. Raises at the first that breaks a promise."""
    began, ends, steps, writes = time.process_time(), Counter[str](), 0, 0
    for seed in range(first, first + count):
        history = History(seed)
        ends[history.run()] += 1
        steps, writes = steps + history.steps, writes + history.operator.writes
    return ends, steps, writes, time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first history; the others follow")
    parser.add_argument("--part", type=int, default=250, help="histories that a process lives at a time")
    arguments = parser.parse_args()
    firsts = range(arguments.seed, arguments.seed + arguments.count, arguments.part)
    with ProcessPoolExecutor(max_workers=2) as pool:
        parts = list(pool.map(partial(live, count=arguments.part), firsts))
    ends = sum((each[0] for each in parts), Counter[str]())
    found = {
        "name": "histories",
        "value": sum(ends.values()),
        "unit": "histories without a broken promise",
        "first_seed": arguments.seed,
        "steps": sum(each[1] for each in parts),
        "writes": sum(each[2] for each in parts),
        "ends": dict(sorted(ends.items())),
        "cpu_seconds": round(sum(each[3] for each in parts), 1),
        "cores": os.cpu_count(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
