"""`trainyard doctor`: what people type and read."""

import argparse
from typing import Any

from trainyard.cli import access, output
from trainyard.cli.api_server import ApiServer
from trainyard.cli.doctor.checks import examine
from trainyard.cli.doctor.finding import Report, Severity
from trainyard.cli.doctor.gathering import gather
from trainyard.cli.errors import CliError
from trainyard.runtime.clock import SystemClock

WARNINGS, PROBLEMS = 3, 4
"""Exit codes; 1 is that the doctor could not look."""


def add_to(commands: Any) -> None:
    """The parser of the command."""
    parser = commands.add_parser(
        "doctor",
        help="what is wrong with this installation",
        description="Looks at kinds, operator, leader, certificate, rights, flavors, queues, images, gateways and what is stuck, and says what is wrong, why it matters and what to do. Changes nothing. Exit code 0 if all is well, 3 with warnings, 4 with problems.",
    )
    access.add_cluster_to(parser)
    parser.add_argument(
        "--conformance", action="store_true", help="what of Kubernetes is needed, and whether it is there"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text (default) or json")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Look, and say."""
    server = ApiServer.of(options)
    report = examine(gather(server, SystemClock().now(), options.system_namespace))
    if options.output == "json":
        output.print_json(report.model_dump(by_alias=True, mode="json"))
    elif options.conformance:
        tell_features(report)
    else:
        tell(report)
    counts = {severity: sum(each.severity is severity for each in report.findings) for severity in Severity}
    if counts[Severity.PROBLEM] or counts[Severity.WARNING]:
        code = PROBLEMS if counts[Severity.PROBLEM] else WARNINGS
        raise CliError(f"{counts[Severity.PROBLEM]} problems, {counts[Severity.WARNING]} warnings", code)


def tell(report: Report) -> None:
    """Each finding with why and what to do."""
    for each in report.findings:
        output.print_line(f"{each.severity.value}:", f"{each.about}: {each.what}")
        print(f"    why it matters: {each.why}")
        print(f"    what to do: {each.remedy}")
    if not report.findings:
        print(f"all is well: Trainyard {report.product} on Kubernetes {report.server or 'of an unknown version'}")


def tell_features(report: Report) -> None:
    """What is needed, and whether it is there."""
    rows = [
        [each.feature, "yes" if each.there else "no", "required" if each.required else "optional", each.used_for]
        for each in report.features
    ]
    output.print_table(f"Kubernetes {report.server}", ("FEATURE", "THERE", "NEEDED", "USED FOR"), rows)
