"""What the benchmark `balance` compares with: one queue in front of all replicas, first come, first served, at no cost."""

from collections.abc import Sequence


def latencies(arrivals: Sequence[float], work: Sequence[float], slowness: Sequence[float]) -> list[float]:
    """Seconds from each arrival to its answer.

    arrivals: seconds, ascending. work: seconds that each takes on a replica of slowness 1. The head of the queue goes to the first replica that is
    free, and to the fastest where several are. Exact, event by event: the next to start is always the head, so the order of starts is that of arrivals.
    """
    free_at = [0.0] * len(slowness)
    found = []
    for arrival, seconds in zip(arrivals, work, strict=True):
        start = max(arrival, min(free_at))
        replica = min((each for each, at in enumerate(free_at) if at <= start), key=lambda each: slowness[each])
        free_at[replica] = start + seconds * slowness[replica]
        found.append(free_at[replica] - arrival)
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
