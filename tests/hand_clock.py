"""A clock for tests of what depends on time alone."""

from datetime import UTC, datetime, timedelta


class HandClock:
    """Time that stands until it is moved."""

    def __init__(self, begin: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)) -> None:
        self.seconds, self._begin = 0.0, begin

    def now(self) -> datetime:
        return self._begin + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds
