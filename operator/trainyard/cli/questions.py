"""`trainyard why`, `plan` and `top`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from trainyard.api.answers import NodeShare, Plan, Planned, Top, Why
from trainyard.api.forecast import Remedy
from trainyard.api.meta import Model
from trainyard.cli import asking, output
from trainyard.cli.asking import Question, ask
from trainyard.cli.energy import print_power
from trainyard.cli.incident_table import print_incidents
from trainyard.cli.manifests import manifests
from trainyard.cli.naming import kind_and_name
from trainyard.cli.operator_endpoint import Server
from trainyard.cli.rollouts import print_rollout
from trainyard.cli.scaling import print_scaling
from trainyard.cli.spending import held_up_by, print_spent
from trainyard.runtime.clock import SystemClock

_NODES_SHOWN = 8
_MOVED_SHOWN = 10


def add_to(commands: Any) -> None:
    """The parsers of the commands."""
    why = commands.add_parser(
        "why",
        help="why a job waits or gets on slowly, and what would start it",
        description="Why a TrainingJob or InferenceService waits: its reason and the arithmetic behind it, who holds what it needs, its place in the queue, and the smallest changes that would start it now. Of a job that has run: what its time was spent on, and which worker holds it up.",
    )
    why.add_argument("name", metavar="WORKLOAD", help="name of a job or service, or tyj/NAME or tyi/NAME")
    asking.add_to(why)
    why.set_defaults(run=run_why)
    plan = commands.add_parser(
        "plan",
        help="what a new job would do, without creating it",
        description="Whether the jobs of a file would start now, on which nodes, who would have to make way, and whose place in the queue would change. Creates nothing.",
    )
    plan.add_argument(
        "-f",
        "--filename",
        type=Path,
        required=True,
        metavar="FILE",
        help="manifests of TrainingJobs and InferenceServices; - reads standard input",
    )
    asking.add_to(plan)
    plan.set_defaults(run=run_plan)
    top = commands.add_parser(
        "top",
        help="who holds what",
        description="Queues with what they use, are guaranteed, borrow and lend, and flavors with what is left on their nodes; where flavors state it, what is drawn and paid.",
    )
    asking.add_to(top)
    top.set_defaults(run=run_top)


# Why.


def run_why(options: argparse.Namespace) -> None:
    """Print the answer."""
    kind, name = kind_and_name(options.name)

    async def by_oneself(question: Question) -> Why:
        from trainyard.cli import oneself  # noqa: PLC0415 - who asks the operator needs no scheduler

        return await oneself.why(question, kind, name)

    async def of_operator(question: Question, server: Server) -> Why:
        query = f"?{urlencode({'kind': kind})}" if kind else ""
        return await server.ask(Why, f"/v1/why/{quote(question.namespace, safe='')}/{quote(name, safe='')}{query}")

    answer = ask(options, by_oneself, of_operator)
    if not _as_json(options, answer):
        _print_why(answer)


def _print_why(answer: Why) -> None:
    output.print_line(
        f"{answer.kind} {answer.namespace}/{answer.name}", f"in queue {answer.queue}, priority {answer.priority}"
    )
    if answer.nodes:
        output.print_line("place:", f"{answer.message}, on {_nodes(answer.nodes)} of flavor {answer.flavor}")
    else:
        _print_wait(answer)
    if answer.scaling is not None:
        print_scaling(answer.scaling)
    if answer.rollout is not None:
        print_rollout(answer.rollout)
    if answer.stragglers:
        output.print_line("held up by:", held_up_by(answer.stragglers, SystemClock().now()))
    if answer.checkpoints:
        output.print_line("checkpoints:", answer.checkpoints)
    for text in answer.helps:
        output.print_line("what helps:", text)
    if answer.incidents:
        print_incidents("what interrupted it last, seconds after the fault:", answer.incidents)
    if answer.spent is not None:
        print_spent(answer.spent)


def _print_wait(answer: Why) -> None:
    output.print_line(f"{answer.reason or answer.state}:", answer.message)
    if answer.position is not None:
        output.print_line("position:", f"{answer.position} of {answer.waiting} that wait in queue {answer.queue}")
    if answer.eta is not None:
        moments = (answer.eta.likely, answer.eta.earliest, answer.eta.latest)
        likely, earliest, latest = (moment.strftime("%Y-%m-%d %H:%MZ") for moment in moments)
        output.print_line("starts:", f"about {likely}, 8 times out of 10 between {earliest} and {latest}")
    if answer.holders:
        rows = [
            [
                each.who,
                each.queue,
                each.flavor,
                each.holds,
                each.ends.strftime("%m-%d %H:%MZ") if each.ends else "unknown",
            ]
            for each in answer.holders
        ]
        output.print_table("who holds what it needs:", ("HOLDER", "QUEUE", "FLAVOR", "HOLDS", "ENDS ABOUT"), rows)
    _print_remedies(answer.remedies)


def _print_remedies(remedies: Sequence[Remedy]) -> None:
    for number, each in enumerate(remedies, start=1):
        output.print_line(
            f"{'it would start now with:' if number == 1 else '  or with:'} {each.change}", f"({each.message})"
        )


def _nodes(nodes: Sequence[NodeShare]) -> str:
    named = [f"{each.node} ({each.pods} pods)" if each.pods > 1 else each.node for each in nodes[:_NODES_SHOWN]]
    more = len(nodes) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


# Plan.


def run_plan(options: argparse.Namespace) -> None:
    """Print the answer."""
    documents = manifests(options.filename)

    async def by_oneself(question: Question) -> Plan:
        from trainyard.cli import oneself  # noqa: PLC0415 - who asks the operator needs no scheduler

        return await oneself.plan(question, documents)

    async def of_operator(question: Question, server: Server) -> Plan:
        body = {"namespace": question.namespace, "manifests": [dict(each.value) for each in documents]}
        return await server.ask(Plan, "/v1/plan", body)

    answer = ask(options, by_oneself, of_operator)
    if not _as_json(options, answer):
        for each in answer.workloads:
            _print_planned(each)


def _print_planned(each: Planned) -> None:
    name = f"{each.kind} {each.namespace}/{each.name}"
    if each.starts:
        output.print_line(f"{name} would start now", f"on {_nodes(each.nodes)} of flavor {each.flavor}")
    elif each.victims:
        output.print_line(
            f"{name} would start when others have made way", f"on {_nodes(each.nodes)} of flavor {each.flavor}"
        )
        rows = [
            [victim.who, f"{victim.cost / 3600:.2f}", "goes on" if victim.goes_on else "waits again"]
            for victim in each.victims
        ]
        output.print_table("", ("WHO", "GPU-HOURS LOST", "THEN"), rows)
    else:
        output.print_line(f"{name} would wait: {each.reason}:", each.message)
        if each.position is not None:
            output.print_line("position:", f"{each.position} of {each.waiting} in queue {each.queue}")
        _print_remedies(each.remedies)
    if each.moved:
        rows = [[moved.who, str(moved.before), str(moved.after)] for moved in each.moved[:_MOVED_SHOWN]]
        output.print_table(f"{len(each.moved)} others move in their queue:", ("WHO", "BEFORE", "AFTER"), rows)
    else:
        output.print_line("others:", "nobody's place in a queue changes")


# Top.


def run_top(options: argparse.Namespace) -> None:
    """Print the answer."""

    async def by_oneself(question: Question) -> Top:
        from trainyard.cli import oneself  # noqa: PLC0415 - who asks the operator needs no scheduler

        return await oneself.top(question)

    async def of_operator(question: Question, server: Server) -> Top:
        return await server.ask(Top, f"/v1/top?{urlencode({'namespace': question.namespace})}")

    answer = ask(options, by_oneself, of_operator)
    if not _as_json(options, answer):
        _print_top(answer)


def _print_top(answer: Top) -> None:
    rows = [
        [
            each.queue,
            each.parent or "-",
            each.flavor,
            each.resource,
            each.used,
            each.guaranteed,
            each.borrowed,
            ", ".join(f"{lender.queue} {lender.amount}" for lender in each.lenders) or "-",
            each.lent,
            str(each.running),
            str(each.waiting),
        ]
        for each in answer.queues
    ]
    columns = (
        "QUEUE",
        "PARENT",
        "FLAVOR",
        "RESOURCE",
        "USED",
        "GUARANTEED",
        "BORROWED",
        "FROM",
        "LENT",
        "RUNNING",
        "WAITING",
    )
    output.print_table("", columns, rows)
    print()
    flavors = [
        [
            each.flavor,
            f"{each.ready}/{each.nodes}",
            f"{each.gpus:g}",
            f"{each.free:g}",
            f"{each.largest:g}",
            f"{each.fragmentation_percent:g}",
        ]
        for each in answer.flavors
    ]
    output.print_table("", ("FLAVOR", "READY", "GPUS", "FREE", "LARGEST HOLE", "FRAGMENTED %"), flavors)
    for sick in (each for each in answer.flavors if each.health):
        output.print_line(f"{sick.flavor}:", sick.health)
    if answer.nodes:
        print()
        nodes = [
            [
                each.node,
                each.state.value,
                each.since.strftime("%m-%d %H:%MZ") if each.since else "-",
                f"{each.lemon:.1f} x" if each.lemon else "-",
                str(each.risk or "-"),
                each.why or "-",
                each.remedy or "-",
            ]
            for each in answer.nodes
        ]
        output.print_table("", ("NODE", "STATE", "SINCE", "FAILS", "RISK", "WHY", "REMEDY"), nodes)
    if answer.power:
        print_power(answer.power, answer.own)
    print()
    output.print_line("in all:", f"{answer.running} run, {answer.waiting} wait")


def _as_json(options: argparse.Namespace, answer: Model) -> bool:
    if options.output != "json":
        return False
    output.print_json(answer.model_dump(by_alias=True, mode="json"))
    return True
