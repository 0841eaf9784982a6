"""Why a workload may not start: a chain of small checks, each a reason with its arithmetic. The first that speaks is what users see."""

from collections.abc import Callable
from dataclasses import dataclass

from trainyard.api.queue import QueueSpec
from trainyard.api.reasons import Waiting
from trainyard.scheduling.quota import QuotaUse, demand, guarantees
from trainyard.scheduling.resources import describe, show
from trainyard.scheduling.snapshot import Snapshot, Verdict, Workload


@dataclass(frozen=True, slots=True)
class Case:
    """One workload before the bench."""

    workload: Workload
    snapshot: Snapshot
    use: QuotaUse

    @property
    def queue(self) -> QueueSpec:
        return self.snapshot.queues[self.workload.queue]


Check = Callable[[Case], Verdict | None]


def blocked(case: Case) -> Verdict | None:
    """The controller already knows that it cannot start: its template is refused, its claim is missing."""
    return case.workload.blocked


def unknown_queue(case: Case) -> Verdict | None:
    name = case.workload.queue
    if name in case.snapshot.queues:
        return None
    there = ", ".join(sorted(case.snapshot.queues)) or "none"
    return Verdict(
        Waiting.MISCONFIGURED,
        f"spec.queue: there is no Queue {name!r}; there are: {there}. Create it, or delete the object and name another",
    )


def closed_to_namespace(case: Case) -> Verdict | None:
    namespace = case.workload.key.namespace
    if case.queue.namespace_selector.matches(dict(case.snapshot.namespaces.get(namespace, {}))):
        return None
    return Verdict(
        Waiting.MISCONFIGURED,
        f"spec.queue: Queue {case.workload.queue!r} does not admit namespace {namespace!r}: its namespaceSelector does not match the namespace's labels",
    )


def on_hold(case: Case) -> Verdict | None:
    if case.queue.stop_policy == "None":
        return None
    return Verdict(
        Waiting.ON_HOLD,
        f"Queue {case.workload.queue!r} has stopPolicy {case.queue.stop_policy}; it admits nothing until that is None",
    )


def no_flavor(case: Case) -> Verdict | None:
    names = [quota.name for quota in case.queue.flavors]
    if any(name in case.snapshot.flavors for name in names):
        return None
    return Verdict(
        Waiting.NO_MATCHING_FLAVOR,
        f"Queue {case.workload.queue!r} names flavors {', '.join(names)}, and none of them exists",
    )


def exceeds_limit(case: Case) -> Verdict | None:
    """Larger than the queue could ever hold on any of its flavors: say so at once."""
    asked = demand(case.workload)
    shortages = []
    for quota in case.queue.flavors:
        limits = guarantees(case.queue, quota.name)
        over = {name: amount for name, amount in asked.items() if name in limits and amount > limits[name]}
        if not over:
            return None
        shortages += [
            f"{name} on {quota.name}: asks {show(amount)}, the queue can hold at most {show(limits[name])}"
            for name, amount in sorted(over.items())
        ]
    return Verdict(Waiting.EXCEEDS_MAX_QUOTA, "; ".join(shortages))


STANDING: tuple[Check, ...] = (blocked, unknown_queue, closed_to_namespace, on_hold, no_flavor, exceeds_limit)
"""Checks that do not depend on what else runs, in the order in which a user would want to hear them."""


def waiting_for_quota(case: Case, flavor: str, shortage: dict[str, int]) -> Verdict:
    """Others of the queue hold what it needs; the largest holders are named."""
    parts = []
    for name, missing in sorted(shortage.items()):
        limit = guarantees(case.queue, flavor)[name]
        used = case.use.used(case.workload.queue, flavor).get(name, 0)
        holders = (
            ", ".join(
                f"{owner} {show(amount)}" for owner, amount in case.use.holders(case.workload.queue, flavor, name)[:3]
            )
            or "nobody"
        )
        parts.append(
            f"{name} on {flavor}: asks {show(demand(case.workload)[name])}, {show(used)} of {show(limit)} are used ({holders}), {show(missing)} must be given back"
        )
    return Verdict(Waiting.WAITING_FOR_QUOTA, "; ".join(parts))


def asks_for(workload: Workload) -> str:
    """As in "2 pods of nvidia.com/gpu=1"."""
    return " and ".join(
        f"{each.count} pod{'s' if each.count > 1 else ''} of {describe(each.requests)}" for each in workload.pods
    )
