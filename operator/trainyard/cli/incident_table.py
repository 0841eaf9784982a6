"""Incidents as people and spreadsheets read them."""

import csv
import sys
from collections.abc import Sequence

from trainyard.api.incident import Incident, JobIncident
from trainyard.cli import job_facts as facts
from trainyard.cli import output

_HOUR = 3600.0
_COLUMNS = (
    "WHEN",
    "CAUSE",
    "NODE",
    "MADE ANEW",
    "NOTICED",
    "DECIDED",
    "PODS RUN",
    "NEW STEP",
    "LOST STEPS",
    "LOST GPU-HOURS",
    "OUTCOME",
)
_WIDE = ("TIMES", "POD", "STACKS", "MESSAGE")
_DERIVED = ("secondsToNotice", "secondsToDecide", "secondsToReplace", "secondsToNewStep", "lostSteps")


def print_incidents(title: str, incidents: Sequence[Incident], *, jobs: bool = False, wide: bool = False) -> None:
    """Times are seconds after the fault. jobs: with the jobs that they struck."""
    columns = (*(("NAMESPACE", "JOB") if jobs else ()), *_COLUMNS, *(_WIDE if wide else ()))
    rows = [[*(_whose(each) if jobs else ()), *_row(each), *(_more(each) if wide else ())] for each in incidents]
    output.print_table(title, columns, rows)


def print_csv(incidents: Sequence[JobIncident]) -> None:
    """All fields, and the seconds from the fault to each moment."""
    fields = [str(field.alias) for field in JobIncident.model_fields.values()]
    writer = csv.DictWriter(sys.stdout, [*fields, *_DERIVED], lineterminator="\n")
    writer.writeheader()
    for each in incidents:
        moments = (each.detected_at, each.decided_at, each.replaced_at, each.recovered_at)
        derived = dict(zip(_DERIVED, [*map(each.after, moments), each.lost_steps], strict=True))
        writer.writerow(
            {name: _cell(value) for name, value in {**each.model_dump(by_alias=True, mode="json"), **derived}.items()}
        )


def _cell(value: object) -> object:
    """A spreadsheet would take a text that begins so for a formula, and pods write these texts."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _whose(incident: Incident) -> tuple[str, str]:
    return (incident.namespace, incident.job) if isinstance(incident, JobIncident) else ("", "")


def _row(each: Incident) -> list[str]:
    moments = (each.detected_at, each.decided_at, each.replaced_at, each.recovered_at)
    return [
        each.fault_at.strftime("%Y-%m-%d %H:%M:%SZ"),
        each.cause + (" (planned)" if each.planned else ""),
        each.node or facts.NOTHING,
        each.scope.value,
        *(facts.NOTHING if (seconds := each.after(moment)) is None else f"{seconds:.1f}s" for moment in moments),
        facts.NOTHING if each.lost_steps is None else str(each.lost_steps),
        f"{each.lost_gpu_seconds / _HOUR:.2f}",
        each.outcome.value,
    ]


def _more(each: Incident) -> list[str]:
    return [str(each.times), each.pod or facts.NOTHING, each.stacks or facts.NOTHING, each.message or facts.NOTHING]
