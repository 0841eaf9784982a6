"""The caches of all kinds that are followed: ours, which kopf's watch feeds, and the others, which list and watch by themselves."""

import asyncio
import logging
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

from trainyard.api.names import MANAGED_BY, MANAGED_BY_LABEL
from trainyard.api.sight import View
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.informer import ExternalCache, Informer
from trainyard.cluster.resources import (
    CLAIMS,
    DEPLOYMENTS,
    FLAVORS,
    INFERENCE_SERVICES,
    NAMESPACES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    QUEUES,
    SERVICES,
    TRAINING_JOBS,
)
from trainyard.cluster.sight import Sight
from trainyard.runtime.clock import Clock
from trainyard.runtime.memory import give_back
from trainyard.workloads.kept import KEPT

log = logging.getLogger(__name__)

OURS = {"Flavor": FLAVORS, "Queue": QUEUES, "TrainingJob": TRAINING_JOBS, "InferenceService": INFERENCE_SERVICES}
_NEEDED = (PODS, NAMESPACES, CLAIMS, SERVICES, DEPLOYMENTS, POD_DISRUPTION_BUDGETS)
"""Of a namespace nothing is done without these."""
_MANAGED = f"{MANAGED_BY_LABEL}={MANAGED_BY}"


class Caches:
    """By kind. `sight` says which namespaces are seen, where the operator is confined to some."""

    def __init__(self, client: ClusterClient, clock: Clock, random: Random, namespaces: tuple[str, ...] = ()) -> None:
        self._client = client
        self.sight = sight = Sight(namespaces, [each.plural for each in _NEEDED])
        self.ours = {
            kind: ExternalCache(
                resource, clock, keep=KEPT.get(kind, _all), sight=sight if resource.namespaced else None
            )
            for kind, resource in OURS.items()
        }
        self.informers = {
            "Pod": Informer(client, PODS, clock, random, keep=KEPT["Pod"], sight=sight),
            "Node": Informer(client, NODES, clock, random, keep=KEPT["Node"]),
            "Namespace": Informer(client, NAMESPACES, clock, random, sight=sight),
            "PersistentVolumeClaim": Informer(client, CLAIMS, clock, random, sight=sight),
            "Service": Informer(
                client, SERVICES, clock, random, keep=KEPT["Service"], label_selector=_MANAGED, sight=sight
            ),
            "Deployment": Informer(client, DEPLOYMENTS, clock, random, label_selector=_MANAGED, sight=sight),
            "PodDisruptionBudget": Informer(
                client, POD_DISRUPTION_BUDGETS, clock, random, label_selector=_MANAGED, sight=sight
            ),
        }

    def all(self) -> Iterator[tuple[str, ExternalCache | Informer]]:
        """Each with its kind."""
        yield from self.ours.items()
        yield from self.informers.items()

    def by_resource(self) -> dict[str, ExternalCache | Informer]:
        """All by the name under which requests are counted too."""
        return {each.resource.plural: each for _, each in self.all()}

    async def filled(self) -> None:
        """Wait until each of those that follow by themselves has read what it may read."""
        await asyncio.gather(*(informer.synced.wait() for informer in self.informers.values()))

    async def repair(self) -> None:
        """Compare the caches of our kinds with complete quorum lists: the watch that feeds them may have missed deletions."""
        for cache in self.ours.values():
            await cache.repair(self._client)

    async def repair_now_and_then(self, seconds: float) -> None:
        """Ours, and every second time all: a watch may leave out an event without ever losing its place, kopf's more than that.

        One after the other, since each holds a page of a list.
        """
        for turn in count(1):
            await asyncio.sleep(seconds)
            others = self.informers.values() if turn % 2 == 0 else ()
            for compare in (self.repair, *(informer.relist for informer in others)):
                try:
                    await compare()
                except Exception:
                    log.exception("a cache could not be compared with the API server; tried again later")
            give_back()

    async def take_in(self, namespace: str) -> bool:
        """Read our kinds of a namespace that came into sight. False if some may not be read there. Raises ClusterError."""
        taken = [
            await cache.take_in(self._client, namespace) for kind, cache in self.ours.items() if OURS[kind].namespaced
        ]
        return all(taken)

    def forget(self, namespace: str) -> None:
        """It is gone, and everything in it; the watches that would say so may have been refused before."""
        for _, cache in self.all():
            if cache.resource.namespaced:
                cache.forget(namespace)

    def views(self) -> dict[str, View]:
        """How each of the namespaces stands to which the operator is confined."""
        shown = self.informers["Namespace"]
        return {each: self.sight.view(each, shown=shown.get(None, each) is not None) for each in self.sight.namespaces}


def _all(obj: dict[str, Any]) -> dict[str, Any]:
    return obj
