"""`trainyard get`: jobs in a table, and one job in detail."""

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from trainyard.api.training_job import TrainingJob
from trainyard.cli import access, jobs, output
from trainyard.cli import job_facts as facts
from trainyard.cli.api_server import ApiServer
from trainyard.cli.errors import USAGE, CliError
from trainyard.cli.incident_table import print_incidents
from trainyard.cli.naming import job_name
from trainyard.cli.spending import held_up_by, print_spent
from trainyard.cli.variants import print_variants
from trainyard.cluster.resources import TRAINING_JOBS, Object
from trainyard.runtime.clock import SystemClock

_COLUMNS = ("NAME", "PHASE", "REASON", "QUEUE", "POSITION", "GPUS", "PROGRESS", "ETA", "AGE")
_WIDE = ("ATTEMPT", "RESTARTS", "NODES", "LOSS", "THROUGHPUT", "CHECKPOINT", "LAST FAILURE")
_NODES_SHOWN = 32


def add_to(commands: Any) -> None:
    """The parser of the command."""
    parser = commands.add_parser(
        "get",
        help="jobs with their phase, place in the queue and progress",
        description="A table of TrainingJobs: phase and reason, place in the queue, GPUs, progress and time left. One job with -o wide is told of in detail.",
    )
    parser.add_argument("name", metavar="JOB", nargs="?", help="name, or tyj/NAME (default: all of the namespace)")
    access.add_to(parser)
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="jobs of all namespaces")
    parser.add_argument(
        "-o", "--output", choices=("wide", "json", "name"), help="more columns, the objects, or names alone"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print what was asked for."""
    name = job_name(options.name) if options.name else None
    if options.all_namespaces and (name or options.namespace):
        raise CliError(
            f"-A goes with neither {'a name' if name else '-n'}: it asks for the jobs of all namespaces", USAGE
        )
    server = ApiServer.of(options)
    namespace = options.namespace or server.namespace
    if name:
        raw = [jobs.one(server, namespace, name)]
    else:
        raw = jobs.several(server, None if options.all_namespaces else namespace)
    if options.output == "json":
        # Items of a list carry neither.
        of = [{"apiVersion": TRAINING_JOBS.api_version, "kind": TRAINING_JOBS.kind, **each} for each in raw]
        output.print_json(of[0] if name else {"apiVersion": "v1", "kind": "List", "items": of})
    elif options.output == "name":
        for each in raw:
            print(f"trainingjob.{TRAINING_JOBS.group}/{each['metadata']['name']}")
    elif not raw:
        where = "" if options.all_namespaces else f" in namespace {namespace!r}; see all with -A"
        print(f"there are no TrainingJobs{where}", file=sys.stderr)
    else:
        _print(raw, options, SystemClock().now())


def _print(raw: Sequence[Object], options: argparse.Namespace, now: datetime) -> None:
    wide, everywhere = options.output == "wide", options.all_namespaces
    found = [jobs.understood(each) for each in raw] if options.name else jobs.all_understood(raw)
    if wide and options.name:
        _print_detail(found[0], now)
        return
    found.sort(key=lambda job: (job.metadata.namespace, job.metadata.name))
    columns = (*(("NAMESPACE",) if everywhere else ()), *_COLUMNS, *(_WIDE if wide else ()))
    rows = [
        [
            *([job.metadata.namespace] if everywhere else ()),
            *_row(job, now),
            *(_more(job) if wide else ()),
        ]
        for job in found
    ]
    output.print_table("", columns, rows)


def _row(job: TrainingJob, now: datetime) -> list[str]:
    return [
        job.metadata.name,
        facts.phase(job),
        job.status.reason or facts.NOTHING,
        job.spec.queue,
        facts.position(job),
        facts.gpus(job),
        facts.progress(job),
        facts.eta(job, now),
        facts.age(job.since(), now),
    ]


def _more(job: TrainingJob) -> list[str]:
    return [
        str(job.status.attempt),
        str(job.status.restarts),
        facts.nodes(job),
        facts.loss(job),
        facts.throughput(job),
        facts.checkpoint(job),
        facts.last_failure(job),
    ]


def _print_detail(job: TrainingJob, now: datetime) -> None:
    spec, status = job.spec, job.status
    output.print_line(f"TrainingJob {facts.name(job)}", f"in queue {spec.queue}, priority {spec.priority}")
    lines = {
        "phase:": f"{facts.phase(job)} ({status.reason or 'no reason yet'})",
        "age:": facts.age(job.since(), now),
        "gang:": f"{_gang(job)}; {facts.gpus(job)} GPUs"
        + (f" of flavor {status.admission.flavor}" if status.admission else ""),
        "position:": facts.position(job),
        "attempt:": f"{status.attempt} (restarts: {status.restarts}, not its own fault of these: {status.disruptions}; made way: {status.preemptions})",
        "nodes:": facts.nodes(job, _NODES_SHOWN),
        "progress:": _progress(job),
        "ETA:": facts.eta(job, now),
        "held up by:": held_up_by(status.stragglers, now),
        "warning:": status.progress.warning if status.progress else "",
        "checkpoint:": _checkpoint(job, now),
        "checkpoints:": status.progress.checkpointing.why if status.progress and status.progress.checkpointing else "",
        "last restart:": f"of attempt {status.last_restart.attempt}: {status.last_restart.cause}"
        if status.last_restart
        else "",
        "last failure:": _failure(job),
        "compresses:": f"{status.parent.path} on claim {status.parent.claim_name}, {status.parent.digest}"
        if status.parent
        else "",
        "result:": f"{status.result.path} on claim {status.result.claim_name}, {status.result.digest}"
        if status.result
        else "",
        "tensorboard:": _tensorboard(job),
    }
    for label, text in lines.items():
        if text not in ("", facts.NOTHING):
            output.print_line(label, text)
    if status.result is not None and status.result.variants:
        print_variants(status.result.variants)
    rows = [
        [each.type, each.status, each.reason, facts.age(each.last_transition_time, now), each.message or facts.NOTHING]
        for each in status.conditions
    ]
    if rows:
        output.print_table("conditions:", ("TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"), rows)
    if status.incidents:
        print_incidents("what interrupted it, seconds after the fault:", status.incidents[::-1])
    if status.ledger is not None:
        # Without its flavor nobody knows what it draws now: power and price are those until its status was written.
        print_spent(status.ledger.spent(now, job.held_gpus()))


def _gang(job: TrainingJob) -> str:
    return ", ".join(f"{count} {role}" + ("s" if count > 1 else "") for role, count in job.counts().items())


def _progress(job: TrainingJob) -> str:
    found = job.status.progress
    if found is None:
        return ""
    parts = [f"step {facts.progress(job)}", found.phase]
    parts += [f"epoch {found.epoch}"] if found.epoch is not None else []
    parts += [f"loss {facts.loss(job)}"] if found.loss is not None else []
    parts += [f"{facts.throughput(job)} samples"] if found.throughput is not None else []
    parts += [f"{name} {value:.4g}" for name, value in sorted(found.metrics.items())]
    return ", ".join(part for part in parts if part)


def _checkpoint(job: TrainingJob, now: datetime) -> str:
    found = job.status.checkpoint
    if found is None:
        return ""
    return f"step {found.step}, {found.path}" + (f", {facts.age(found.time, now)} old" if found.time else "")


def _tensorboard(job: TrainingJob) -> str:
    """How to get there, or what it waits for."""
    found = job.status.tensorboard
    if found is None:
        return ""
    command = f"kubectl -n {job.metadata.namespace} port-forward service/{found.service} 6006:80"
    there = f"`{command}`, then open http://localhost:6006" if found.state == "Ready" else found.state
    return f"{there} ({found.message})" if found.message else there


def _failure(job: TrainingJob) -> str:
    found = job.status.last_failure
    if found is None:
        return ""
    where = f"{found.role} {found.index}" + (f" on {found.node}" if found.node else "")
    code = f", exit code {found.exit_code}" if found.exit_code is not None else ""
    helps = f". What usually helps: {found.remedy}" if found.remedy else ""
    return f"{found.kind.value} of {where}{code}, attempt {found.attempt}: {found.message or 'it said nothing'}{helps}"
