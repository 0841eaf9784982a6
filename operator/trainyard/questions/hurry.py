"""How long an answer may take that somebody waits for."""

import time
from collections.abc import Callable

REMEDY_SECONDS = 0.2
"""How long remedies are looked for: an answer is wanted at once."""


def in_a_hurry() -> Callable[[], bool]:
    """True when enough time went into remedies, counted from when it is asked first: what comes before takes none of it."""
    ends: float | None = None

    def hurry() -> bool:
        nonlocal ends
        now = time.monotonic()
        ends = now + REMEDY_SECONDS if ends is None else ends
        return now > ends

    return hurry
