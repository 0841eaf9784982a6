"""The lines of `trainyard why` that tell how the rollout of a changed model goes."""

from trainyard.api.rollout import RevisionCounts, RolloutStatus
from trainyard.cli import output


def print_rollout(rollout: RolloutStatus) -> None:
    """Where it stands, why, and what both models did in this step."""
    reason = f" ({rollout.reason})" if rollout.reason else ""
    head = f"{rollout.strategy}, {rollout.phase}{reason} since {rollout.since:%Y-%m-%d %H:%M:%SZ}"
    share = f", {rollout.weight} % of the requests" if rollout.weight else ""
    share += f", copies of {rollout.shadow} % of the old model's" if rollout.shadow else ""
    output.print_line("rollout:", f"{head}{share}: {rollout.message}")
    for name, path, counts in (
        ("new model:", rollout.canary.path, rollout.canary_counts),
        ("old model:", rollout.stable.path, rollout.stable_counts),
    ):
        output.print_line(name, f"{path}: {_told(counts)}")


def _told(counts: RevisionCounts) -> str:
    told = f"{counts.requests} requests in this step, {counts.errors} failed, {counts.slow} of {counts.answered} slow"
    return told + (f", {counts.differed} of {counts.compared} answers to copies differ" if counts.compared else "")
