"""Looks now and then whether what must always hold does: promises 1 to 4 and 6 of the design, as far as the cluster shows them.

A finding is a fault of Trainyard, not of a user: it is counted, logged, and told as an event of the object. The look itself is pure;
what has to last before it counts as broken is seen again and again until then.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from trainyard.api.invariants import Invariant
from trainyard.api.names import GPU
from trainyard.api.reasons import ConditionType, Waiting
from trainyard.api.training_job import TrainingJob
from trainyard.runtime.clock import Clock
from trainyard.runtime.compute import Compute, in_thread
from trainyard.scheduling import quota
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.quota_tree import Cell, QuotaTree
from trainyard.scheduling.snapshot import Decision, Preempt, Snapshot
from trainyard.training.roles import waiting_roles
from trainyard.training.workload import inactive
from trainyard.workloads import conditions
from trainyard.workloads.keys import Key
from trainyard.workloads.pod_state import PodState
from trainyard.workloads.ration import WRITES_A_SECOND

log = logging.getLogger(__name__)

PERIOD_SECONDS = 15.0
_SHARE = 200.0
"""A look is followed by a rest of so many times its length: with 10,000 jobs it takes a third of a second, and there is one a minute."""
_LASTS: Mapping[Invariant, float] = {
    Invariant.INCOMPLETE_GANG: 120.0,
    Invariant.TWO_OF_A_RANK: 30.0,
    Invariant.ORPHAN_PODS: 300.0,
    Invariant.SILENT_WAIT: 30.0,
    Invariant.STALE_STATUS: 30.0,
}
"""Seconds for which it has to be seen: until then the operator, or Kubernetes, is still about it. What is not here counts at once."""
_RATIONED = frozenset({Invariant.SILENT_WAIT, Invariant.STALE_STATUS})
"""What only says that a status is late: where very many are, each waits for its turn to be written."""
_MOST_TOLD = 5
_REASONS = frozenset(each.value for each in Waiting)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be."""

    invariant: Invariant
    what: str
    """Tells one finding from another of the same kind."""
    message: str
    key: Key | None = None
    """Whose event it is."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a look looks at, all of one moment."""

    now: datetime
    snapshot: Snapshot
    jobs: tuple[TrainingJob, ...]
    pods: Mapping[str, tuple[PodState, ...]]
    """Of each job, by its uid."""
    owners: frozenset[str]
    """Uids of all jobs and services there are."""


@dataclass(frozen=True, slots=True)
class Use:
    """Of quotas and nodes at one moment, and what was allowed then."""

    queues: Mapping[tuple[str, Cell], tuple[int, int]] = field(default_factory=dict)
    nodes: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def use(snapshot: Snapshot) -> Use:
    """What admissions hold: thousandths, each beside the most that may be held."""
    tree = quota.held(snapshot)
    cells = _cells(snapshot, tree)
    queues = {(name, cell): (tree.held(name, cell), tree.potential(name, cell)) for name, cell in cells}
    promised: Counter[str] = Counter()
    for workload in snapshot.workloads:
        for pods in workload.pods if workload.admission else ():
            assert workload.admission is not None
            for node in workload.admission.nodes.get(pods.role, ()):
                promised[node] += pods.requests.get(GPU, 0)
    nodes = {each.name: (promised[each.name], each.allocatable.get(GPU, 0)) for each in snapshot.nodes}
    return Use(queues, nodes)


def _cells(snapshot: Snapshot, tree: QuotaTree) -> Iterator[tuple[str, Cell]]:
    for name, spec in snapshot.queues.items():
        for flavor in spec.flavors if name in tree else ():
            for each in flavor.resources:
                yield name, (flavor.name, each.name)


def look(sighting: Sighting, before: Use | None) -> tuple[list[Finding], Use]:
    """All findings of one moment. before: the use that was seen last; what merely stayed while a quota was cut is no fault."""
    now = use(sighting.snapshot)
    found = [*_grown(before, now)] if before is not None else []
    for job in sighting.jobs:
        found += _of_job(job, sighting.pods.get(job.metadata.uid, ()), sighting.now)
    found += _orphans(sighting)
    return found, now


def _grown(before: Use, now: Use) -> Iterator[Finding]:
    for (queue, cell), (held, most) in now.queues.items():
        was, allowed = before.queues.get((queue, cell), (0, most))
        if held > was and held > max(most, allowed):
            yield Finding(
                Invariant.OVER_QUOTA,
                f"{queue} {cell}",
                f"queue {queue} grew from {was / 1000:g} to {held / 1000:g} {cell[1]} on {cell[0]}, and may hold {max(most, allowed) / 1000:g}",
                Key("Queue", "", queue),
            )
    for node, (held, most) in now.nodes.items():
        was, allowed = before.nodes.get(node, (0, most))
        if held > was and held > max(most, allowed):
            yield Finding(
                Invariant.NODE_PROMISED_TWICE,
                node,
                f"{held / 1000:g} GPUs of node {node} are promised, and it has {max(most, allowed) / 1000:g}",
            )


def _of_job(job: TrainingJob, pods: Sequence[PodState], now: datetime) -> Iterator[Finding]:
    meta, status = job.metadata, job.status
    key, name = Key("TrainingJob", meta.namespace, meta.name), f"{meta.namespace}/{meta.name}"
    alive = [each for each in pods if not each.finished and each.deleting_since is None]
    if not alive and inactive(job) is not None:
        return
    ranks = Counter((each.attempt, each.role, each.index) for each in alive)
    twice = sorted(rank for rank, count in ranks.items() if count > 1)
    if twice:
        yield Finding(Invariant.TWO_OF_A_RANK, meta.uid, f"job {name} has two pods of rank {twice[0][2]}", key)
    if len({each.attempt for each in alive}) > 1:
        yield Finding(Invariant.TWO_OF_A_RANK, meta.uid, f"pods of two attempts of job {name} run together", key)
    if inactive(job) is not None:
        return
    current = [each for each in pods if each.attempt == status.attempt and each.deleting_since is None]
    there = sum(not each.finished or each.phase == "Succeeded" for each in current)
    later = waiting_roles(job, current)
    size = sum(count for role, count in job.counts().items() if role not in later) if status.admission else 0
    if status.phase == "Admitted" and there < size:
        yield Finding(Invariant.INCOMPLETE_GANG, meta.uid, f"job {name} holds GPUs with {there} of {size} pods", key)
    if (status.observed_generation or 0) < meta.generation:
        yield Finding(Invariant.STALE_STATUS, meta.uid, f"the status of job {name} is of an earlier generation", key)
    elif status.admission is None and not _told(job) and _old(job, now):
        yield Finding(Invariant.SILENT_WAIT, meta.uid, f"job {name} waits and its status does not say why", key)


def _told(job: TrainingJob) -> bool:
    said = conditions.find(job.status.conditions, ConditionType.ADMITTED)
    return said is not None and said.status == "False" and (said.reason in _REASONS or job.status.attempt > 1)


def _old(job: TrainingJob, now: datetime) -> bool:
    created = job.metadata.creation_timestamp
    return created is not None and now - created > timedelta(seconds=_LASTS[Invariant.SILENT_WAIT])


def _orphans(sighting: Sighting) -> Iterator[Finding]:
    for pod in sighting.snapshot.pods:
        if pod.queue and not pod.finished and pod.owner_uid not in sighting.owners:
            yield Finding(
                Invariant.ORPHAN_PODS, pod.uid, f"pod {pod.namespace}/{pod.name} runs for an owner that is gone"
            )


def unfair(engine: Engine, decisions: Iterable[Decision]) -> Iterator[Finding]:
    """Preemptions that take from a queue within its guarantee what another one borrows."""
    tree = engine.tree
    for each in decisions:
        workload = engine.nominees.get(each.key) if isinstance(each, Preempt) else None
        if not isinstance(each, Preempt) or workload is None or workload.queue not in tree:
            continue
        flavor = each.assignment.flavor
        asked = tree.request(workload.queue, flavor, quota.granted(workload, each.assignment))
        if tree.within_guarantee(workload.queue, asked):
            continue
        for victim in each.victims:
            held = engine.running.get(victim.key)
            if held is None or held.workload.queue == workload.queue or held.workload.queue not in tree:
                continue
            if held.request and tree.within_guarantee(
                held.workload.queue, tuple((cell, 0) for cell, _ in held.request)
            ):
                yield Finding(
                    Invariant.GUARANTEE_BROKEN,
                    f"{each.key} {victim.key}",
                    f"{victim.key.namespace}/{victim.key.name} of queue {held.workload.queue} is within its guarantee, and makes way so that queue {workload.queue} may borrow",
                    Key(victim.key.kind, victim.key.namespace, victim.key.name),
                )


class Auditor:
    """Looks, and tells of each finding once for as long as it lasts."""

    def __init__(
        self,
        sight: Callable[[], Sighting],
        clock: Clock,
        tell: Callable[[Finding, bool], None],
        compute: Compute = in_thread,
    ) -> None:
        """sight: a sighting of this moment. tell: of a new finding; True if its object should hear of it."""
        self._sight, self._clock, self._tell, self._compute = sight, clock, tell, compute
        self._use: Use | None = None
        self._due: dict[Hashable, float] = {}
        """From when on each finding counts, if it is seen until then."""
        self._told: set[Hashable] = set()
        self._decided: deque[Finding] = deque(maxlen=1000)

    def decided(self, engine: Engine, _snapshot: Snapshot, _now: datetime, decisions: Sequence[Decision]) -> None:
        """After a cycle, in its thread."""
        self._decided.extend(unfair(engine, decisions))

    async def run(self) -> None:
        """Look until cancelled."""
        took = 0.0
        while True:
            await asyncio.sleep(max(PERIOD_SECONDS, _SHARE * took))
            began = self._clock.monotonic()
            try:
                sighting = self._sight()
                found, self._use = await self._compute(partial(look, sighting, self._use))
                self.weigh(found)
            except Exception:
                log.exception("the audit failed; the next one starts afresh")
            took = self._clock.monotonic() - began

    def weigh(self, found: Iterable[Finding]) -> list[Finding]:
        """Tell of what is broken and was not yet; returns that."""
        now = self._clock.monotonic()
        current = {(each.invariant, each.what): each for each in found}
        many = Counter(invariant for invariant, _ in current)
        self._due = {mark: self._due.get(mark, now + _patience(mark[0], many[mark[0]])) for mark in current}
        self._told &= current.keys()
        broken = [each for mark, each in current.items() if mark not in self._told and now >= self._due[mark]]
        self._told |= {(each.invariant, each.what) for each in broken}
        while self._decided:
            broken.append(self._decided.popleft())
        told: Counter[Invariant] = Counter()
        for each in broken:
            told[each.invariant] += 1
            self._tell(each, told[each.invariant] <= _MOST_TOLD)
        return broken


def _patience(invariant: Invariant, many: int) -> float:
    """Seconds for which a finding has to last, of so many of its kind that are seen at once."""
    return _LASTS.get(invariant, 0.0) + (many / WRITES_A_SECOND if invariant in _RATIONED else 0.0)
