"""One admission cycle: snapshot -> order -> checks -> quota -> placement -> decisions. All or nothing for each workload.

Workloads are taken by priority, then age. One that cannot start never keeps back those behind it.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from trainyard.api.names import GPU
from trainyard.api.reasons import Waiting
from trainyard.scheduling import checks
from trainyard.scheduling.checks import Case
from trainyard.scheduling.eligibility import eligible
from trainyard.scheduling.placement import FreeTable
from trainyard.scheduling.quota import QuotaUse, demand
from trainyard.scheduling.resources import describe, show
from trainyard.scheduling.snapshot import Admit, Assignment, Decision, PodSet, Snapshot, Verdict, Wait, Workload

Mask = NDArray[np.bool_]


def schedule(snapshot: Snapshot) -> list[Decision]:
    """A decision for every workload that has no place, best first."""
    return list(_Cycle(snapshot).decisions())


class _Cycle:
    """Free resources and quota, falling as workloads are admitted."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.use = QuotaUse(snapshot)
        self.free = FreeTable(snapshot)
        self._masks: dict[tuple[object, ...], Mask] = {}
        self._refused: dict[tuple[object, ...], Verdict] = {}

    def decisions(self) -> Iterable[Decision]:
        position: Counter[str] = Counter()
        waiting = (each for each in self.snapshot.workloads if each.admission is None)
        for workload in sorted(waiting, key=lambda each: (-each.priority, each.created, each.key)):
            answer = self._decide(workload)
            if isinstance(answer, Assignment):
                yield Admit(workload.key, workload.uid, answer)
            else:
                position[workload.queue] += 1
                yield Wait(workload.key, workload.uid, answer, position[workload.queue])

    def _decide(self, workload: Workload) -> Assignment | Verdict:
        if workload.blocked is None and (known := self._refused.get(workload.shape)):
            # What is free only falls within a cycle, so an equal workload gets the same answer.
            return known
        case = Case(workload, self.snapshot, self.use)
        for check in checks.STANDING:
            if verdict := check(case):
                return verdict
        answer = self._try_flavors(case)
        if isinstance(answer, Verdict):
            self._refused[workload.shape] = answer
        return answer

    def _try_flavors(self, case: Case) -> Assignment | Verdict:
        """The first flavor of the queue that has quota and nodes; else the reason of the one that came closest."""
        no_quota: Verdict | None = None
        no_place: Verdict | None = None
        for quota in case.queue.flavors:
            if quota.name not in self.snapshot.flavors:
                continue
            shortage = self.use.shortage(case.workload.queue, case.queue, quota.name, demand(case.workload))
            if shortage:
                no_quota = no_quota or checks.waiting_for_quota(case, quota.name, shortage)
                continue
            assignment = self._place(case.workload, quota.name)
            if assignment:
                return assignment
            no_place = no_place or self._no_place(case.workload, quota.name)
        return no_place or no_quota or Verdict(Waiting.NO_MATCHING_FLAVOR, "no flavor of the queue could be tried")

    def _place(self, workload: Workload, flavor: str) -> Assignment | None:
        before = self.free.free.copy() if len(workload.pods) > 1 else None
        nodes: dict[str, tuple[str, ...]] = {}
        for pods in workload.pods:
            chosen = self.free.place(pods.requests, pods.count, self._mask(flavor, pods, workload.avoid))
            if chosen is None:
                if before is not None:
                    self.free.free = before
                return None
            for node in chosen:
                self.free.take(node, pods.requests)
            nodes[pods.role] = chosen
        self.use.take(workload, flavor)
        return Assignment(flavor, nodes)

    def _mask(self, flavor: str, pods: PodSet, avoid: frozenset[str] = frozenset()) -> Mask:
        """Nodes that may take such a pod, (nodes,)."""
        key = (flavor, pods.node_selector, pods.tolerations, avoid)
        if key not in self._masks:
            spec = self.snapshot.flavors[flavor]
            self._masks[key] = np.array(
                [eligible(node, spec, pods) and node.name not in avoid for node in self.free.nodes], dtype=np.bool_
            )
        return self._masks[key]

    def _no_place(self, workload: Workload, flavor: str) -> Verdict:
        """Quota is there, nodes are not: say what is free, and what other people's pods hold."""
        scarce = next((each for each in workload.pods if GPU in each.requests), workload.pods[0])
        mask = self._mask(flavor, scarce, workload.avoid)
        names = {node.name for node, chosen in zip(self.free.nodes, mask, strict=True) if chosen}
        parts = [
            f"{checks.asks_for(workload)} fit on no set of the {len(names)} nodes of flavor {flavor} that take pods"
        ]
        for resource, amount in sorted(scarce.requests.items()):
            largest = self.free.largest(resource, mask)
            if amount > largest:
                parts.append(f"the largest of them offers {show(largest)} {resource}, and one pod asks {show(amount)}")
        resource = GPU if GPU in scarce.requests else next(iter(sorted(scarce.requests)), GPU)
        parts.append(f"{show(self.free.total_free(resource, mask))} {resource} are free there")
        if foreign := self._foreign(names, resource):
            parts.append(f"pods outside Trainyard hold {foreign}")
        if workload.avoid:
            parts.append(f"avoided for now after a failed start: {', '.join(sorted(workload.avoid))}")
        return Verdict(Waiting.TOPOLOGY_PLACEMENT_FAILED, "; ".join(parts))

    def _foreign(self, nodes: set[str], resource: str) -> str:
        pods = [
            each
            for each in self.snapshot.pods
            if not each.queue and not each.finished and each.node in nodes and each.requests.get(resource)
        ]
        shown = [
            f"{each.namespace}/{each.name} ({describe({resource: each.requests[resource]})} on {each.node})"
            for each in pods[:3]
        ]
        return ", ".join(shown) + (f" and {len(pods) - 3} more" if len(pods) > 3 else "")  # noqa: PLR2004
