"""Decisions from frozen snapshots. A `Follower` tells its engine only what is new in each.

A fresh one decides the same, except that places which were kept for somebody are promised anew: those promises are in no snapshot.
Neighbours: `engine` holds the state, `cycle` decides, `explain` finds the words.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

from trainyard.scheduling.cycle import Cycle
from trainyard.scheduling.engine import Engine, Options
from trainyard.scheduling.explain import verdict
from trainyard.scheduling.nominations import ENDING
from trainyard.scheduling.pending import JobClass
from trainyard.scheduling.snapshot import (
    Admit,
    Assignment,
    Decision,
    PodSet,
    PodView,
    Preempt,
    Resize,
    Snapshot,
    Verdict,
    Wait,
    Words,
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
        self._told: dict[str, ToldLine] = {}
        """By queue, what those that wait were told in the last cycle."""
        self._decided: set[WorkloadKey] = set()
        """Those for which the last cycle decided something that no snapshot has shown yet."""

    def decide(self, snapshot: Snapshot, now: datetime, hurry: Callable[[], bool] = lambda: False) -> list[Decision]:
        """A decision for every workload that has no place, best first. Those admitted count as placed from now on.

        hurry: True ends the cycle; those that it leaves are asked in the next one, for which there is reason as long as `unfinished`.
        """
        self.follow(snapshot, now)
        cycle = Cycle(self.engine, now.timestamp())
        admitted = cycle.run(hurry=hurry)
        moved: list[Admit | Preempt | Resize] = [*admitted, *cycle.preempting, *cycle.resized]
        self._decided = {each.key for each in moved}
        waiting = waits(self.engine, self._told)
        if cycle.preempting:
            waiting = [each for each in waiting if each.key not in self._decided]
        return [*admitted, *cycle.preempting, *cycle.evicted, *cycle.resized, *waiting]

    @property
    def unfinished(self) -> bool:
        """Somebody was not asked for want of time."""
        return bool(self.engine.left)

    def follow(self, snapshot: Snapshot, now: datetime) -> None:
        """Tell the engine what is new."""
        self._configuration(snapshot)
        workloads = {each.key: each for each in snapshot.workloads}
        touched = self._changed_pods(snapshot)
        known, decided = self._workloads, self._decided
        for key in [key for key, old in known.items() if workloads.get(key) is not old or key in decided]:
            new = workloads.get(key)
            if new is not None and key in decided and self.engine.confirm(new, _began(new)):
                touched.add(new.uid)
            elif key in decided or new != known[key]:
                self._forget(key)
                touched.add(known[key].uid)
                known.pop(key)
        for key in [key for key in workloads if key not in known]:
            self._learn(workloads[key])
            touched.add(workloads[key].uid)
        self._workloads, self._decided = workloads, set()
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
        if snapshot.slow != last.slow:
            self.engine.set_slow(snapshot.slow)
        self.engine.recent, self.engine.confined = snapshot.recent, snapshot.confined
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
            self.engine.hold(workload, workload.admission, _began(workload))
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


def _began(workload: Workload) -> float:
    return (workload.started or workload.created).timestamp()


def _configured(snapshot: Snapshot) -> tuple[object, ...]:
    return (snapshot.queues, snapshot.flavors, snapshot.namespaces, snapshot.used_up)


def _ending(pod: PodView) -> Workload:
    """A deleted job's quota is free when its pods are gone."""
    key = WorkloadKey(ENDING, pod.namespace, f"{pod.name} (ending)")
    pods = (PodSet(pod.role, 1, pod.requests),)
    return Workload(key, pod.uid, pod.queue, _LONG_AGO, pods, duration=_ENDS_SECONDS, preemptible=False)


@dataclass(frozen=True, slots=True)
class ToldLine:
    """A queue's line as it was told, and what it was made of: it is the same while that is."""

    waits: list[Wait]
    classes: tuple[tuple[object, Words], ...]
    nominated: Mapping[WorkloadKey, Verdict]

    def is_of(self, classes: tuple[tuple[object, Words], ...], nominated: Mapping[WorkloadKey, Verdict]) -> bool:
        return (
            self.nominated == nominated
            and len(self.classes) == len(classes)
            and all(one[0] is other[0] and one[1] is other[1] for one, other in zip(self.classes, classes, strict=True))
        )


def waits(engine: Engine, told: dict[str, ToldLine] | None = None) -> list[Wait]:
    """Everything that waits, by queue in the order in which it would start, with its place.

    told: the lines of last time, brought up to date; who is told the same again gets the same object.
    """
    told = {} if told is None else told
    queues = engine.pending.by_queue()
    for name in told.keys() - queues.keys():
        del told[name]
    found: list[Wait] = []
    for name, classes in queues.items():
        parts = tuple((each.line(), _words(engine, each)) for each in classes)
        nominated = {
            key: said for key, said in engine.nominated.items() if any(key in each.members for each in classes)
        }
        known = told.get(name)
        if known is None or not known.is_of(parts, nominated):
            known = told[name] = ToldLine(_in_line(engine, classes, known), parts, nominated)
        found += known.waits
    return found


def _in_line(engine: Engine, classes: Sequence[JobClass], before: ToldLine | None) -> list[Wait]:
    said = {each.key: each for each in before.waits} if before else {}
    words = {each.number: each.words for each in classes}
    line = sorted(chain.from_iterable(each.line() for each in classes))
    found = []
    for position, (_, _, key, uid, number) in enumerate(line, start=1):
        old, mine = said.get(key), words[number]
        assert mine is not None
        if key in engine.nominated:
            mine = Words(engine.nominated[key])
        same = old is not None and old.position == position and old.words is mine and old.uid == uid
        found.append(old if old is not None and same else Wait(key, uid, mine, position))
    return found


def _words(engine: Engine, waiting: JobClass) -> Words:
    """The same object as last time while the reason is the same: so that a long line is told the news at no cost."""
    refusal, version = waiting.refusal, engine.versions.get(engine.root(waiting.queue), 0)
    words, about = waiting.words, waiting.told_of
    if words and about and about[0] is refusal and about[1] == version and not about[0].flavors:
        return words
    found = verdict(engine, waiting)
    if words is None or words.verdict.reason is not found.reason:
        words = waiting.words = Words(found)
    words.verdict = found
    waiting.told_of = (refusal, version) if refusal else None
    return words
