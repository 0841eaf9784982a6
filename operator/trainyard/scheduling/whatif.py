"""What the scheduler would do if something were different: a settled state, and trials on copies of it that change nothing.

`plan`, `why` and `remedies` ask here. A trial runs the same cycle as the operator, on an engine that was told the same snapshot;
it costs a copy of arrays and the few answers that the change may have altered, so that dozens of trials take a moment.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from trainyard.scheduling.cycle import Cycle
from trainyard.scheduling.engine import OPERATOR, Engine, Options
from trainyard.scheduling.schedule import Follower, waits
from trainyard.scheduling.snapshot import (
    Admit,
    Assignment,
    Decision,
    Nominated,
    Preempt,
    Snapshot,
    Wait,
    Workload,
    WorkloadKey,
)

_Thing = TypeVar("_Thing")


@dataclass(frozen=True, slots=True)
class Settled:
    """A cluster after a cycle: whatever can start has started, as the operator leaves it."""

    snapshot: Snapshot
    """With the places that the cycle gave."""
    engine: Engine
    """Not to be changed: trials work on copies."""
    now: datetime
    decisions: Mapping[WorkloadKey, Decision]
    """For each workload that had no place before."""

    def waiting(self, key: WorkloadKey) -> Wait | None:
        """The last word on a workload that waits."""
        found = self.decisions.get(key)
        return found if isinstance(found, Wait) else None


class Settler:
    """Settles one snapshot after the other and tells its engine only what is new, so that a later question costs little."""

    def __init__(self, options: Options = OPERATOR) -> None:
        self._follower = Follower(options)

    def settle(self, snapshot: Snapshot, now: datetime) -> Settled:
        """Run a cycle on a snapshot, as the operator does. What was settled before is not to be asked any more."""
        decisions = {each.key: each for each in self._follower.decide(snapshot, now)}
        workloads = tuple(_decided(each, decisions.get(each.key), now) for each in snapshot.workloads)
        for each in self._follower.engine.running.values():
            each.still_runs(now.timestamp())
        return Settled(replace(snapshot, workloads=workloads), self._follower.engine, now, decisions)


def settle(snapshot: Snapshot, now: datetime) -> Settled:
    """Run a cycle on a snapshot, as an operator does that has just started."""
    return Settler().settle(snapshot, now)


def _decided(workload: Workload, decision: Decision | None, now: datetime) -> Workload:
    """As its status shows it after the decision."""
    if isinstance(decision, Admit):
        return replace(workload, admission=decision.assignment, started=now)
    if isinstance(decision, Preempt):
        victims = tuple((each.key, each.uid) for each in decision.victims)
        deadline = now + timedelta(seconds=decision.deadline_seconds)
        return replace(workload, nomination=Nominated(decision.assignment, victims, now, deadline))
    return workload


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cycle on a changed state decided."""

    engine: Engine
    admitted: Mapping[WorkloadKey, Admit]
    preempting: Mapping[WorkloadKey, Preempt]

    def waits(self) -> dict[WorkloadKey, Wait]:
        """Everything that still waits."""
        return {each.key: each for each in waits(self.engine)}


def trial(settled: Settled, workload: Workload, ended: Sequence[WorkloadKey] = (), *, anew: bool = False) -> Outcome:
    """What would happen if the workload were this one, or came in addition, and those in `ended` had ended.

    anew: as a scheduler would decide that has just started, which may keep other places for those that wait.
    """
    engine = _changed(settled, workload, ended, anew)
    cycle = Cycle(engine, settled.now.timestamp())
    cycle.run()
    return Outcome(engine, {each.key: each for each in cycle.admitted}, {each.key: each for each in cycle.preempting})


def place(
    settled: Settled, workload: Workload, ended: Sequence[WorkloadKey] = (), *, anew: bool = False
) -> Assignment | None:
    """Where the workload would start, or None; the rest as for `trial`, of which it is the cheap part."""
    engine = _changed(settled, workload, ended, anew)
    admitted = Cycle(engine, settled.now.timestamp()).run(until=workload.key)
    return next((each.assignment for each in admitted if each.key == workload.key), None)


def _changed(settled: Settled, workload: Workload, ended: Sequence[WorkloadKey], anew: bool) -> Engine:
    engine = fork(settled.engine)
    if anew:
        engine.forget_plans()
    for key in ended:
        engine.finish(key)
    engine.withdraw(workload.key)
    engine.arrive(workload)
    return engine


def fork(engine: Engine) -> Engine:
    """An engine in the same state that goes its own way."""
    twin = _twin(engine)
    twin.fleet, twin.tree, twin.pending = engine.fleet.copy(), engine.tree.copy(), engine.pending.fork()
    twin.counters = copy.copy(engine.counters)
    twin.running = {key: copy.copy(each) for key, each in engine.running.items()}
    twin.reservations = []
    for each in engine.reservations:
        kept = _twin(each)
        kept.fleet, kept.tree = each.fleet.copy(), each.tree.copy()
        twin.reservations.append(kept)
    return twin


def _twin(thing: _Thing) -> _Thing:
    """A copy whose own collections are copied too; what is in them is shared."""
    twin = copy.copy(thing)
    for name in getattr(type(thing), "__slots__", ()) or vars(thing):
        value = getattr(thing, name)
        if isinstance(value, dict | list | set):
            setattr(twin, name, value.copy())
    return twin
