"""Why a workload may not start whatever else runs: a chain of small checks, each a reason with its arithmetic.

The first that speaks is what users see. What depends on who runs now is in `explain`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trainyard.api.names import WATTS
from trainyard.api.queue import QueueSpec
from trainyard.api.reasons import Waiting
from trainyard.scheduling.quota import demand
from trainyard.scheduling.quota_tree import QuotaTree
from trainyard.scheduling.resources import show
from trainyard.scheduling.rules import Rules
from trainyard.scheduling.snapshot import Verdict, Workload


@dataclass(frozen=True, slots=True)
class Case:
    """One workload before the bench."""

    workload: Workload
    rules: Rules
    tree: QuotaTree

    @property
    def name(self) -> str:
        return self.workload.queue

    @property
    def queue(self) -> QueueSpec:
        return self.rules.queues[self.workload.queue]


Check = Callable[[Case], Verdict | None]


def standing(workload: Workload, rules: Rules, tree: QuotaTree) -> Verdict | None:
    """The first check that speaks, or None if only what runs now can be in the way."""
    case = Case(workload, rules, tree)
    return next((verdict for check in STANDING if (verdict := check(case))), None)


def blocked(case: Case) -> Verdict | None:
    """The controller already knows that it cannot start: its template is refused, its claim is missing."""
    return case.workload.blocked


def unknown_queue(case: Case) -> Verdict | None:
    if case.name in case.rules.queues:
        return None
    there = ", ".join(sorted(case.rules.queues.keys() - case.rules.parents)) or "none"
    return Verdict(
        Waiting.MISCONFIGURED,
        f"spec.queue: there is no Queue {case.name!r}; there are: {there}. Create it, or delete the object and name another",
    )


def not_a_leaf(case: Case) -> Verdict | None:
    """Quota is handed down to leaves, and they alone take jobs."""
    if case.name not in case.rules.parents:
        return None
    below = ", ".join(sorted(name for name, spec in case.rules.queues.items() if spec.parent == case.name))
    return Verdict(
        Waiting.MISCONFIGURED,
        f"spec.queue: Queue {case.name!r} is the parent of {below} and takes no jobs itself; name one of those",
    )


def parents_in_a_cycle(case: Case) -> Verdict | None:
    path = case.tree.cycles.get(case.name)
    if path is None:
        return None
    return Verdict(
        Waiting.MISCONFIGURED,
        f"spec.queue: the parents of Queue {case.name!r} form a cycle: {' -> '.join(path)}; change spec.parent of one of them",
    )


def closed_to_namespace(case: Case) -> Verdict | None:
    namespace = case.workload.key.namespace
    if case.queue.namespace_selector.matches(dict(case.rules.namespaces.get(namespace, {}))):
        return None
    return Verdict(
        Waiting.MISCONFIGURED,
        f"spec.queue: Queue {case.name!r} does not admit namespace {namespace!r}: its namespaceSelector does not match the namespace's labels",
    )


def on_hold(case: Case) -> Verdict | None:
    """The queue's own stop policy, or that of a queue above it."""
    for name in case.rules.upward(case.name):
        policy = case.rules.queues[name].stop_policy
        if policy != "None":
            return Verdict(
                Waiting.ON_HOLD, f"Queue {name!r} has stopPolicy {policy}; it admits nothing until that is None"
            )
    return None


def used_up(case: Case) -> Verdict | None:
    """The budget of the queue, or of one above it."""
    for name in case.rules.upward(case.name):
        if words := case.rules.used_up.get(name):
            return Verdict(Waiting.ON_HOLD, words)
    return None


def no_flavor(case: Case) -> Verdict | None:
    own = case.rules.flavors_of_queue(case.name)
    foreign = [name for name in case.workload.flavors if name not in own]
    if foreign and len(foreign) == len(case.workload.flavors):
        return Verdict(
            Waiting.NO_MATCHING_FLAVOR,
            f"spec.flavors: {', '.join(foreign)}; Queue {case.name!r} has quota on {', '.join(own) or 'no flavor'}",
        )
    if case.rules.flavors_of(case.workload):
        return None
    names = case.workload.flavors or own
    spot = [name for name in names if name in case.rules.flavors and case.rules.flavors[name].spot]
    if spot:
        return Verdict(
            Waiting.NO_MATCHING_FLAVOR,
            f"Flavor {', '.join(spot)} of Queue {case.name!r} is spot, for what may be preempted: name it in spec.flavors, or set spec.preemptible to true",
        )
    return Verdict(
        Waiting.NO_MATCHING_FLAVOR,
        f"Queue {case.name!r} names flavors {', '.join(names)}, and none of them exists"
        if names
        else f"Queue {case.name!r} and the queues above it name no flavor",
    )


def power_unknown(case: Case) -> Verdict | None:
    """A cap on power that nobody can keep: it is not known what is drawn."""
    if usable(case.workload, case.rules, case.tree):
        return None
    return Verdict(Waiting.MISCONFIGURED, left_out(case.workload, case.rules, case.tree))


def usable(workload: Workload, rules: Rules, tree: QuotaTree) -> tuple[str, ...]:
    """Flavors to be tried, best first, without those on which a cap on power could not be kept."""
    names = rules.flavors_of(workload)
    blind = powerless(tree, workload.queue, names)
    return tuple(name for name in names if name not in blind) if blind else names


def left_out(workload: Workload, rules: Rules, tree: QuotaTree) -> str:
    """Which flavors are not tried, why, and what to do; empty if all are."""
    blind = powerless(tree, workload.queue, rules.flavors_of(workload))
    if not blind:
        return ""
    return (
        f"Queue {workload.queue!r} or one it shares quota with has a quota of {WATTS} on Flavor {', '.join(blind)}, which states no "
        "spec.wattsPerUnit: set it there, or take the quota away"
    )


def powerless(tree: QuotaTree, queue: str, flavors: Iterable[str]) -> list[str]:
    """Flavors on which there is a quota of power, and which do not state theirs."""
    if queue not in tree:
        return []
    return [name for name in flavors if name not in tree.powers and tree.limited(queue, (name, WATTS))]


def exceeds_limit(case: Case) -> Verdict | None:
    """Larger than the queue could ever hold on any of its flavors: say so at once."""
    asked = demand(case.workload, least=True)
    shortages = []
    for flavor in usable(case.workload, case.rules, case.tree):
        request = case.tree.request(case.name, flavor, asked)
        over = [(cell, amount) for cell, amount in request if amount > case.tree.potential(case.name, cell)]
        if not over:
            return None
        shortages += [
            f"{cell[1]} on {cell[0]}: asks {show(amount)}, the queue can hold at most {show(case.tree.potential(case.name, cell))}"
            for cell, amount in over
        ]
    if beside := left_out(case.workload, case.rules, case.tree):
        shortages.append(beside)
    return Verdict(Waiting.EXCEEDS_MAX_QUOTA, "; ".join(shortages))


STANDING: tuple[Check, ...] = (
    blocked,
    unknown_queue,
    not_a_leaf,
    parents_in_a_cycle,
    closed_to_namespace,
    on_hold,
    used_up,
    no_flavor,
    power_unknown,
    exceeds_limit,
)
"""In the order in which a user would want to hear them."""
