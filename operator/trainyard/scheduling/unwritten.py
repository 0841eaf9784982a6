"""What was learned since it was written down last, one observation after another.

Somebody else may have written meanwhile, as a restore does: then these are learned again on top of it. Bounded, so that nothing grows
where writing never succeeds.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Observation = TypeVar("Observation")
MOST = 10_000
"""Far more than happens between two writes."""


class Unwritten(Generic[Observation]):
    """Of one store. One thread may add while another one reads."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, Observation]] = deque(maxlen=MOST)
        self.learned = 0
        """Counted up with every observation."""

    def add(self, observation: Observation) -> None:
        self.learned += 1
        self._kept.append((self.learned, observation))

    def written(self, learned: int) -> None:
        """What was learned until that count is written down."""
        while self._kept and self._kept[0][0] <= learned:
            self._kept.popleft()

    def known(self, is_known: Callable[[Observation], bool]) -> None:
        """Whoever wrote meanwhile knows these already."""
        self._kept = deque((each for each in list(self._kept) if not is_known(each[1])), maxlen=MOST)

    @property
    def has_news(self) -> bool:
        """Whether something is not written down yet."""
        return bool(self._kept)

    def __iter__(self) -> Iterator[Observation]:
        return iter([each for _, each in list(self._kept)])
