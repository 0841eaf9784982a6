"""How many requests at a time a replica may have so that their mean time stays below an objective: learned from what was seen."""

from dataclasses import dataclass

_FADE = 0.95
_LEAST_SPREAD = 0.02
"""Variance of the requests at a time, over their mean squared, below which no line is fitted."""
_LEAST_WEIGHT = 3.0


@dataclass(slots=True)
class LatencyModel:
    """Time of an answer = a + b x requests at a time, by least squares over faded pairs."""

    weight: float = 0.0
    busy: float = 0.0
    time: float = 0.0
    busy_busy: float = 0.0
    busy_time: float = 0.0

    def add(self, busy: float, seconds: float) -> None:
        """With so many requests at a time on a replica an answer took so many seconds, on average."""
        if busy <= 0 or seconds <= 0:
            return
        for name, value in (
            ("weight", 1.0),
            ("busy", busy),
            ("time", seconds),
            ("busy_busy", busy * busy),
            ("busy_time", busy * seconds),
        ):
            setattr(self, name, _FADE * getattr(self, name) + value)

    def target(self, objective: float, most: float) -> float:
        """Requests at a time that keep the objective (seconds), from 1 to `most`; `most` while nothing is known."""
        if self.weight < _LEAST_WEIGHT or most <= 1:
            return most
        busy, seconds = self.busy / self.weight, self.time / self.weight
        spread = self.busy_busy / self.weight - busy * busy
        if spread < _LEAST_SPREAD * busy * busy:
            # One point is no line: half of what it takes is taken to grow with the load.
            rise = seconds / 2 / busy
        else:
            rise = (self.busy_time / self.weight - busy * seconds) / spread
        if rise <= 0:
            return most if seconds <= objective else max(1.0, busy / 2)
        return min(max(busy + (objective - seconds) / rise, 1.0), most)
