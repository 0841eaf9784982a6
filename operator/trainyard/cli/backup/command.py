"""`trainyard backup` and `trainyard restore`: what people type and read."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainyard.api.training_job import TrainingJob
from trainyard.cli import access, output
from trainyard.cli.backup import needs
from trainyard.cli.backup.document import Backup, packed, read
from trainyard.cli.backup.planning import RestorePlan, plan
from trainyard.cli.backup.restoring import Restore, look, rehearse
from trainyard.cli.backup.taking import take
from trainyard.cli.errors import CliError
from trainyard.cli.reading import connected
from trainyard.cluster.errors import NoClusterError
from trainyard.runtime.clock import SystemClock
from trainyard.training.workload import finished
from trainyard.workloads.understood import KINDS

_SHOWN = 20


def add_to(commands: Any) -> None:
    """The parsers of both commands."""
    backup = commands.add_parser(
        "backup",
        help="write flavors, queues, jobs and services with their past into a file",
        description="Writes Flavors, Queues, TrainingJobs and InferenceServices, with what of their status a restore needs, and what the operator learned, into one file. Claims, what is on them, and Secrets are not in it.",
    )
    backup.add_argument("-o", "--output", type=Path, metavar="FILE", help="file to write (default: named by the time)")
    backup.set_defaults(run=run_backup)
    restore = commands.add_parser(
        "restore",
        help="bring back what a backup holds",
        description="Creates what a backup holds: jobs wait in the order in which they did, and go on from their checkpoints. What is there already stays as it is. Can be repeated, also after it was broken off.",
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="what `trainyard backup` has written")
    restore.add_argument(
        "--dry-run", action="store_true", help="check all of it, say what would be done, and do nothing"
    )
    restore.add_argument(
        "--overwrite", action="store_true", help="replace Flavors, Queues and InferenceServices that differ"
    )
    restore.add_argument(
        "--without-claims",
        action="store_true",
        help="go on although claims are missing: their jobs wait for them, or begin anew where claims are made of a template",
    )
    restore.set_defaults(run=run_restore)
    for parser in (backup, restore):
        access.add_cluster_to(parser)


def run_backup(options: argparse.Namespace) -> None:
    """Take one."""
    backup = asyncio.run(_take(options))
    content = packed(backup)
    path = options.output or Path(f"trainyard-backup-{backup.taken:%Y%m%d-%H%M%S}.jsonl.gz")
    output.write_privately(path, content)
    print(f"{path}: {_counted(backup)}; {len(content) / 1000:.0f} kB")
    wanted = sorted({each for saved in backup.saved for each in needs.claims(saved)})
    if wanted:
        print(f"not in it, and needed by a restore: claims {_listed(map(str, wanted))}")
    if named := sorted({each for saved in backup.saved for each in needs.secrets(saved)}):
        print(f"not in it: Secrets {_listed(named)}")


async def _take(options: argparse.Namespace) -> Backup:
    try:
        async with connected(options) as client:
            return await take(client, SystemClock().now(), options.system_namespace)
    except NoClusterError as error:
        raise access.no_cluster(error) from None


def _counted(backup: Backup) -> str:
    counts = backup.counts()
    parts = [f"{counts[kind]} {kind}{'s' if counts[kind] > 1 else ''}" for kind in KINDS if kind in counts]
    jobs = [each.thing for each in backup.saved if isinstance(each.thing, TrainingJob)]
    over = sum(finished(each) for each in jobs)
    placed = sum(each.status.admission is not None and not finished(each) for each in jobs)
    if jobs:
        parts.append(f"of the jobs {placed} hold a place, {len(jobs) - over - placed} do not, {over} have ended")
    return ", ".join(parts) or "nothing"


def _listed(names: Any) -> str:
    found = list(names)
    return ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


def run_restore(options: argparse.Namespace) -> None:
    """Bring it back."""
    backup = read(options.file)
    asyncio.run(_restore(options, backup))


async def _restore(options: argparse.Namespace, backup: Backup) -> None:
    try:
        async with connected(options) as client:
            there = await look(client, backup, options.system_namespace)
            decided = plan(backup, there, overwrite=options.overwrite)
            tell(decided, datetime.now(UTC))
            refuse_what_is_missing(decided, without_claims=options.without_claims)
            await rehearse(client, decided, output.progress)
            if options.dry_run:
                print("nothing was done: this was a dry run")
                return
            await Restore(client, SystemClock(), decided, output.progress, _warn).run(options.system_namespace)
    except NoClusterError as error:
        raise access.no_cluster(error) from None
    print(f"restored: {len(decided.steps)} objects; `trainyard get -A` and `trainyard top` show how they go on")
    if decided.memory:
        print(
            f"an operator that runs takes over {', '.join(decided.memory)} at its next start, or before it would write there itself"
        )


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def tell(decided: RestorePlan, now: datetime) -> None:
    """What will be done, before it is."""
    backup = decided.backup
    hours = (now - backup.taken).total_seconds() / 3600
    print(f"backup of {backup.taken:%Y-%m-%d %H:%M}Z, {hours:.1f} hours old: {_counted(backup)}")
    rows = []
    for kind in KINDS:
        steps = decided.of_kind(kind)
        same = sum(each.kind == kind for each in decided.same)
        kept = sum(each.saved.kind == kind for each in decided.kept)
        counts = [sum(each.how == how for each in steps) for how in ("create", "go on", "replace")]
        if sum((*counts, same, kept)):
            rows.append([kind, *map(str, (*counts, same, kept))])
    if rows:
        output.print_table("", ("KIND", "CREATED", "GO ON", "REPLACED", "THE SAME", "KEPT"), rows)
    for each in decided.kept[:_SHOWN]:
        print(f"kept: {each.saved}: {each.why}")
    if len(decided.kept) > _SHOWN:
        print(f"kept: {len(decided.kept) - _SHOWN} more")
    if decided.secrets:
        print(f"Secrets that specs name, and that are not in a backup: {_listed(decided.secrets)}")


def refuse_what_is_missing(decided: RestorePlan, *, without_claims: bool) -> None:
    """Raises CliError where jobs would wait, or begin anew, for want of what no backup holds."""
    if decided.missing_namespaces:
        raise CliError(
            f"nothing was restored: create these namespaces first, with the labels that queues select: {_listed(decided.missing_namespaces)}"
        )
    if not decided.missing_claims:
        return
    lines = [
        f"{claim}, which {_listed(map(str, whose))} {'need' if len(whose) > 1 else 'needs'}"
        for claim, whose in decided.missing_claims.items()
    ]
    what = "these claims, which hold checkpoints and models, do not exist:\n  " + "\n  ".join(lines[:_SHOWN])
    what += f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    if not without_claims:
        raise CliError(
            f"nothing was restored: {what}\nbring them back first, or go on without: --without-claims (jobs wait for them, or begin anew where their claims are made of a template)"
        )
    _warn(what)
