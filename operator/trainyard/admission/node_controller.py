"""Looks after nodes: what they say of themselves, how they stand, what is to be done. Thin: `nodes/care` and `nodes/states` decide.

At the level `act` a node's record is kept in its annotation and written together with a cordon, so that a new leader, and a person's
uncordon, are understood from one object. Below that level nothing is written to nodes, and records are kept in memory.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from trainyard.api.node_health import HealthLevel, NodeState
from trainyard.api.reasons import Reason
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.resources import NODES
from trainyard.nodes import breaker, care
from trainyard.nodes.care import Change
from trainyard.nodes.lemons import Lemons
from trainyard.nodes.signs import Sign, signs
from trainyard.nodes.states import Record, Seen, look_again, step
from trainyard.runtime.clock import Clock
from trainyard.runtime.work_queue import NEVER, Again
from trainyard.workloads.applier import Applier, Learn
from trainyard.workloads.keys import Key
from trainyard.workloads.plan import Note, sooner
from trainyard.workloads.world import World

_WATCH_SECONDS = 15.0
"""How often a node is looked at that waits for pods to go, or for the breaker to close."""

_FADE_SECONDS = 3600.0
"""How often, when only time makes less of what speaks against it."""


class Told(Protocol):
    """Hears what happens, for metrics."""

    def node_became(self, state: NodeState) -> None: ...

    def xid(self, code: int) -> None: ...

    def node_breaker(self, is_open: bool) -> None: ...


class NodeController:
    """Reconciles Nodes."""

    def __init__(
        self,
        world: World,
        client: ClusterClient,
        applier: Applier,
        clock: Clock,
        level: HealthLevel,
        learn: Learn,
        changed: Callable[[set[Key]], None],
        told: Told,
        lemons: Lemons,
    ) -> None:
        """changed: hears whose pods are on a node that stands otherwise now, perhaps nobody's."""
        self._world, self._client, self._applier, self._clock = world, client, applier, clock
        self._level, self._learn, self._changed, self._told, self._lemons = level, learn, changed, told, lemons
        self._records: dict[str, Record] = {}
        self._lost: set[str] = set()
        """Nodes that are silent for so long that they counted as lost when they were last looked at."""
        self._noticed: dict[str, dict[str, datetime]] = {}
        self._breakers: set[bool] = set()
        """Those that are open: that of nodes with GPUs, that of nodes without."""

    async def reconcile(self, key: Key) -> Again:
        """One look at one node."""
        node, name = self._world.nodes.object_of(key.name), key.name
        if node is None:
            self._records.pop(name, None)
            self._noticed.pop(name, None)
            self._lost.discard(name)
            return NEVER
        now = self._clock.now()
        looked = self._look(name, node, now)
        before = care.recorded(node) if self._level is HealthLevel.ACT else self._records.get(name, Record())
        in_question = looked.signs or before.taken_out or self._breakers
        may_drain = not (in_question and self._too_many(key, now)) and self._level is HealthLevel.ACT
        after = step(before, looked, may_drain=may_drain, now=now)
        await self._carry_out(key, node, care.change(name, before, after, looked, self._level))
        self._records[name] = after
        if before.state is not after.state:
            self._told.node_became(after.state)
        risk = care.risk_of(node, now)
        if (
            beside := self._world.stand(name, care.standing(after, looked, self._lemons.of(name, now), risk))
        ) is not None:
            self._changed(beside)
        self._tell_of_silence(name, now)
        waits = after.state is NodeState.DRAINING or (
            after.state is NodeState.QUARANTINED and (self._level is HealthLevel.ACT or self._breakers)
        )
        fades = self._world.nodes[name].standing
        return Again(
            sooner(
                look_again(after, looked, now),
                _WATCH_SECONDS if waits else None,
                _FADE_SECONDS if fades.risk or fades.lemon else None,
                self._world.nodes.next_loss((name,), now),
            )
        )

    def signs(self, name: str) -> tuple[Sign, ...]:
        """What the node says now."""
        node = self._world.nodes.object_of(name)
        return signs(node, self._clock.now()) if node is not None else ()

    def _look(self, name: str, node: Mapping[str, Any], now: datetime) -> Seen:
        known = self._noticed.get(name)
        looked = care.seen(node, occupied=self._world.pods.occupy(name), noticed=known or {}, now=now)
        self._noticed[name] = {each.event: (known or {}).get(each.event, now) for each in looked.signs}
        for sign in looked.signs:
            if sign.code is not None and (known or {}).get(sign.event) is None and not _old(sign, known, now):
                self._told.xid(sign.code)
        return replace(looked, noticed=tuple(self._noticed[name].items()))

    def _tell_of_silence(self, name: str, now: datetime) -> None:
        """That a node is lost is brought about by time alone: nobody else tells the scheduler when it is."""
        lost = bool(self._world.nodes.lost((name,), now))
        if lost is (name in self._lost):
            return
        self._lost ^= {name}
        self._changed(self._world.pods.beside(name))

    def _too_many(self, key: Key, now: datetime) -> bool:
        """Whether the breaker is open for the node; who finds it open first says so.

        It counts how the world's nodes stand, which a new leader knows of all of them before it looks at the first.
        """
        kind = breaker.has_gpus(self._world.nodes[key.name])
        alike = [each.standing for each in self._world.nodes.values() if breaker.has_gpus(each) is kind]
        taken_out = breaker.lately(alike, now)
        is_open = breaker.is_open(taken_out, len(alike))
        if is_open != (kind in self._breakers):
            self._breakers ^= {kind}
            self._told.node_breaker(bool(self._breakers))
            if is_open:
                message = f"{taken_out} of {len(alike)} nodes {'with' if kind else 'without'} GPUs are to be taken out of use within {breaker.WINDOW.total_seconds() / 60:g} minutes: no node is cordoned or drained until that is less; look for a common cause"
                self._applier.note(key, Note(Reason.BREAKER_OPEN, message, warning=True))
        return is_open

    async def _carry_out(self, key: Key, node: Mapping[str, Any], change: Change) -> None:
        """The patch first: what is said of it has to be true."""
        if change.patch is not None:
            meta = node["metadata"]
            guard = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
            patch = {**change.patch, "metadata": {**change.patch["metadata"], **guard}}
            self._learn("Node", await self._client.patch(NODES, None, key.name, patch))
        if change.reason is not None:
            self._applier.note(key, Note(change.reason, change.message, warning=change.warning))


def _old(sign: Sign, known: Mapping[str, datetime] | None, now: datetime) -> bool:
    """Whether it was there before this process was: it was counted then."""
    return known is None and sign.since is not None and (now - sign.since).total_seconds() > _WATCH_SECONDS
