"""What workloads ask of quotas, and what a snapshot holds of them."""

from collections.abc import Iterable

from trainyard.scheduling.quota_tree import QuotaTree
from trainyard.scheduling.resources import add, times
from trainyard.scheduling.snapshot import Assignment, PodView, Snapshot, Workload


def demand(workload: Workload, *, least: bool = False) -> dict[str, int]:
    """What all pods of the workload ask for together; with `least`, at its smallest size."""
    return add(times(each.requests, each.minimum if least else each.count) for each in workload.pods)


def granted(workload: Workload, assignment: Assignment) -> dict[str, int]:
    """What it holds there: of an elastic workload only as many pods as got a place."""
    return add(times(each.requests, len(assignment.nodes.get(each.role, ()))) for each in workload.pods)


def held(snapshot: Snapshot) -> QuotaTree:
    """The quota tree with everything that admitted workloads and left-over pods hold of it."""
    tree = QuotaTree(snapshot.queues, snapshot.flavors)
    for each in snapshot.workloads:
        if each.admission and each.queue in tree:
            flavor = each.admission.flavor
            tree.add(each.queue, tree.request(each.queue, flavor, granted(each, each.admission)))
    for pod in left_over(snapshot):
        if pod.queue in tree:
            tree.add(pod.queue, tree.request(pod.queue, pod.flavor, pod.requests))
    return tree


def left_over(snapshot: Snapshot) -> Iterable[PodView]:
    """Pods that still run for an owner which holds no admission: a deleted job's quota is free when its pods are gone."""
    admitted = {workload.uid for workload in snapshot.workloads if workload.admission}
    return (pod for pod in snapshot.pods if pod.queue and not pod.finished and pod.owner_uid not in admitted)
