"""Runs admission cycles: one at a time, soon after something changed, outside the event loop.

It decides and tells the controllers, which make decisions durable. A decision that no status shows yet overlays the next
snapshot, so that nothing is given away twice.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from trainyard.api.queue import Queue
from trainyard.runtime.clock import Clock
from trainyard.runtime.compute import Compute, in_thread
from trainyard.scheduling.engine import OPERATOR, Engine
from trainyard.scheduling.schedule import Follower
from trainyard.scheduling.snapshot import (
    Admit,
    Decision,
    Nominated,
    Preempt,
    Resize,
    Snapshot,
    Wait,
    Workload,
    WorkloadKey,
)
from trainyard.workloads.decisions import Decisions
from trainyard.workloads.keys import Key
from trainyard.workloads.times import retell_seconds
from trainyard.workloads.world import World

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.05
"""Between a change and its cycle: what arrives together is decided together."""
_SHARE = 1.0
"""A cycle is followed by a pause of so many times its length, so that cycles take half of the time at most."""
RECHECK_SECONDS = 15.0
"""A cycle runs this often even if nothing changed: avoided nodes are forgiven by time alone."""
_RECHECK_SHARE = 100.0
"""But after so many times its length at the soonest: a hundredth of the time is enough for nothing."""
CYCLE_SECONDS = 0.5
"""A cycle decides for so long; whoever it did not come to is asked in the next one, which follows at once."""
GO_ON_SECONDS = 1.0
"""So soon if there was no time to look for victims for all that wait."""

WorkloadSource = Callable[[], Iterable[tuple[Workload, int]]]
"""All workloads with the attempt that a decision would be for."""
CycleListener = Callable[[float, list[Decision]], None]
PreemptionListener = Callable[[str, str], None]
"""Hears of the queue of each victim, and of the queue for which it makes way."""
Observer = Callable[[Engine, Snapshot, datetime, Sequence[Decision]], Iterable[WorkloadKey] | None]
"""Returns those that wait of whom there is something new to tell, if any."""


class Scheduler:
    """Decides from the world and the standing decisions alone; what its engine remembers only saves time."""

    def __init__(
        self,
        world: World,
        decisions: Decisions,
        source: WorkloadSource,
        wake: Callable[[Key, float], None],
        clock: Clock,
        observers: Sequence[Observer] = (),
        compute: Compute = in_thread,
        listener: CycleListener = lambda _seconds, _decisions: None,
        preempting: PreemptionListener = lambda _victim, _queue: None,
    ) -> None:
        """observers: look at what each cycle decided, in its thread."""
        self._world, self._decisions, self._source, self._wake = world, decisions, source, wake
        self._clock, self._compute, self._listener = clock, compute, listener
        self._follower = Follower(OPERATOR)
        self._observers, self._preempting = observers, preempting
        self.ran = asyncio.Event()
        """Once it has come to the end of a cycle."""
        self._poked = asyncio.Event()
        self._took = 0.0

    def poke(self) -> None:
        """Something changed that may let a workload start."""
        self._poked.set()

    async def run(self) -> None:
        """Run cycles until cancelled."""
        while True:
            try:
                recheck = max(RECHECK_SECONDS, _RECHECK_SHARE * self._took)
                async with asyncio.timeout(GO_ON_SECONDS if self._follower.engine.unasked else recheck):
                    await self._poked.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(max(PAUSE_SECONDS, _SHARE * self._took))
            self._poked.clear()
            began = self._clock.monotonic()
            try:
                await self.cycle()
            except Exception:
                log.exception("admission cycle failed; the next one starts afresh")
                # What it decided nobody heard of, and its engine would go on counting it.
                self._follower = Follower(OPERATOR)
            self._took = self._clock.monotonic() - began
            self.ran.set()

    async def cycle(self) -> list[Decision]:
        """One cycle: decide about everything that waits, and tell who should act."""
        began = self._clock.monotonic()
        pairs = list(self._source())
        attempts = {workload.key: attempt for workload, attempt in pairs}
        self._decisions.keep_only(attempts)
        if all(workload.admission is not None for workload, _ in pairs) and not self._may_change_what_runs(pairs):
            self._decisions.void(())
            return []
        workloads = {workload.key: workload for workload, _ in pairs}
        for key in self._decisions.acting():
            if key in workloads:
                workloads[key] = self._overlaid(workloads[key], attempts[key])
        snapshot = self._world.snapshot(workloads.values())
        now, ends = self._clock.now(), self._clock.monotonic() + CYCLE_SECONDS
        decisions = await self._compute(
            partial(self._follower.decide, snapshot, now, lambda: self._clock.monotonic() > ends)
        )
        if self._follower.unfinished:
            self.poke()
        self._decisions.void(each.key for each in decisions)
        self._tell_of_preemptions(snapshot, decisions)
        for decision in decisions:
            seconds = self._decisions.put(decision, attempts[decision.key])
            if seconds is not None:
                self._wake(Key(decision.key.kind, decision.key.namespace, decision.key.name), seconds)
        self._listener(self._clock.monotonic() - began, decisions)
        # Those who wait for a place do not wait for what is said of it.
        news = await self._compute(partial(self._observe, snapshot, now, decisions))
        if news:
            positions = {each.key: each.position for each in decisions if isinstance(each, Wait)}
            for key in news & positions.keys():
                self._wake(Key(key.kind, key.namespace, key.name), retell_seconds(positions[key]))
        return decisions

    def _tell_of_preemptions(self, snapshot: Snapshot, decisions: Iterable[Decision]) -> None:
        preempting = [each for each in decisions if isinstance(each, Preempt)]
        queues = {each.key: each.queue for each in snapshot.workloads} if preempting else {}
        for each in preempting:
            for victim in each.victims:
                self._preempting(queues.get(victim.key, ""), queues[each.key])

    def _observe(self, snapshot: Snapshot, now: datetime, decisions: Sequence[Decision]) -> set[WorkloadKey]:
        looks = [look(self._follower.engine, snapshot, now, decisions) for look in self._observers]
        return {key for found in looks for key in found or ()}

    def _may_change_what_runs(self, pairs: Iterable[tuple[Workload, int]]) -> bool:
        """Whether a cycle could be of use although nobody waits: a queue is drained, a place has lost nodes, or an elastic job could grow."""
        drained = any(
            isinstance(each, Queue) and each.spec.stop_policy == "HoldAndDrain" for each in self._world.of_kind("Queue")
        )
        wounded = any(workload.lost for workload, _ in pairs)
        return (
            drained
            or wounded
            or any(
                pods.least is not None
                and workload.admission is not None
                and len(workload.admission.nodes.get(pods.role, ())) < pods.count
                for workload, _ in pairs
                for pods in workload.pods
            )
        )

    def _overlaid(self, workload: Workload, attempt: int) -> Workload:
        """As if a standing decision were already durable; only that nobody is asked to make way before it is."""
        if workload.blocked is not None:
            return workload
        standing = self._decisions.of(workload.key, workload.uid, attempt)
        if standing is None or isinstance(standing, Wait):
            return workload
        match standing:
            case Resize() if workload.admission is not None:
                return replace(workload, admission=standing.assignment)
            case Admit() if workload.admission is None:
                return replace(workload, admission=standing.assignment)
            case Preempt() if workload.admission is None and workload.nomination is None:
                return replace(workload, nomination=self._pending_nomination(standing))
        return workload

    def _pending_nomination(self, standing: Preempt) -> Nominated:
        now = self._clock.now()
        victims = tuple((each.key, each.uid) for each in standing.victims)
        deadline = now + timedelta(seconds=standing.deadline_seconds)
        return Nominated(standing.assignment, victims, now, deadline, durable=False)
