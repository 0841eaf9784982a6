"""Energy, money and carbon in a few lines. Whatever is estimated says so."""

from collections.abc import Sequence

from trainyard.api.energy import JOULES_PER_KWH, EnergySpent, PowerUse
from trainyard.cli import output

_KILO = 1000.0


def print_energy(spent: EnergySpent) -> None:
    """What a job's place came to."""
    if spent.estimated_joules:
        output.print_line(
            "energy, estimated:", f"{_kwh(spent.estimated_joules)} for all the time that it held its place"
        )
    if spent.measured_joules:
        output.print_line(
            "energy, measured:", f"{_kwh(spent.measured_joules)} by its GPUs' own counters, while its trainers ran"
        )
    if spent.cost:
        output.print_line("cost:", f"{spent.cost:.2f}")
    if spent.carbon_grams is not None:
        output.print_line("CO2, estimated:", f"{spent.carbon_grams / _KILO:.3g} kg")


def print_power(power: Sequence[PowerUse], own: PowerUse | None) -> None:
    """What is drawn and paid now, by queue and flavor."""
    rows = [[each.queue, each.flavor, *_now(each)] for each in power]
    output.print_table("drawn now, estimated under load:", ("QUEUE", "FLAVOR", "KW", "COST/H", "KG CO2/H"), rows)
    if own is not None and (own.watts or own.cost_per_hour):
        kilowatts, cost, _ = _now(own)
        output.print_line("your namespace:", f"{kilowatts} kW, {cost} an hour")


def _now(use: PowerUse) -> list[str]:
    grams = use.carbon_grams_per_hour
    return [
        f"{use.watts / _KILO:.2f}",
        f"{use.cost_per_hour:.2f}",
        "-" if grams is None else f"{grams / _KILO:.2f}",
    ]


def _kwh(joules: float) -> str:
    return f"{joules / JOULES_PER_KWH:.3g} kWh"
