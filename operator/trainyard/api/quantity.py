"""Kubernetes quantities as exact integers: thousandths of a unit, so that 500m of cpu and 1 GPU need no floating point."""

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

LARGEST = 2**60
"""Amounts stop here (1 PiB of memory, in thousandths of a byte): whatever people write, arithmetic on it stays in 64 bits."""
_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i))?$")
_LONGEST = 64
_SUFFIX = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "K": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
} | {f"{letter}i": Decimal(1024**power) for power, letter in enumerate("KMGTPE", start=1)}


@lru_cache(maxsize=4096)
def parse(quantity: str | float) -> int:
    """A Kubernetes quantity in thousandths, rounded up, at most LARGEST either way. Raises ValueError that names the text."""
    text = str(quantity)
    found = _QUANTITY.match(text) if len(text) <= _LONGEST else None
    if not found:
        raise ValueError(f"{text[:_LONGEST]!r} is not a quantity such as 4, 500m or 16Gi")
    number, exponent, suffix = found.groups()
    value = Decimal(number + (exponent or ""))
    # Compared before any arithmetic: an exponent of a billion is quickly written and never computed.
    if not -LARGEST <= value <= LARGEST:
        return LARGEST if value > 0 else -LARGEST
    amount = value * (_SUFFIX[suffix] if suffix else 1) * 1000
    return max(-LARGEST, min(LARGEST, int(amount.to_integral_value(ROUND_CEILING))))


def whole(quantity: str) -> int:
    """Whole units of a quantity; 0 for a text that is none, since counting is not the place to complain."""
    try:
        return parse(quantity) // 1000
    except ValueError:
        return 0
