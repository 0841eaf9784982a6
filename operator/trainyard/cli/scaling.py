"""Why a service has so many replicas, in words."""

from trainyard.api.autoscaling import Scaling
from trainyard.cli import output


def print_scaling(scaling: Scaling) -> None:
    """The last decision, what it was made from, and what a start is made of."""
    at = f" at {scaling.decided_at:%Y-%m-%d %H:%M:%SZ}" if scaling.decided_at else ""
    output.print_line(f"replicas wanted ({scaling.reason}{at}):", scaling.message)
    counts = (
        f"{scaling.held} held, {scaling.queued} queued, {scaling.in_flight} in flight; "
        f"{scaling.ready} replicas ready, {scaling.starting} starting"
    )
    output.print_line("measured then:", counts)
    start = scaling.cold_start
    if start is not None and start.starts:
        parts = ", ".join(f"{each.name} {each.p50_seconds:.1f} s" for each in start.stages)
        whole = f"{start.p50_seconds:.1f} s, nine times out of ten below {start.p90_seconds:.1f} s"
        output.print_line("a start takes:", f"{whole} on {start.flavor} ({start.starts} seen; {parts})")
