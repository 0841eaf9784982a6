"""The pods as they are known now: what the scheduler counts of each, and by owner, node, service and job those that one asks for."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trainyard.api.names import JOB_LABEL, ROLE_LABEL, SERVICE_LABEL, TENSORBOARD_LABEL
from trainyard.scheduling.snapshot import PodView
from trainyard.workloads.identity import labels_of, owner
from trainyard.workloads.keys import Key
from trainyard.workloads.pod_state import PodState, pod_state
from trainyard.workloads.views import pod_view

Object = Mapping[str, Any]
Place = tuple[str, str]
"""Namespace and name."""
_CONTAINERS = {"replica": "server", "gateway": "haproxy"}
"""By role in a service."""


class KnownPods:
    """All of them, strangers' too."""

    def __init__(self) -> None:
        self._views: dict[Place, PodView] = {}
        self._at: dict[str, dict[Place, Key]] = {}
        """By node, whose pods are there."""
        self._states: dict[str, dict[str, PodState]] = {}
        """By uid of the owner."""
        self._gateways: dict[Place, dict[str, PodState]] = {}
        self._boards: dict[Place, dict[str, PodState]] = {}

    def observe(self, place: Place, old: Object | None, new: Object | None, now: datetime) -> None:
        """Take a change."""
        self._states_changed(old, new, now)
        self._see(place, new)
        labels = labels_of(new or old or {})
        if labels.get(ROLE_LABEL) == "gateway":
            service = (place[0], labels.get(SERVICE_LABEL, ""))
            _keep(self._gateways, service, place[1], new and pod_state(new, _CONTAINERS["gateway"]))
        if job := labels.get(TENSORBOARD_LABEL):
            _keep(self._boards, (place[0], job), place[1], new and pod_state(new, "tensorboard"))

    def of(self, uid: str) -> tuple[PodState, ...]:
        """Those whose owner has that uid."""
        return tuple(self._states.get(uid, {}).values())

    def gateways(self, namespace: str, service: str) -> tuple[PodState, ...]:
        """Gateway pods of an InferenceService."""
        return tuple(self._gateways.get((namespace, service), {}).values())

    def boards(self, namespace: str, job: str) -> tuple[PodState, ...]:
        """TensorBoard pods of a TrainingJob."""
        return tuple(self._boards.get((namespace, job), {}).values())

    def views(self) -> tuple[PodView, ...]:
        """What the scheduler counts."""
        return tuple(self._views.values())

    def beside(self, node: str) -> set[Key]:
        """Whose pods are on the node."""
        return set(self._at.get(node, {}).values())

    def occupy(self, node: str) -> bool:
        """Whether pods of ours are on the node and have not ended."""
        return any(not self._views[place].finished for place in self._at.get(node, ()))

    def _states_changed(self, old: Object | None, new: Object | None, now: datetime) -> None:
        before, after = (old and owner(old)[1]), (new and owner(new)[1])
        if (
            old is not None
            and before
            and (before != after or old["metadata"]["uid"] != (new or old)["metadata"]["uid"] or new is None)
        ):
            _keep(self._states, before, old["metadata"]["uid"], None)
        if new is not None and after:
            labels = labels_of(new)
            container = "trainer" if JOB_LABEL in labels else _CONTAINERS.get(labels.get(ROLE_LABEL, ""), "")
            uid = new["metadata"]["uid"]
            known = self._states.get(after, {}).get(uid)
            _keep(self._states, after, uid, pod_state(new, container, known.first_look if known else now))

    def _see(self, place: Place, pod: Object | None) -> None:
        """Keep what the scheduler counts of a pod, and at which node it is."""
        old, view = self._views.get(place), pod_view(pod) if pod else None
        if view is None:
            self._views.pop(place, None)
        else:
            self._views[place] = view
        if old is not None and (view is None or old.node != view.node):
            _keep(self._at, old.node, place, None)
        if pod is not None and view is not None and view.node and view.owner_uid:
            kind, _, name = owner(pod)
            _keep(self._at, view.node, place, Key(kind, place[0], name))


def _keep(groups: dict[Any, dict[Any, Any]], group: Any, key: Any, value: Any) -> None:
    """Keep the value in its group, or none if it is None; a group that is empty goes."""
    if value is not None:
        groups.setdefault(group, {})[key] = value
    elif (found := groups.get(group)) is not None:
        found.pop(key, None)
        if not found:
            del groups[group]
