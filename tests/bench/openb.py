"""The openb trace (1,213 GPU nodes): how full the fleet gets, and how much of what is free nobody could use.

The procedure of Weng et al., USENIX ATC 2023, is in `trainyard.cli.simulation.placement`, which `trainyard simulate` runs too.
Ten seeds of each list of pods; the mean stands in `value`, the standard deviation beside it. Then an idea of ours against the published
algorithm, on twenty other seeds, paired. `make bench NAME=openb`.
"""

import argparse
import json
import math
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random

import numpy as np

from trainyard.cli.simulation.files import nodes_of, work_of
from trainyard.cli.simulation.placement import fill, place_pods
from trainyard.scheduling.fleet import DEVICE, Ask, Fleet
from trainyard.scheduling.fragmentation import Arrivals, Ints, TaskClasses
from trainyard.scheduling.policies import Placement, Policy
from trainyard.scheduling.traces import TraceNode, TracePod

DATA = Path(__file__).parent / "data" / "openb"
CASES = (("default", 1.0), ("default", 1.3), ("gpuspec33", 1.0), ("gpushare100", 1.0), ("multigpu50", 1.0))
"""List of pods, and demand as a part of the GPUs there are."""
IDEA_ON, IDEA_SEED = "multigpu50", 101
"""The idea was tuned on seeds 1 to 6."""


def one(case: tuple[str, float, Policy, int]) -> tuple[float, float]:
    """Allocation and fragmentation in per cent for one seed."""
    name, demand, policy, seed = case
    nodes, pods = _trace(name)
    result = place_pods(nodes, pods, policy, demand, [seed])
    return result.allocation[0], result.fragmentation[0]


class Published(Placement):
    """Fragmentation gradient descent as it was published: a hundred steps, the first by name among equals."""

    def __init__(self) -> None:
        super().__init__("fgd", steps=100)

    def ranked(self, fleet: Fleet, ask: Ask, block: int, rows: Ints, wanted: int) -> Ints:
        """The best rows, best first."""
        return _first(fleet, self._scores(fleet, ask, block, rows), rows, wanted)


class PartsFit(Published):
    """Our idea: a part of a GPU goes where it leaves least of one, whole GPUs go by the gradient.

    What is left of a fleet full of gangs are parts of GPUs, and the gradient's steps are too coarse to see them.
    """

    def ranked(self, fleet: Fleet, ask: Ask, block: int, rows: Ints, wanted: int) -> Ints:
        """The best rows, best first."""
        if not ask.part:
            return super().ranked(fleet, ask, block, rows, wanted)
        free = fleet.gpu_free[rows]
        left = np.where(free >= ask.part, free - ask.part, DEVICE).min(axis=1).astype(np.int64)
        return _first(fleet, -left, rows, wanted)


def _first(fleet: Fleet, scores: Ints, rows: Ints, wanted: int) -> Ints:
    return rows[np.argsort(-(scores * len(fleet.nodes) - fleet.order[rows]))[:wanted]]


def gain(name: str, seed: int) -> float:
    """Allocation by the idea, less that by FGD, in per cent of the fleet; both know only what has arrived."""
    nodes, pods = _trace(name)
    typical = TaskClasses()
    idea, published = (
        fill(nodes, pods, placement, typical, 1.0, Random(seed), arrivals=Arrivals()).allocation[-1]
        for placement in (PartsFit(), Published())
    )
    return float(idea - published)


def _gains(pool: ProcessPoolExecutor, name: str, seeds: range) -> None:
    found = list(pool.map(gain, [name] * len(seeds), seeds))
    figure = {
        "name": f"openb/{name}/100/idea_gain",
        "value": round(statistics.fmean(found), 3),
        "unit": "points of allocation",
        "interval_95": round(1.96 * statistics.stdev(found) / math.sqrt(len(found)), 3),
        "seeds": f"{seeds.start} to {seeds.stop - 1}",
        "cores": os.cpu_count(),
    }
    print(json.dumps(figure), flush=True)


def _trace(name: str) -> tuple[list[TraceNode], list[TracePod]]:
    nodes = [each for each in nodes_of(str(DATA / "nodes.csv.xz")) if each.gpus]
    return nodes, [each for each in work_of(str(DATA / f"pods_{name}.csv.xz")) if isinstance(each, TracePod)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=42)
    parser.add_argument("--policy", default="fgd", choices=["fgd", "bestfit", "binpack", "spread"])
    parser.add_argument("--only", default="", help="only this list of pods")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name, demand in CASES:
            if options.only in ("", name):
                found = list(pool.map(one, [(name, demand, options.policy, seed) for seed in seeds]))
                for what, values in zip(("allocation", "fragmentation"), zip(*found, strict=True), strict=True):
                    figure = {
                        "name": f"openb/{name}/{round(100 * demand)}/{what}",
                        "value": round(statistics.fmean(values), 3),
                        "unit": "%",
                        "deviation": round(statistics.stdev(values), 3) if len(values) > 1 else 0.0,
                        "policy": options.policy,
                        "seeds": options.seeds,
                        "cores": os.cpu_count(),
                    }
                    print(json.dumps(figure), flush=True)
        if options.only in ("", IDEA_ON):
            _gains(pool, IDEA_ON, range(IDEA_SEED, IDEA_SEED + 2 * options.seeds))


if __name__ == "__main__":
    main()
