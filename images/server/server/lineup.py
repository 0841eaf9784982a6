"""Who is computed next, and with whom. Pure.

Priorities are head starts: one step counts as having waited AGEING_SECONDS longer. The order of two requests therefore
never changes while they wait, and nothing starves: whoever has waited long enough is ahead of any newcomer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

AGEING_SECONDS = 1.0
MAX_PRIORITY = 9


@dataclass(frozen=True, slots=True)
class Place:
    """A request in the line. Times in seconds on one clock; kind is what must be equal within a batch."""

    rows: int
    kind: object = None
    since: float = 0.0
    priority: int = 0
    deadline: float = inf

    @property
    def turn(self) -> float:
        """Requests are served in this order, those with equal turns in order of arrival."""
        return self.since - self.priority * AGEING_SECONDS


def choose(line: Sequence[Place], max_rows: int) -> list[int]:
    """Indices of the next batch of a line that is in order of turns.

    The first goes whatever its size; then those of its kind while they fit. One of its kind that does not fit ends the
    batch, so nobody is overtaken within a kind; others are passed over and lead a batch of their own.
    """
    if not line:
        return []
    chosen, total = [0], line[0].rows
    for index in range(1, len(line)):
        if line[index].kind != line[0].kind:
            continue
        if total + line[index].rows > max_rows:
            break
        chosen.append(index)
        total += line[index].rows
    return chosen
