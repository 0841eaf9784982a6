"""The openb trace (1,213 GPU nodes): how full the fleet gets, and how much of what is free nobody could use.

The procedure of Weng et al., USENIX ATC 2023, is in `trainyard.cli.simulation.placement`, which `trainyard simulate` runs too.
Ten seeds of each list of pods; the mean stands in `value`, the standard deviation beside it. `make bench NAME=openb`.
"""

import argparse
import json
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from trainyard.cli.simulation.files import nodes_of, work_of
from trainyard.cli.simulation.placement import place_pods
from trainyard.scheduling.policies import Policy
from trainyard.scheduling.traces import TracePod

DATA = Path(__file__).parent / "data" / "openb"
CASES = (("default", 1.0), ("default", 1.3), ("gpuspec33", 1.0), ("gpushare100", 1.0), ("multigpu50", 1.0))
"""List of pods, and demand as a part of the GPUs there are."""


def one(case: tuple[str, float, Policy, int]) -> tuple[float, float]:
    """Allocation and fragmentation in per cent for one seed."""
    name, demand, policy, seed = case
    nodes = [each for each in nodes_of(str(DATA / "nodes.csv.xz")) if each.gpus]
    pods = [each for each in work_of(str(DATA / f"pods_{name}.csv.xz")) if isinstance(each, TracePod)]
    result = place_pods(nodes, pods, policy, demand, [seed])
    return result.allocation[0], result.fragmentation[0]


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


if __name__ == "__main__":
    main()
