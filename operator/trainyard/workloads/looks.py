"""What the scheduler sees of each job or service, looked at again only where something changed.

A cycle asks for all of them, and most look as they did in the cycle before: with 10,000 objects that is the difference between a
cycle that costs milliseconds and one that costs seconds.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from trainyard.scheduling.snapshot import Workload
from trainyard.workloads.keys import Key

log = logging.getLogger(__name__)

Found: TypeAlias = Sequence[tuple[Workload, int]]
"""Workloads of one object that have or want a place, each with its attempt, which is a service's serial."""


class Looks:
    """The workloads of all objects of a kind."""

    def __init__(self, look: Callable[[Key], Found]) -> None:
        """look: at one object, which may be gone."""
        self._look = look
        self._found: dict[Key, Found] = {}
        self._news: dict[Key, None] = {}
        """A set in the order in which the news came, so that who is first seen first stays first."""

    def noticed(self, key: Key) -> None:
        """The object changed, came or went, or what the scheduler has to be told of it may be another thing."""
        self._news[key] = None

    def all_noticed(self, keys: Iterable[Key]) -> None:
        """What all of them are looked at with changed."""
        self._news.update(dict.fromkeys(keys))

    def all(self) -> list[tuple[Workload, int]]:
        """Everything that has or wants a place. An object that cannot be understood is left out, lest it stop everybody's scheduling."""
        for key in self._news:
            try:
                found = self._look(key)
            except Exception:
                log.exception("object is left out of scheduling", extra={"object": str(key)})
                found = ()
            if found:
                # Most news change nothing here, and who keeps a workload from cycle to cycle need not keep two.
                if found != self._found.get(key):
                    self._found[key] = found
            else:
                self._found.pop(key, None)
        self._news.clear()
        return [each for found in self._found.values() for each in found]
