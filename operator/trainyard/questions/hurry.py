"""How long an answer may take that somebody waits for."""

import time
from collections.abc import Callable

REMEDY_SECONDS = 0.2
"""How long remedies are looked for: an answer is wanted at once."""


def in_a_hurry() -> Callable[[], bool]:
    """True when enough time went into remedies."""
    ends = time.monotonic() + REMEDY_SECONDS
    return lambda: time.monotonic() > ends
