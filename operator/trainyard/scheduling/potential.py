"""Why preemption ends: every job that holds a place has a standing, and no preemption ever makes the sorted list of them worse.

A job is *covered* at a queue if it is among the first that fit into what that queue and those below it are guaranteed: first
those covered further down, then by priority, then the oldest; an elastic job counts at its least size. Below the root of a tree
the guarantees of children add up to no more than their parent's, so who is covered at a queue is covered at every queue above.
The standing of a job is (how far down it is covered, priority, age): the better one comes first.

The potential of a tree is the list of standings, best first, with an end mark that is worse than any. It falls if at the first
difference the new list has the better standing. A preemption is refused unless the newcomer stands better than each victim did
and the potential falls.

Claim: a history without arrivals, ends and changes of configuration has finitely many admissions and preemptions. Proof. There
are finitely many jobs; priority, age and name of each are fixed and its cover is one of finitely many, so there are finitely
many lists. It remains to see that each step lowers the list.

- Admission of B. Its cover takes room at one queue only from those that come behind it there, and at the queues above from
  those that are covered less far down. All of them stood worse than B stands now. So every standing better than B's is there as
  before, or better since somebody made room, and B's own is new: at the first difference the new list is better.
- Preemption by B of victims that all stood worse. Taking a victim away gives room to those behind it; whoever loses cover
  through that stood worse than the victim. So again no standing better than B's got worse, and B's is new.
- Shrinking and growing an elastic job changes no standing, since each counts at its least size.

What users and nodes do from outside may raise the list. Each such event is followed by finitely many steps. The check at run
time does not rest on this proof: `falls` compares the two lists.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trainyard.scheduling.quota_tree import Cell, QuotaTree, Request
from trainyard.scheduling.snapshot import WorkloadKey

Standing = tuple[int, int, float, WorkloadKey]
"""(minus the depth down to which it is covered, minus its priority, created in seconds since 1970, key): the smaller is better."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A job that holds, or is promised, a place."""

    key: WorkloadKey
    queue: str
    request: Request
    """At its least size."""
    priority: int
    """What its queue lets it have."""
    created: float
    """Seconds since 1970."""


def standings(tree: QuotaTree, holders: Iterable[Holder]) -> dict[WorkloadKey, Standing]:
    """The standing of each holder among the others of its tree. Queues that are not in the tree cover nobody."""
    ordered = sorted(holders, key=lambda each: (-each.priority, each.created, each.key))
    paths = {each.queue: tree.path(each.queue) if each.queue in tree else () for each in ordered}
    deepest = max((len(path) for path in paths.values()), default=0)
    cover = dict.fromkeys((each.key for each in ordered), 0)
    for depth in range(deepest - 1, 0, -1):
        used: dict[tuple[str, Cell], int] = defaultdict(int)
        below = [(each, paths[each.queue][depth]) for each in ordered if len(paths[each.queue]) > depth]
        for each, node in below:
            if cover[each.key]:
                _use(used, node, each.request)
        for each, node in below:
            if not cover[each.key] and _fits(tree, used, node, each.request):
                _use(used, node, each.request)
                cover[each.key] = depth
    return {each.key: (-cover[each.key], -each.priority, each.created, each.key) for each in ordered}


def falls(before: Iterable[Standing], after: Iterable[Standing]) -> bool:
    """Whether the potential is lower after than before."""
    old, new = sorted(before), sorted(after)
    for was, now in zip(old, new, strict=False):
        if was != now:
            return now < was
    return len(new) > len(old)


def allowed(
    before: Mapping[WorkloadKey, Standing],
    after: Mapping[WorkloadKey, Standing],
    newcomer: WorkloadKey,
    victims: Sequence[WorkloadKey],
) -> bool:
    """Whether the newcomer may take the place of the victims: it stands better than each, and the potential falls."""
    return all(after[newcomer] < before[each] for each in victims) and falls(before.values(), after.values())


def _use(used: dict[tuple[str, Cell], int], node: str, request: Request) -> None:
    for cell, amount in request:
        used[node, cell] += amount


def _fits(tree: QuotaTree, used: Mapping[tuple[str, Cell], int], node: str, request: Request) -> bool:
    return all(used[node, cell] + amount <= tree.guaranteed(node, cell) for cell, amount in request)
