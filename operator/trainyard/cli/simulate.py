"""`trainyard simulate`: a trace through the production code, or two ways to run it side by side."""

import argparse
from pathlib import Path
from typing import Any

from trainyard.cli import output
from trainyard.cli.errors import USAGE, CliError
from trainyard.cli.simulation import plots
from trainyard.cli.simulation.figures import Result
from trainyard.cli.simulation.scenario import KNOWN, POLICIES, Scenario, from_file, simulate

_COMPARED = (
    ("allocation", "allocation_percent", "%"),
    ("fragmentation", "fragmentation_percent", "%"),
    ("fairness", "fairness", ""),
)
_TIMES = ("mean", "p50", "p90", "p99", "max")


def add_to(commands: Any) -> None:
    """The parser of the command."""
    parser = commands.add_parser(
        "simulate",
        help="run a trace through the scheduler",
        description="Runs a trace through the operator's own scheduler. Pods in the columns of openb are placed until so many GPUs were asked for; jobs in the columns of Philly are replayed through time.",
    )
    parser.add_argument(
        "--nodes", metavar="FILE", help="nodes: sn,cpu_milli,memory_mib,gpu,model; or 100x8 for 100 nodes of 8 GPUs"
    )
    parser.add_argument(
        "--pods",
        metavar="FILE",
        help="name,cpu_milli,memory_mib,num_gpu,gpu_milli[,gpu_spec,...] or timestamp,duration,num_gpus,cluster; .xz and .gz are read",
    )
    parser.add_argument("--policy", choices=POLICIES, default="fgd", help="how nodes are chosen (default: %(default)s)")
    parser.add_argument(
        "--demand",
        type=float,
        default=1.3,
        help="pods: GPUs asked for in all, as a part of those there are (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="pods: so many random orders (default: %(default)s)"
    )
    parser.add_argument(
        "--first-seed", type=int, default=1, metavar="N", help="pods: the first of them (default: %(default)s)"
    )
    parser.add_argument(
        "--queues",
        type=Path,
        metavar="FILE",
        help="jobs: manifests of Queues and Flavors; by default one queue for each that the trace names",
    )
    parser.add_argument(
        "--durations",
        choices=KNOWN,
        default="true",
        help="jobs: what the scheduler knows of how long they run (default: %(default)s)",
    )
    parser.add_argument("--first", type=int, metavar="N", help="only the first N pods or jobs of the file")
    parser.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A.yaml", "B.yaml"),
        help="two files with these options as keys, simulated and set side by side",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, as .png or .svg")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text (default) or json")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Do what was asked."""
    if options.plot is not None:
        plots.check(options.plot)
    if options.compare:
        if options.nodes or options.pods:
            raise CliError("--compare takes --nodes and --pods from its two files; leave them out", USAGE)
        _compare([from_file(path) for path in options.compare], options)
        return
    if not options.nodes or not options.pods:
        raise CliError("--nodes FILE and --pods FILE are needed, or --compare A.yaml B.yaml", USAGE)
    scenario = Scenario(
        nodes=options.nodes,
        pods=options.pods,
        policy=options.policy,
        demand=options.demand,
        seeds=options.seeds,
        first_seed=options.first_seed,
        queues=options.queues,
        durations=options.durations,
        first=options.first,
    )
    result = simulate(scenario)
    if options.plot is not None:
        plots.draw(options.plot, [(scenario.policy, result)])
    if options.output == "json":
        output.print_json(result.as_json())
    else:
        _print(result)


def _print(result: Result) -> None:
    found = result.as_json()
    about = f"{result.jobs} {'pods' if result.mode == 'placement' else 'jobs'} on {result.nodes} nodes with {result.gpus:g} GPUs, policy {result.policy}"
    output.print_line("simulated", about)
    for name, key, unit in _COMPARED[:2]:
        off = f" ± {found[f'{key}_std']:.2f} over {found['seeds']} seeds" if found["seeds"] > 1 else ""
        output.print_line(name, f"{found[key]:.2f}{unit}{off}")
    if found.get("by_demand"):
        rows = [
            [_number(each[key]) for key in ("demand_percent", "allocation_percent", "fragmentation_percent")]
            for each in found["by_demand"]
        ]
        output.print_table("", ("DEMAND %", "ALLOCATED %", "FRAGMENTED %"), rows)
    if result.left_out or result.unfinished:
        output.print_line(
            "left out", f"{result.left_out} that ask for more than there ever is; {result.unfinished} never started"
        )
    if result.queues:
        output.print_line("fairness", f"{found['fairness']} (Jain's index of the queues' slowdowns; 1 is even)")
        output.print_table(
            "",
            ("QUEUE", "JOBS", "GUARANTEED", "GPU-HOURS", "SLOWDOWN", *_headers("WAIT"), *_headers("DONE")),
            [_row(each) for each in [_all(found), *found["queues"]]],
        )


def _headers(kind: str) -> list[str]:
    return [f"{kind} {name.upper()} s" for name in _TIMES[:4]]


def _all(found: dict[str, Any]) -> dict[str, Any]:
    queues = found["queues"]
    jobs = sum(each["jobs"] for each in queues)
    return {
        **found,
        "name": "(all)",
        "jobs": jobs,
        "guaranteed_gpus": sum(each["guaranteed_gpus"] for each in queues),
        "gpu_hours": sum(each["gpu_hours"] for each in queues),
        "slowdown": sum(each["slowdown"] * each["jobs"] for each in queues) / max(1, jobs),
    }


def _row(each: dict[str, Any]) -> list[str]:
    times = [
        _number((each[kind] or {}).get(name))
        for kind in ("waiting_seconds", "completion_seconds")
        for name in _TIMES[:4]
    ]
    return [
        each["name"],
        str(each["jobs"]),
        *(_number(each[name]) for name in ("guaranteed_gpus", "gpu_hours", "slowdown")),
        *times,
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def _compare(scenarios: list[Scenario], options: argparse.Namespace) -> None:
    results = [simulate(each) for each in scenarios]
    labels = [each.label for each in scenarios]
    if labels[0] == labels[1]:
        labels = [f"{label} ({side})" for label, side in zip(labels, "ab", strict=True)]
    if options.plot is not None:
        plots.draw(options.plot, list(zip(labels, results, strict=True)))
    a, b = (each.as_json() for each in results)
    change = _change(a, b)
    if options.output == "json":
        output.print_json({"a": {"label": labels[0], **a}, "b": {"label": labels[1], **b}, "change": change})
        return
    rows = []
    for name, value in change.items():
        before, after = (_at(side, name) for side in (a, b))
        relative = f"{100 * value / before:+.1f}%" if before else "-"
        rows.append([name.replace(".", " "), _number(before), _number(after), f"{value:+.2f}", relative])
    output.print_table("", ("FIGURE", labels[0], labels[1], "CHANGE", "RELATIVE"), rows)


def _change(a: dict[str, Any], b: dict[str, Any]) -> dict[str, float]:
    """b less a, of everything that both have; queues by name."""
    names = [key for _, key, _ in _COMPARED]
    names += [f"{kind}.{name}" for kind in ("waiting_seconds", "completion_seconds") for name in _TIMES]
    names += [f"queues.{each['name']}.waiting_seconds.mean" for each in a["queues"]]
    pairs = ((name, _at(a, name), _at(b, name)) for name in names)
    return {name: round(after - before, 4) for name, before, after in pairs if before is not None and after is not None}


def _at(found: dict[str, Any], name: str) -> float | None:
    value: Any = found
    for part in name.split("."):
        if isinstance(value, list):
            value = next((each for each in value if each["name"] == part), None)
        elif value is not None:
            value = value.get(part)
    return None if value is None else float(value)
