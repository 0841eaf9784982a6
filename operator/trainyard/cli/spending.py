"""What a job's time was spent on, as a table with bars, and who holds it up."""

from collections.abc import Sequence
from datetime import datetime

from trainyard.api.ledger import Spent
from trainyard.api.straggler import Straggler
from trainyard.cli import job_facts as facts
from trainyard.cli import output
from trainyard.cli.energy import print_energy

_BAR = 30
_CAUSES_SHOWN = 4


def print_spent(spent: Spent) -> None:
    """Categories with their share of all time, and the largest causes of what was not productive."""
    total = sum(spent.seconds.values())
    if not total:
        return
    rows = [
        [name, facts.span(seconds), f"{100 * seconds / total:.1f}%", "#" * round(_BAR * seconds / total)]
        for name, seconds in spent.seconds.items()
    ]
    output.print_table(f"what its time was spent on, {_gpu_hours(spent)}:", ("CATEGORY", "TIME", "SHARE", ""), rows)
    causes = [
        f"{each.cause} {facts.span(each.seconds)}" + (f" ({each.gpu_hours:.2f} GPU-hours)" if each.gpu_hours else "")
        for each in spent.causes[:_CAUSES_SHOWN]
    ]
    if causes:
        output.print_line("lost to:", ", ".join(causes))
    if spent.energy is not None:
        print_energy(spent.energy)


def held_up_by(stragglers: Sequence[Straggler], now: datetime) -> str:
    """In one line; empty if nobody does."""
    return "; ".join(
        f"{each}, which takes {each.factor:g} times as long for its part of a step as the others, found {facts.age(each.since, now)} ago"
        for each in stragglers
        if each.until is None
    )


def _gpu_hours(spent: Spent) -> str:
    held = f"{spent.gpu_hours:.2f} GPU-hours held"
    return held if spent.goodput is None else f"{held}, {100 * spent.goodput:.1f}% of them productive"
