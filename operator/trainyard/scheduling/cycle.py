"""One admission cycle: whoever waits, in order, gets a place if quota and nodes are there; all pods of a gang or none.

Order: overdue first, then priority, then whoever waits long already, then the weighted dominant share of what the queue borrows,
then age. A workload that cannot start holds back nobody from what it could not use. Others may be asked to make way for the first
of them; if that does not help, it gets a reservation, so that it starts in the end.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from trainyard.scheduling import nominations
from trainyard.scheduling.elastic import grown, named
from trainyard.scheduling.engine import Engine
from trainyard.scheduling.fleet import Fleet
from trainyard.scheduling.gang import place_elastic
from trainyard.scheduling.mending import mended
from trainyard.scheduling.pending import JobClass, Refusal
from trainyard.scheduling.preemption import Answer, Taken, search
from trainyard.scheduling.quota_tree import Cell, Request
from trainyard.scheduling.reservation import Places, Reservation, beside, reserve
from trainyard.scheduling.slow_nodes import sparing
from trainyard.scheduling.snapshot import (
    Admit,
    Assignment,
    Evict,
    Nominated,
    Preempt,
    Resize,
    Workload,
    WorkloadKey,
)

Rank = tuple[bool, int, bool, tuple[float, ...], float, WorkloadKey]


@dataclass(frozen=True, slots=True)
class _Found:
    """A place."""

    flavor: str
    places: Places


class Cycle:
    """One pass over what waits. Use once."""

    def __init__(self, engine: Engine, now: float) -> None:
        self.engine, self.now = engine, now
        self.admitted: list[Admit] = []
        self.preempting: list[Preempt] = []
        self.evicted: list[Evict] = []
        self.resized: list[Resize] = []
        self._heads = engine.options.preempting_heads
        self._heap: list[tuple[Rank, int, int, JobClass]] = []
        self._lined_up: set[int] = set()
        self._beside: dict[tuple[WorkloadKey, ...], Fleet] = {}

    def run(self, until: WorkloadKey | None = None, hurry: Callable[[], bool] = lambda: False) -> list[Admit]:
        """Admit whatever can start now; the engine takes each over at once. What else is decided stands in the other lists.

        until: stop as soon as this one was asked, for callers that want to know nothing else. hurry: asked before each; True leaves
        the rest, who come last, to the next cycle.
        """
        self.evicted += nominations.drained(self.engine, self.now)
        self.evicted += nominations.stand(self.engine, self._place, self.now)
        self.resized += mended(self.engine, self.now)
        self._honour_reservations()
        self._lose_patience()
        self._line_up()
        while self._heap:
            if hurry():
                self.engine.left = set(self._lined_up)
                return self.admitted
            _, number, version, waiting = heapq.heappop(self._heap)
            self._lined_up.discard(number)
            if version != self._version(waiting):
                # Shares only rise within a cycle: what comes up late was never due earlier.
                self._push(waiting)
                continue
            asked, answer = waiting.head()[1].key, self._try(waiting)
            if isinstance(answer, Refusal):
                waiting.refusal = answer
            else:
                self._admit(waiting, answer)
            if asked == until:
                return self.admitted
            if not isinstance(answer, Refusal):
                self._push(waiting)
            elif not self._preempt(waiting):
                self._keep_a_place(waiting)
        self.resized += grown(self.engine, self.now, self._place)
        return self.admitted

    # Order.

    def _line_up(self) -> None:
        """Take in the classes whose answer may have changed."""
        for each in self.engine.candidates():
            self._push(each)

    def _lose_patience(self) -> None:
        if self.engine.patience_ends is not None and self.now >= self.engine.patience_ends:
            self.engine.patience_ends, self.engine.everything_changed = None, True

    def _push(self, waiting: JobClass) -> None:
        if not waiting.members or waiting.number in self._lined_up:
            return
        self._lined_up.add(waiting.number)
        heapq.heappush(self._heap, (self._rank(waiting), waiting.number, self._version(waiting), waiting))

    def _rank(self, waiting: JobClass) -> Rank:
        since, workload = waiting.head()
        options = self.engine.options
        request = waiting.flavors[0][1] if waiting.flavors else ()
        share, recent = self.engine.tree.share(waiting.queue, request), self.engine.recent
        if recent:  # families remember as their queues do
            path = self.engine.tree.path(waiting.queue)[1:]
            share = tuple(max(now, recent.get(name, now)) for name, now in zip(path, share, strict=True))
        overdue, late = (self.now - since >= limit for limit in (options.overdue_seconds, options.late_seconds))
        return (
            not overdue,
            0 if overdue else -waiting.priority,
            not late,
            () if late else share,
            since,
            workload.key,
        )

    def _version(self, waiting: JobClass) -> int:
        return self.engine.versions.get(self.engine.root(waiting.queue), 0)

    # A place.

    def look(self, workload: Workload) -> Assignment | None:
        """Where a workload would start now if nothing else changed; None if it would not. Changes nothing."""
        asking = JobClass((), 0, workload, self.engine.rules.priority_of(workload))
        asking.add(workload)
        if self.engine.standing(workload) is not None:
            return None
        asking.flavors = self.engine.flavors_for(workload)
        found = self._try(asking)
        return named(self.engine, found.flavor, found.places) if isinstance(found, _Found) else None

    def _try(self, waiting: JobClass) -> _Found | Refusal:
        _, workload = waiting.head()
        ends = self.engine.ends(workload, self.now)
        kept = [each for each in self.engine.reservations if each.key != workload.key and each.binds(ends)]
        shortages: list[tuple[Cell, int]] = []
        no_place: list[str] = []
        in_the_way: Reservation | None = None
        for flavor, request in waiting.flavors:
            sized = self._affordable(workload, flavor, request)
            if sized is None:
                shortages += self.engine.tree.shortage(waiting.queue, self.engine.request(_smallest(workload), flavor))
                continue
            blocker = self._quota_kept(sized, self.engine.request(sized, flavor), kept)
            if blocker is not None:
                in_the_way = in_the_way or blocker
                continue
            places = self._place(sized, flavor, self._allowed(kept, workload.key))
            if places is not None:
                return _Found(flavor, places)
            no_place.append(flavor)
            if kept and in_the_way is None and self._place(sized, flavor, self.engine.fleet) is not None:
                in_the_way = kept[0]
        return Refusal(
            tuple(no_place),
            tuple(shortages),
            in_the_way.key if in_the_way else None,
            in_the_way.time if in_the_way else 0.0,
        )

    def _affordable(self, workload: Workload, flavor: str, request: Request) -> Workload | None:
        """The workload at the largest size that quota allows now; None if that is less than its least."""
        tree, queue = self.engine.tree, workload.queue
        if tree.fits(queue, request):
            return workload
        for number, each in enumerate(workload.pods):
            for count in range(each.count - 1, each.minimum - 1, -1) if each.least is not None else ():
                pods = (*workload.pods[:number], replace(each, count=count), *workload.pods[number + 1 :])
                smaller = replace(workload, pods=pods)
                if tree.fits(queue, self.engine.request(smaller, flavor)):
                    return smaller
        return None

    def _quota_kept(self, workload: Workload, request: Request, kept: Sequence[Reservation]) -> Reservation | None:
        """Whose quota it would still hold when that one is to start."""
        queue = workload.queue
        root = self.engine.root(queue)
        return next(
            (each for each in kept if each.root == root and not each.quota_for(workload.key, queue, request)), None
        )

    def _allowed(self, kept: Sequence[Reservation], key: WorkloadKey) -> Fleet:
        """Nodes as far as this workload may use them."""
        if not kept:
            return self.engine.fleet
        if any(key in each.plans for each in kept):
            return beside(self.engine.fleet, kept, key)
        names = tuple(each.key for each in kept)
        if names not in self._beside:
            self._beside[names] = beside(self.engine.fleet, kept, key)
        return self._beside[names]

    def _place(self, workload: Workload, flavor: str, fleet: Fleet) -> Places | None:
        health = self.engine.health(flavor)
        for shunned in health.choices:
            place_without = partial(self._place_without, flavor, fleet, shunned)
            places = place_without(workload, frozenset())
            if places is not None:
                return sparing(fleet, health.spared, workload, places, place_without)
        return None

    def _place_without(
        self, flavor: str, fleet: Fleet, shunned: frozenset[str], workload: Workload, slow: frozenset[str]
    ) -> Places | None:
        engine = self.engine
        spec, avoid = engine.rules.flavors[flavor], workload.avoid | shunned | slow
        sets = [(each, engine.fleet.eligible(spec, each, avoid)) for each in workload.pods]
        return place_elastic(fleet, sets, workload.topology, engine.placement)

    def _admit(self, waiting: JobClass, found: _Found) -> None:
        _, workload = waiting.head()
        assignment = named(self.engine, found.flavor, found.places)
        kept = len(self.engine.reservations)
        self.engine.hold(workload, assignment, self.now)
        self._beside.clear()
        self.admitted.append(Admit(workload.key, workload.uid, assignment))
        if len(self.engine.reservations) < kept:
            # The next in line gets the reservation before anybody behind it is asked.
            self._line_up()

    # Others make way.

    def _preempt(self, waiting: JobClass) -> bool:
        """Whether somebody is to make way for the oldest of a class; then its place is kept from now on."""
        _, workload = waiting.head()
        if workload.key in self.engine.nominated:
            return True
        if workload.nomination is not None or not self.engine.options.preempting_heads:
            return False
        if not self._heads:
            self.engine.unasked.setdefault(waiting.number)
            return False
        self._heads -= 1
        self.engine.unasked.pop(waiting.number, None)
        answers = [search(self.engine, workload, flavor, self._place, self.now) for flavor, _ in waiting.flavors]
        taken = min((each.taken for each in answers if each.taken), key=lambda each: each.cost, default=None)
        self._look_again(answers)
        if taken is None:
            self.engine.counters.preemptions_refused += any(each.refused for each in answers)
            return False
        self._nominate(workload, taken)
        return True

    def _nominate(self, workload: Workload, taken: Taken) -> None:
        engine, seconds = self.engine, self.engine.options.preemption_seconds
        for each in [kept for kept in engine.reservations if kept.key == workload.key]:
            engine.drop(each)
        assignment = named(engine, taken.flavor, taken.places)
        now = datetime.fromtimestamp(self.now, UTC)
        victims = tuple((each.key, each.uid) for each in taken.victims)
        nominated = Nominated(assignment, victims, now, now + timedelta(seconds=seconds), durable=False)
        kept = nominations.keep(engine, workload, nominated, self.now)
        if kept is not None:
            nominations.go_on(engine, workload, kept, self._place, self.now)
        engine.nominees[workload.key] = replace(workload, nomination=nominated)
        engine.nominated[workload.key] = nominations.words(nominated)
        engine.counters.preemptions += 1
        self._beside.clear()
        self.preempting.append(Preempt(workload.key, workload.uid, assignment, taken.victims, seconds))

    def _look_again(self, answers: Sequence[Answer]) -> None:
        """Time alone may let another be asked."""
        engine = self.engine
        times = [each.next_at for each in answers if each.next_at is not None]
        engine.patience_ends = min([*times, *([engine.patience_ends] if engine.patience_ends else [])], default=None)

    # Kept places.

    def _keep_a_place(self, waiting: JobClass) -> None:
        """The first that cannot start gets a place in the future, so that those behind it do not delay it for ever."""
        since, workload = waiting.head()
        engine, root = self.engine, self.engine.root(waiting.queue)
        if any(each.key == workload.key for each in engine.reservations) or self._too_early(since):
            return
        for flavor, _ in waiting.flavors:
            same = [
                each
                for each in engine.reservations
                if not each.nominated and (each.flavor, each.root) == (flavor, root)
            ]
            if len(same) >= engine.options.reservations:
                continue
            made = self._reserve(workload, flavor)
            if made is not None:
                self._count(made)
                engine.reservations.append(made)
                self._beside.clear()
                return

    def _too_early(self, since: float) -> bool:
        """Where durations are guessed, nodes would stand idle for a guess: only who waited long is worth that."""
        engine = self.engine
        patient_until = since + engine.options.patience_seconds
        if not engine.guesses or self.now >= patient_until:
            return False
        engine.patience_ends = min(patient_until, engine.patience_ends or patient_until)
        return True

    def _reserve(self, workload: Workload, flavor: str) -> Reservation | None:
        engine, root = self.engine, self.engine.root(workload.queue)
        for each in engine.running.values():
            each.still_runs(self.now)
        relevant = [
            (key, each)
            for key, each in engine.running.items()
            if each.flavor == flavor or engine.root(each.workload.queue) == root
        ]
        small = _smallest(workload)
        return reserve(
            workload,
            flavor,
            engine.request(small, flavor),
            lambda fleet: self._place(small, flavor, fleet),
            engine.fleet.copy(),
            engine.tree.copy(),
            relevant,
            engine.reservations,
        )

    def _count(self, made: Reservation) -> None:
        counters, before = self.engine.counters, self.engine.promised.get(made.key)
        counters.made += before is None
        if before is not None and made.time > before:
            if made.key in self.engine.slipped:
                counters.moved_later += 1
            else:
                counters.broken += 1
        self.engine.promised[made.key] = made.time

    def _honour_reservations(self) -> None:
        """Those whose time has come start before anybody else is asked. If one cannot, somebody over-ran: its place is looked for anew."""
        for each in sorted(self.engine.reservations, key=lambda kept: (kept.time, kept.key)):
            waiting = self.engine.pending.class_of(each.key)
            if each.time > self.now and not each.nominated:
                continue
            if (
                waiting is not None
                and waiting.head()[1].key == each.key
                and isinstance(found := self._try(waiting), _Found)
            ):
                self._admit(waiting, found)
                continue
            if each.nominated:
                if nominations.hopeless(self.engine, each):
                    nominations.give_up(self.engine, each)
                continue
            self.engine.drop(each)
            if waiting is not None:
                if not each.released.isdisjoint(self.engine.running):
                    self.engine.slipped.add(each.key)
                self._keep_a_place(waiting)


def _smallest(workload: Workload) -> Workload:
    """An elastic workload at its least size."""
    if all(each.least is None for each in workload.pods):
        return workload
    return replace(workload, pods=tuple(replace(each, count=each.minimum, least=None) for each in workload.pods))
