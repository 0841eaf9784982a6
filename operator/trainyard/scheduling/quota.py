"""Quota arithmetic: what each queue may hold of each flavor, and what its workloads and left-over pods hold."""

from collections import defaultdict
from collections.abc import Iterable

from trainyard.api.queue import QueueSpec
from trainyard.scheduling.resources import Amounts, add, parse, times
from trainyard.scheduling.snapshot import PodView, Snapshot, Workload

Account = tuple[str, str]
"""(queue, flavor)."""


def demand(workload: Workload) -> dict[str, int]:
    """What all pods of the workload ask for together."""
    return add(times(each.requests, each.count) for each in workload.pods)


def guarantees(queue: QueueSpec, flavor: str) -> dict[str, int]:
    """Quota by resource; a resource that is not listed is not limited."""
    for quota in queue.flavors:
        if quota.name == flavor:
            return {each.name: parse(each.guaranteed) for each in quota.resources}
    return {}


class QuotaUse:
    """Who holds how much of each account, kept while a cycle admits."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._used: dict[Account, dict[str, int]] = defaultdict(dict)
        self._holders: dict[Account, list[tuple[str, dict[str, int]]]] = defaultdict(list)
        for workload in snapshot.workloads:
            if workload.admission:
                self.take(workload, workload.admission.flavor)
        for owner, pods in _left_over(snapshot):
            self._hold((pods[0].queue, pods[0].flavor), owner, add(pod.requests for pod in pods))

    def take(self, workload: Workload, flavor: str) -> None:
        """Count a workload as admitted."""
        self._hold((workload.queue, flavor), f"{workload.key.namespace}/{workload.key.name}", demand(workload))

    def used(self, queue: str, flavor: str) -> Amounts:
        """What is held, by resource."""
        return self._used.get((queue, flavor), {})

    def shortage(self, queue: str, spec: QueueSpec, flavor: str, asked: Amounts) -> dict[str, int]:
        """By how much `asked` on top of what is held would exceed each quota; empty when it fits."""
        used = self.used(queue, flavor)
        over = {
            name: used.get(name, 0) + asked.get(name, 0) - limit
            for name, limit in guarantees(spec, flavor).items()
            if asked.get(name, 0)
        }
        return {name: amount for name, amount in over.items() if amount > 0}

    def holders(self, queue: str, flavor: str, resource: str) -> list[tuple[str, int]]:
        """Who holds the resource, largest first."""
        held: dict[str, int] = defaultdict(int)
        for owner, amounts in self._holders.get((queue, flavor), []):
            held[owner] += amounts.get(resource, 0)
        return sorted(
            ((owner, amount) for owner, amount in held.items() if amount), key=lambda each: (-each[1], each[0])
        )

    def _hold(self, account: Account, owner: str, amounts: dict[str, int]) -> None:
        used = self._used[account]
        for name, amount in amounts.items():
            used[name] = used.get(name, 0) + amount
        self._holders[account].append((owner, amounts))


def _left_over(snapshot: Snapshot) -> Iterable[tuple[str, list[PodView]]]:
    """Pods that still run for an owner which holds no admission: a deleted job's quota is free when its pods are gone."""
    admitted = {workload.uid for workload in snapshot.workloads if workload.admission}
    by_owner: dict[tuple[str, str, str], list[PodView]] = defaultdict(list)
    for pod in snapshot.pods:
        if pod.queue and not pod.finished and pod.owner_uid not in admitted:
            by_owner[(pod.owner_uid, pod.queue, pod.flavor)].append(pod)
    return ((f"{pods[0].namespace}/{pods[0].name} (ending)", pods) for pods in by_owner.values())
