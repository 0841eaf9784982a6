"""How many explanations of a model are made at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from server.errors import QueueFull
from server.explain.path import Pace

MOST = 4
"""Explanations of one model at a time: each holds one of the requests that a gateway lets a replica work on."""


@dataclass(eq=False)
class Explaining:
    """Of one model: how many explanations are made, and what was learned of its pace."""

    running: int = 0
    pace: Pace = field(default_factory=Pace)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count an explanation while it is made. Raises QueueFull."""
        if self.running >= MOST:
            raise QueueFull(f"{self.running} explanations are being made, which is the limit; try again later")
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
