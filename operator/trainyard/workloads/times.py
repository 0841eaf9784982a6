"""Times that training and serving share, in seconds."""

from collections.abc import Iterable
from datetime import datetime

from trainyard.api.admission import AvoidedNode

BIND_SECONDS = 30.0
"""A pod that kube-scheduler has not bound for so long gives its place back."""
AVOID_SECONDS = 300.0
"""The node it was meant for is not tried again for so long."""
REFRESH_SECONDS = 30.0
"""Arithmetic of a wait changes while its reason stays: readers near the front of the line get it within half a minute."""
_NEAR = 20
"""So many of a queue are near the front."""


def distance(position: int) -> int:
    """0 near the front of the line; one more for each doubling of the place behind."""
    return (position // _NEAR).bit_length()


def retell_seconds(position: int) -> float:
    """How often somebody at that place is told the arithmetic anew: the farther behind, the less it is worth, and the more they are."""
    return REFRESH_SECONDS * max(1.0, position / _NEAR)


MEND_SECONDS = 10.0
"""A job that lost nodes keeps the rest of its place for so long, while others are looked for."""
_ROUNDING_SECONDS = 0.1


def forgiven(avoid: Iterable[AvoidedNode], now: datetime) -> float | None:
    """Seconds until the next of these nodes may be tried again, which no event announces; None if all may be."""
    left = [(each.until - now).total_seconds() for each in avoid]
    return min((each + _ROUNDING_SECONDS for each in left if each > 0), default=None)
