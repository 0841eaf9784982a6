"""A workload that holds its place, as the engine remembers it: what it took, since when, and until when it is expected to run."""

from dataclasses import dataclass, field

from trainyard.scheduling.fleet import Grant
from trainyard.scheduling.quota_tree import Request
from trainyard.scheduling.snapshot import Assignment, Workload

_FORGIVENESS = 0.5
_TICK = 1e-3


@dataclass(slots=True)
class Running:
    """What holds a place. Times are seconds since 1970."""

    workload: Workload
    assignment: Assignment
    request: Request
    grants: tuple[tuple[int, Grant], ...]
    """(row of the fleet, what was taken there) of each pod."""
    began: float
    ends: float
    """When it is expected to end."""
    over_ran: bool = field(default=False)
    """It has outlived an expectation."""

    @property
    def flavor(self) -> str:
        return self.assignment.flavor

    def still_runs(self, now: float) -> None:
        """Forgive an over-run: what ran longer than expected is taken to run half as long again as it already did."""
        while self.ends <= now:
            self.over_ran = True
            self.ends += max(_TICK, _FORGIVENESS * (self.ends - self.began))
