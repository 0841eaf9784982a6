"""All checks, in the order in which one would look; what the doctor says is what they yield, the worst first."""

from collections.abc import Callable, Iterator

from trainyard import __version__
from trainyard.cli.doctor import conformance, of_operator, of_queues, of_workloads
from trainyard.cli.doctor.finding import Finding, Report, Severity, note
from trainyard.cli.doctor.seen import Installation

Check = Callable[[Installation], Iterator[Finding]]


def all_was_read(seen: Installation) -> Iterator[Finding]:
    """What could not be looked at is told, or silence would look like health."""
    for each in seen.unread:
        yield note(
            each.what,
            f"it could not be looked at: {each.why}",
            "what is wrong there is not found",
            "run the doctor as a cluster administrator",
        )


CHECKS: tuple[Check, ...] = (
    conformance.kubernetes_has_what_is_needed,
    of_operator.kinds_stand,
    of_operator.operator_runs,
    of_operator.somebody_leads,
    of_operator.nobody_else_leads,
    of_operator.namespaces_are_served,
    of_operator.rights_suffice,
    of_operator.certificate_lasts,
    of_operator.priority_class_stands,
    of_operator.promises_hold,
    of_operator.clocks_agree,
    of_operator.somebody_watches,
    of_queues.flavors_have_nodes,
    of_queues.nodes_have_flavors,
    of_queues.queues_are_sound,
    of_queues.guarantees_are_covered,
    of_workloads.objects_are_understood,
    of_workloads.images_are_pulled,
    of_workloads.nothing_is_stuck,
    of_workloads.nothing_is_written_wrongly,
    of_workloads.gateways_answer,
    of_workloads.restores_are_over,
    all_was_read,
)
_ORDER = list(Severity)


def examine(seen: Installation) -> Report:
    """Everything that is wrong."""
    found = [each for check in CHECKS for each in check(seen)]
    found.sort(key=lambda each: _ORDER.index(each.severity))
    return Report(product=__version__, server=seen.version, findings=found, features=conformance.features(seen))
