"""A queue's account while this process runs: what was held is counted from one look to the next, and written seldom."""

from dataclasses import dataclass
from datetime import datetime

from trainyard.api.names import GPU
from trainyard.api.queue import BudgetUse, Queue, RecentShare
from trainyard.scheduling import accounts
from trainyard.scheduling.quota_tree import QuotaTree
from trainyard.scheduling.resources import parse

_SAME_SHARE = 1e-3
_LARGEST_SHARE = 1e6
"""A weight of 0 borrows as if infinitely much, which JSON cannot say."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a queue used in the past, and what it holds from then on."""

    budget: BudgetUse | None
    recent_share: RecentShare | None
    gpus: float
    share: float

    def counts(self) -> bool:
        """Whether it changes by time alone."""
        return (self.budget is not None and self.gpus > 0) or (
            self.recent_share is not None
            and self.share > 0  # who borrows nothing forgets by himself, as readers know
            and abs(self.recent_share.share - self.share) > _SAME_SHARE
        )


def account(queue: Queue, before: Account | None, tree: QuotaTree, now: datetime) -> Account | None:
    """The account of a queue until now; None if the queue keeps none. before: as it was when it was looked at last. tree: what is held."""
    spec, name, status = queue.spec, queue.metadata.name, queue.status
    if spec.budget is None and spec.usage_half_life_seconds is None:
        return None
    if name not in tree:
        return None
    if before is None:  # this process has just started: what the status says was held was held until now
        held = sum(parse(each.used) for each in status.use if each.resource == GPU) / 1000
        borrows = any(parse(each.borrowed) for each in status.use)
        before = Account(
            status.budget,
            status.recent_share,
            held,
            status.recent_share.share if status.recent_share and borrows else 0.0,
        )
    share = tree.share(name)
    return Account(
        accounts.spent(spec.budget, before.budget, before.gpus, now) if spec.budget else None,
        accounts.borrowed_lately(spec.usage_half_life_seconds, before.recent_share, before.share, now)
        if spec.usage_half_life_seconds
        else None,
        accounts.gpus_held(tree, name, spec),
        min(share[-1], _LARGEST_SHARE) if share else 0.0,
    )
