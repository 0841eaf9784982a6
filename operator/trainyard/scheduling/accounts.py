"""What queues used in the past: GPU-hours of the current period, and what they borrowed lately, forgotten by half again and again.

Neighbours: `admission/overview` keeps the accounts in the status of queues; `checks` holds what is over its budget; `cycle` orders by
what was borrowed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from trainyard.api.names import GPU
from trainyard.api.queue import Budget, BudgetUse, QueueSpec, QueueStatus, RecentShare
from trainyard.scheduling.quota_tree import QuotaTree
from trainyard.scheduling.resources import parse

_HOUR = 3600.0
_DEVICE = 1000


@dataclass(frozen=True, slots=True)
class Accounts:
    """As a cycle reads them, by queue."""

    used_up: Mapping[str, str] = field(default_factory=dict)
    """Queues whose budget is used up, and what to say of it."""
    recent: Mapping[str, float] = field(default_factory=dict)
    """What was borrowed lately, for queues that count that."""


def period_start(budget: Budget, now: datetime) -> datetime:
    """Periods follow each other from 1970 on."""
    seconds = int(now.timestamp())
    return datetime.fromtimestamp(seconds - seconds % budget.period_seconds, UTC)


def spent(budget: Budget, before: BudgetUse | None, gpus: float, now: datetime) -> BudgetUse:
    """Use until now, if `gpus` were held since `before` was written. What was used before the period began does not count."""
    start = period_start(budget, now)
    if before is None:
        return BudgetUse(period_start=start, gpu_hours=0.0, updated_at=now)
    same = before.period_start == start
    since = before.updated_at if same else max(before.updated_at, start)
    hours = (before.gpu_hours if same else 0.0) + gpus * max(0.0, (now - since).total_seconds()) / _HOUR
    return BudgetUse(period_start=start, gpu_hours=hours, updated_at=now)


def borrowed_lately(half_life: float, before: RecentShare | None, share: float, now: datetime) -> RecentShare:
    """The average until now, if `share` was borrowed since `before` was written."""
    if before is None:
        return RecentShare(share=share, updated_at=now)
    kept = 0.5 ** (max(0.0, (now - before.updated_at).total_seconds()) / half_life)
    return RecentShare(share=kept * before.share + (1 - kept) * share, updated_at=now)


def gpus_held(tree: QuotaTree, queue: str, spec: QueueSpec) -> float:
    """By the queue and those below it, on the flavors that it has a quota of."""
    return sum(tree.held(queue, (each.name, GPU)) for each in spec.flavors) / _DEVICE


def read(queues: Mapping[str, tuple[QueueSpec, QueueStatus]], now: datetime) -> Accounts:
    """What the statuses say. What was borrowed is forgotten from when it was written on; what is borrowed now the tree knows."""
    used_up: dict[str, str] = {}
    recent: dict[str, float] = {}
    for name, (spec, status) in queues.items():
        if spec.budget is not None and (words := _used_up(name, spec.budget, status.budget, now)):
            used_up[name] = words
        if spec.usage_half_life_seconds is not None and status.recent_share is not None:
            recent[name] = borrowed_lately(spec.usage_half_life_seconds, status.recent_share, 0.0, now).share
    return Accounts(used_up, recent)


def _used_up(name: str, budget: Budget, use: BudgetUse | None, now: datetime) -> str:
    start = period_start(budget, now)
    if use is None or use.period_start != start or use.gpu_hours < parse(budget.gpu_hours) / 1000:
        return ""
    ends = (start + timedelta(seconds=budget.period_seconds)).strftime("%Y-%m-%d %H:%MZ")
    return (
        f"Queue {name!r} has used {use.gpu_hours:.1f} of its budget of {budget.gpu_hours} GPU-hours; the next period begins {ends}, "
        "or raise spec.budget.gpuHours"
    )
