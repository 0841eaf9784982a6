"""Decisions from frozen snapshots. A `Follower` tells its engine only what is new in each.

A fresh one decides the same, except that places which were kept for somebody are promised anew: those promises are in no snapshot.
Neighbours: `engine` holds the state, `cycle` decides, `explain` finds the words.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import chain

from trainyard.scheduling.cycle import Cycle
from trainyard.scheduling.engine import Engine, Options
from trainyard.scheduling.explain import verdict
from trainyard.scheduling.nominations import ENDING
from trainyard.scheduling.pending import JobClass
from trainyard.scheduling.snapshot import (
    Assignment,
    Decision,
    PodSet,
    PodView,
    Snapshot,
    Verdict,
    Wait,
    Workload,
    WorkloadKey,
)

_ENDS_SECONDS = 60.0
_LONG_AGO = datetime.fromtimestamp(0, UTC)


def schedule(snapshot: Snapshot, now: datetime, options: Options | None = None) -> list[Decision]:
    """A decision for every workload that has no place, best first."""
    return Follower(options).decide(snapshot, now)


class Follower:
    """An engine in step with a cluster that is seen through snapshots."""

    def __init__(self, options: Options | None = None) -> None:
        self.engine = Engine(options)
        self._last = Snapshot()
        self._workloads: dict[WorkloadKey, Workload] = {}
        self._pods: dict[str, tuple[PodView, ...]] = {}
        """Unfinished pods by the uid of their owner; those of nobody we know under ""."""
        self._beyond: dict[str, list[WorkloadKey | PodView]] = defaultdict(list)
        """By owner uid, what the engine was told of pods that no admission promises."""
        self._said: dict[WorkloadKey, Wait] = {}
        """What those that wait were told in the last cycle."""
        self._resized: set[WorkloadKey] = set()
        """Those that the engine gave another place in the last cycle, which no snapshot has shown yet."""

    def decide(self, snapshot: Snapshot, now: datetime) -> list[Decision]:
        """A decision for every workload that has no place, best first. Those admitted count as placed from now on."""
        self.follow(snapshot, now)
        cycle = Cycle(self.engine, now.timestamp())
        admitted = cycle.run()
        self._resized = {each.key for each in cycle.resized}
        nominated = {each.key for each in cycle.preempting}
        waiting = [each for each in waits(self.engine, self._said) if each.key not in nominated]
        self._said = {each.key: each for each in waiting}
        return [*admitted, *cycle.preempting, *cycle.evicted, *cycle.resized, *waiting]

    def follow(self, snapshot: Snapshot, now: datetime) -> None:
        """Tell the engine what is new."""
        self._configuration(snapshot)
        workloads = {each.key: each for each in snapshot.workloads}
        touched = self._changed_pods(snapshot)
        for key, old in self._workloads.items():
            unseen = (
                (old.admission is None and key in self.engine.running)
                or (old.nomination is None and key in self.engine.nominees)
                or key in self._resized
            )
            new = workloads.get(key)
            if unseen or (new is not old and new != old):
                self._forget(key)
                touched.add(old.uid)
        for key, workload in workloads.items():
            if key not in self.engine.running and key not in self.engine.pending:
                self._learn(workload)
                touched.add(workload.uid)
        self._workloads = workloads
        promised: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        for each in snapshot.workloads:
            if each.admission is not None and each.uid in touched:  # replicas of a service have one uid
                promised[each.uid].update(
                    (role, node) for role, nodes in each.admission.nodes.items() for node in nodes
                )
        for uid in touched:
            self._beyond_promises(uid, promised[uid], now.timestamp())
        self._last = snapshot

    def _configuration(self, snapshot: Snapshot) -> None:
        last = self._last
        if snapshot.nodes != last.nodes:
            self.engine.set_nodes(snapshot.nodes)
        if snapshot.failures != last.failures:
            self.engine.set_failures(snapshot.failures)
        self.engine.recent = snapshot.recent
        if _configured(snapshot) != _configured(last):
            self.engine.configure(
                queues=snapshot.queues if snapshot.queues != last.queues else None,
                flavors=snapshot.flavors,
                namespaces=snapshot.namespaces,
                used_up=snapshot.used_up,
            )

    def _changed_pods(self, snapshot: Snapshot) -> set[str]:
        """Owners whose pods are others than before."""
        pods: dict[str, list[PodView]] = defaultdict(list)
        for pod in snapshot.pods:
            if not pod.finished:
                pods[pod.owner_uid].append(pod)
        now = {uid: tuple(found) for uid, found in pods.items()}
        touched = {uid for uid in now.keys() | self._pods.keys() if now.get(uid) != self._pods.get(uid)}
        self._pods = now
        return touched

    def _learn(self, workload: Workload) -> None:
        if workload.admission:
            self.engine.hold(workload, workload.admission, (workload.started or workload.created).timestamp())
        else:
            self.engine.arrive(workload)

    def _forget(self, key: WorkloadKey) -> None:
        self.engine.finish(key)
        self.engine.withdraw(key)

    def _beyond_promises(self, uid: str, places: Counter[tuple[str, str]], now: float) -> None:
        """Pods of an owner that no admission accounts for use what they use: foreign ones, and those of a place given up."""
        for told in self._beyond.pop(uid, ()):
            if isinstance(told, PodView):
                self.engine.foreign_gone(told)
            else:
                self.engine.finish(told)
        for pod in self._pods.get(uid, ()):
            if places[pod.role, pod.node] > 0:
                places[pod.role, pod.node] -= 1
            elif pod.queue:
                stand_in = _ending(pod)
                self.engine.hold(stand_in, Assignment(pod.flavor, {pod.role: (pod.node,)}), now)
                self._beyond[uid].append(stand_in.key)
            else:
                self.engine.foreign_came(pod)
                self._beyond[uid].append(pod)


def _configured(snapshot: Snapshot) -> tuple[object, ...]:
    return (snapshot.queues, snapshot.flavors, snapshot.namespaces, snapshot.used_up)


def _ending(pod: PodView) -> Workload:
    """A deleted job's quota is free when its pods are gone."""
    key = WorkloadKey(ENDING, pod.namespace, f"{pod.name} (ending)")
    pods = (PodSet(pod.role, 1, pod.requests),)
    return Workload(key, pod.uid, pod.queue, _LONG_AGO, pods, duration=_ENDS_SECONDS, preemptible=False)


def waits(engine: Engine, said: Mapping[WorkloadKey, Wait] | None = None) -> Iterable[Wait]:
    """Everything that waits, by queue in the order in which it would start, with its place.

    said: what was said last time; who is told the same again gets the same object.
    """
    said = said or {}
    for classes in engine.pending.by_queue().values():
        words = {each.number: _words(engine, each) for each in classes}
        line = sorted(chain.from_iterable(each.line() for each in classes))
        for position, (_, _, key, uid, number) in enumerate(line, start=1):
            old, new = said.get(key), engine.nominated.get(key, words[number])
            if old is not None and old.position == position and old.verdict is new and old.uid == uid:
                yield old
            else:
                yield Wait(key, uid, new, position)


def _words(engine: Engine, waiting: JobClass) -> Verdict:
    """The same object as last time if nothing else is to be said: so that a long line is compared at no cost."""
    refusal, version = waiting.refusal, engine.versions.get(engine.root(waiting.queue), 0)
    said, about = waiting.said, waiting.said_of
    if said and about and about[0] is refusal and about[1] == version and not about[0].flavors:
        return said
    found = verdict(engine, waiting)
    if found != waiting.said:
        waiting.said = found
    waiting.said_of = (refusal, version) if refusal else None
    assert waiting.said is not None
    return waiting.said
