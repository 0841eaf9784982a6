"""The nodes as they are known now: their views, how they stand, and since when they are silent.

A node counts as lost by time: when it has been silent for a grace period beyond Kubernetes' own. If many fell silent together none
counts: then the fault is more likely between them and us.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from trainyard.nodes import care, times
from trainyard.scheduling.snapshot import NodeView, Standing
from trainyard.workloads import node_health
from trainyard.workloads.kept import of_node
from trainyard.workloads.keys import Key
from trainyard.workloads.views import node_view

Object = Mapping[str, Any]
_BLIND_CHECK_SECONDS = 60.0
_ROUNDING_SECONDS = 0.1
LOST_SECONDS = 5.0
"""A node that Kubernetes has called not ready for so long, after a grace period of its own, will not answer again soon."""


def node_key(name: str) -> Key:
    """Of a node on the work queue, and of its object."""
    return Key("Node", "", name)


class KnownNodes(Mapping[str, NodeView]):
    """Views by name."""

    def __init__(self) -> None:
        self._views: dict[str, NodeView] = {}
        self._objects: dict[str, dict[str, Any]] = {}
        self._standings: dict[str, Standing] = {}
        """Of nodes that somebody looks after."""
        self._not_ready_since: dict[str, datetime] = {}

    def __getitem__(self, name: str) -> NodeView:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def observe(self, name: str, new: Object | None, now: datetime) -> bool:
        """Take a change. Returns whether it matters to whoever has pods there."""
        before, since = self._views.get(name), self._not_ready_since.get(name)
        if new is None:
            for known in (self._views, self._objects, self._standings, self._not_ready_since):
                known.pop(name, None)
            return True
        self._objects[name] = of_node(new)
        standing = self._standings.get(name) or care.first_look(new, now)
        view = self._views[name] = node_view(new, standing)
        if view.ready:
            self._not_ready_since.pop(name, None)
        else:
            self._not_ready_since[name] = _since(new) or since or now
        same = _stays(view) == (_stays(before) if before else (False, ""))
        return not (view.ready and since is None and same)

    def stand(self, name: str, standing: Standing, now: datetime) -> bool | None:
        """How a node stands from now on; whether that matters to whoever has pods there. None if it stood so before."""
        node = self._objects.get(name)
        if node is None or self._standings.get(name) == standing:
            return None
        self._standings[name] = standing
        return self.observe(name, node, now)

    def object_of(self, name: str) -> dict[str, Any] | None:
        """The node, without what is of no interest here (`kept.of_node`)."""
        return self._objects.get(name)

    def lost(self, nodes: Iterable[str], now: datetime, grace: float = LOST_SECONDS) -> frozenset[str]:
        """Those of `nodes` that will not answer again soon: gone, or not ready for `grace` seconds.

        None when so many fell silent together (over a fifth, two at least, within ten minutes) that the fault is more
        likely between them and us.
        """
        if not self._views or self._blind(now):
            return frozenset()
        return frozenset(name for name in nodes if name and self._silent(name, now) >= grace)

    def next_loss(self, nodes: Iterable[str], now: datetime, grace: float = LOST_SECONDS) -> float | None:
        """Seconds until one of `nodes` that is silent now counts as lost, which no event announces; None if none is."""
        silent = [self._silent(name, now) for name in nodes if name in self._not_ready_since]
        if not silent:
            return None
        if self._blind(now):
            return _BLIND_CHECK_SECONDS
        return min((grace - seconds + _ROUNDING_SECONDS for seconds in silent if seconds < grace), default=None)

    def silent_since(self, nodes: Iterable[str]) -> dict[str, datetime]:
        """Those of `nodes` that are not ready, and since when."""
        return {name: since for name in nodes if (since := self._not_ready_since.get(name)) is not None}

    def leaving(self, nodes: Iterable[str]) -> dict[str, str]:
        """Those of `nodes` that will be gone soon, and by what that is known."""
        return {name: view.leaving for name in nodes if (view := self._views.get(name)) and view.leaving}

    def cordoned(self, nodes: Iterable[str]) -> frozenset[str]:
        """Those of `nodes` that take no new pods since somebody said so."""
        return frozenset(name for name in nodes if (view := self._views.get(name)) and view.unschedulable)

    def share_gpus(self, nodes: Iterable[str]) -> bool:
        """Whether GPUs of any of `nodes` are handed out several times."""
        return any((view := self._views.get(name)) and node_health.shares_gpus(view.labels) for name in nodes)

    def departing(self, nodes: Iterable[str]) -> frozenset[str]:
        """Those of `nodes` whose loss says nothing against them: somebody cordoned them, or they are gone or will be soon."""
        there = {name: self._views.get(name) for name in nodes}
        return frozenset(name for name, view in there.items() if not view or view.unschedulable or view.leaving)

    def _blind(self, now: datetime) -> bool:
        recent = sum(now - since < timedelta(minutes=10) for since in self._not_ready_since.values())
        return recent >= 2 and recent * 5 > len(self._views)  # noqa: PLR2004

    def _silent(self, name: str, now: datetime) -> float:
        if name not in self._views:
            return float("inf")
        since = self._not_ready_since.get(name)
        return (now - since).total_seconds() if since else 0.0


def _stays(view: NodeView) -> tuple[bool, str]:
    return view.unschedulable, view.leaving


def _since(node: Object) -> datetime | None:
    for each in node.get("status", {}).get("conditions", ()):
        if each["type"] == "Ready":
            return times.parse(each.get("lastTransitionTime"))
    return None
