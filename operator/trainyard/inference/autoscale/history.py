"""The demand of one service over the last minutes, in bounded memory.

Integrals are kept instead of single values, so the mean over any window is a difference of two points.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from math import exp, sqrt

_SPACING = 1.0
_MOST_POINTS = 1200
_GAP_SECONDS = 60.0
"""After so long without a word, what was before says nothing of now."""
_MEMORY_REQUESTS = 600.0
_PRIOR_REQUESTS = 20.0
_LEAST_SPAN = 0.5
"""Seconds; a shorter window says nothing of a rate."""


@dataclass(frozen=True, slots=True)
class Sample:
    """All gateways of a service at one time."""

    time: float
    """Monotonic seconds."""
    requests: float
    """That ever came; only differences count."""
    held: int = 0
    queued: int = 0
    in_flight: int = 0
    refusing: bool = False
    """The queue is full: requests are counted that nobody works on."""

    @property
    def backlog(self) -> int:
        return self.held + self.queued


@dataclass(frozen=True, slots=True)
class Window:
    """Means over a span of time."""

    seconds: float
    rate: float
    """Requests that came, a second."""
    in_flight: float
    backlog: float

    @property
    def concurrency(self) -> float:
        return self.in_flight + self.backlog


@dataclass(frozen=True, slots=True)
class _Point:
    time: float
    requests: float
    in_flight: float  # integrals over time
    backlog: float


class History:
    """Take samples, ask for windows."""

    def __init__(self, keep_seconds: float) -> None:
        self._keep = keep_seconds
        self._points: list[_Point] = []
        self._last: Sample | None = None
        self._worked = self._answered = 0.0

    @property
    def last(self) -> Sample | None:
        return self._last

    @property
    def seconds(self) -> float:
        """How far back it reaches."""
        return self._points[-1].time - self._points[0].time if self._points else 0.0

    def service_seconds(self, prior: float) -> float:
        """Mean time of an answer without waiting (Little's law). prior: the guess before there is any, worth some answers."""
        return (self._worked + _PRIOR_REQUESTS * prior) / (self._answered + _PRIOR_REQUESTS)

    @property
    def service_error(self) -> float:
        """Relative standard error of `service_seconds`: 1 before anything was answered."""
        return 1 / sqrt(1 + self._answered)

    @property
    def answered(self) -> float:
        """How many answers `service_seconds` rests on, old ones counted less."""
        return self._answered

    def add(self, sample: Sample) -> None:
        """A sample that is not later than the last one is ignored."""
        last = self._last
        if last is None or sample.time - last.time > _GAP_SECONDS:
            self._last = sample
            self._points = [_Point(sample.time, 0.0, 0.0, 0.0)]
            return
        span = sample.time - last.time
        if span <= 0:
            return
        came = max(0.0, sample.requests - last.requests)
        work = span * (sample.in_flight + last.in_flight) / 2
        if not (sample.refusing or last.refusing):
            self._learn(work, came - (sample.backlog - last.backlog) - (sample.in_flight - last.in_flight))
        end = self._points[-1]
        point = _Point(
            sample.time,
            end.requests + came,
            end.in_flight + work,
            end.backlog + span * (sample.backlog + last.backlog) / 2,
        )
        spacing = max(_SPACING, self._keep / _MOST_POINTS)
        if len(self._points) > 1 and sample.time - self._points[-2].time < spacing:
            self._points[-1] = point
        else:
            self._points.append(point)
        self._last = sample
        self._prune(sample.time - self._keep)

    def _learn(self, work: float, answered: float) -> None:
        """All the time spent, also on what is not answered yet, over what was answered: the likeliest mean of exponential times."""
        fade = exp(-max(0.0, answered) / _MEMORY_REQUESTS)
        self._worked = self._worked * fade + work
        self._answered = max(0.0, self._answered * fade + answered)

    def _prune(self, before: float) -> None:
        keep = bisect_right(self._points, before, key=lambda each: each.time) - 1
        if keep > len(self._points) // 4:
            del self._points[:keep]

    def window(self, seconds: float) -> Window | None:
        """The last so many seconds, or as many as are known; None if nothing is."""
        return self._between(self._points[-1].time - seconds, self._points[-1].time) if self._points else None

    def rates(self, seconds: float, parts: int) -> list[float]:
        """Requests a second in equal parts of the last so many seconds; fewer parts if less is known."""
        if not self._points:
            return []
        end, step = self._points[-1].time, seconds / parts
        first = max(self._points[0].time, end - seconds)
        edges = [end - step * each for each in range(parts, -1, -1) if end - step * each >= first - 1e-9]
        found = [self._between(begin, finish) for begin, finish in pairwise(edges)]
        return [each.rate for each in found if each is not None]

    def _between(self, begin: float, end: float) -> Window | None:
        low, high = self._at(begin), self._at(end)
        span = high.time - low.time
        if span < _LEAST_SPAN:
            return None
        return Window(
            span,
            (high.requests - low.requests) / span,
            (high.in_flight - low.in_flight) / span,
            (high.backlog - low.backlog) / span,
        )

    def _at(self, time: float) -> _Point:
        """The integrals at that time, between two points by a straight line."""
        after = bisect_right(self._points, time, key=lambda each: each.time)
        if after == 0:
            return self._points[0]
        low = self._points[after - 1]
        if after == len(self._points) or low.time == time:
            return low
        high = self._points[after]
        part = (time - low.time) / (high.time - low.time)
        return _Point(
            time,
            low.requests + part * (high.requests - low.requests),
            low.in_flight + part * (high.in_flight - low.in_flight),
            low.backlog + part * (high.backlog - low.backlog),
        )
