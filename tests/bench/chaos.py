"""A month of 2,048 GPUs in which things break as they did for Llama 3: what each remedy is worth in goodput. `make bench NAME=chaos`.

Goodput is GPU time of steps that lasted, as a part of all the GPU time there is: idle, broken and standing by count as none. Placement,
mending and spares are the operator's own code, restarts cost what `recovery` measured; `chaos_month` says what is assumed. Each seed
is another month, with the same faults and jobs for every choice of remedies, so differences are paired. The same seeds print the same
bytes. `--times 8` lets everything break as often as a job of all 16,384 GPUs saw it.
"""

import argparse
import json
import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import fields, replace

from tests.bench.chaos_month import Figures, Month, Remedies, Simulation

ALL = Remedies()
NONE = Remedies(spares=False, in_place=False, avoid=False, auto=False)
REMEDIES = tuple(each.name for each in fields(Remedies))


def choices(*, alone: bool) -> dict[str, Remedies]:
    """By name. alone: also each remedy without the others."""
    found = {"none": NONE, "all": ALL}
    found |= {f"without_{name}": replace(ALL, **{name: False}) for name in REMEDIES}
    return found | ({f"only_{name}": replace(NONE, **{name: True}) for name in REMEDIES} if alone else {})


def say(name: str, values: Sequence[float], unit: str, **shape: object) -> None:
    """The mean, how far months differ, and how sure the mean is."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    figure = {
        "name": name,
        "value": round(statistics.fmean(values), 4),
        "unit": unit,
        "deviation": round(deviation, 4),
        "interval_95": round(1.96 * deviation / math.sqrt(len(values)), 4),
        **shape,
    }
    print(json.dumps(figure), flush=True)


def losses(name: str, months: Sequence[Figures], shape: dict[str, object]) -> None:
    """Where the GPU time went that was not useful."""
    for part in ("redone", "recovering", "saving", "spare"):
        say(f"chaos/{name}/{part}", [100 * getattr(each, part) / each.available for each in months], "%", **shape)
    say(f"chaos/{name}/idle_or_broken", [100 * (1 - each.held / each.available) for each in months], "%", **shape)
    say(f"chaos/{name}/interruptions", [float(each.interruptions) for each in months], "of jobs", **shape)
    say(f"chaos/{name}/placed_anew", [float(each.placed_anew) for each in months], "of jobs", **shape)


def gain(one: Sequence[Figures], other: Sequence[Figures], of: str) -> list[float]:
    """Points, month by month. of: goodput or efficiency."""
    return [100 * (getattr(a, of) - getattr(b, of)) for a, b in zip(one, other, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument(
        "--times", type=float, default=1.0, help="how many times as often as published something breaks"
    )
    parser.add_argument("--alone", action="store_true", help="also each remedy without the others")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    shape: dict[str, object] = {
        "times": options.times,
        "days": options.days,
        "seeds": f"{seeds.start} to {seeds.stop - 1}",
        "cores": os.cpu_count(),
    }
    found: dict[str, list[Figures]] = {}
    for name, remedies in choices(alone=options.alone).items():
        months = [Month(seed, remedies, days=options.days, times=options.times) for seed in seeds]
        found[name] = [Simulation(each).run() for each in months]
        losses(name, found[name], shape)
        say(f"chaos/{name}/useful_of_held", [100 * each.efficiency for each in found[name]], "%", **shape)
    for name in REMEDIES:
        without = found[f"without_{name}"]
        say(f"chaos/gain_of_{name}/useful_of_held", gain(found["all"], without, "efficiency"), "points", **shape)
        if options.alone:
            alone = gain(found[f"only_{name}"], found["none"], "goodput")
            say(f"chaos/gain_of_{name}/alone", alone, "points", **shape)
    for name in ("all", "none"):
        say(f"chaos/goodput_{name}", [100 * each.goodput for each in found[name]], "%", **shape)
    for name in REMEDIES:
        say(f"chaos/gain_of_{name}", gain(found["all"], found[f"without_{name}"], "goodput"), "points", **shape)


if __name__ == "__main__":
    main()
