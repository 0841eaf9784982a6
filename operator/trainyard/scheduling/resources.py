"""Amounts of resources by name, in thousandths of a unit, and how they are added and shown."""

from collections.abc import Iterable, Mapping

from trainyard.api.quantity import parse as parse  # noqa: PLC0414  part of this vocabulary

Amounts = Mapping[str, int]
"""Resource name to thousandths of a unit (thousandths of a byte for memory)."""


def show(amount: int) -> str:
    """Thousandths as people write them: 4, 500m, 16Gi."""
    if amount % 1000:
        return f"{amount}m"
    whole = amount // 1000
    for power, letter in ((4, "Ti"), (3, "Gi"), (2, "Mi")):
        if whole and whole % 1024**power == 0:
            return f"{whole // 1024**power}{letter}"
    return str(whole)


def describe(amounts: Amounts) -> str:
    """As in "cpu=2, nvidia.com/gpu=1"."""
    return (
        ", ".join(f"{name}={show(amount)}" for name, amount in sorted(amounts.items()) if amount and name != "pods")
        or "nothing"
    )


def parse_all(quantities: Mapping[str, str | float]) -> dict[str, int]:
    """Each quantity in thousandths."""
    return {name: parse(quantity) for name, quantity in quantities.items()}


def add(amounts: Iterable[Amounts]) -> dict[str, int]:
    """Sum by resource."""
    total: dict[str, int] = {}
    for each in amounts:
        for name, amount in each.items():
            total[name] = total.get(name, 0) + amount
    return total


def times(amounts: Amounts, count: int) -> dict[str, int]:
    """`count` times each amount."""
    return {name: amount * count for name, amount in amounts.items()}
