"""What the auditor looks at, taken from the world in one moment."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from trainyard.admission.auditor import Sighting
from trainyard.admission.places import OWNERS
from trainyard.cluster.sight import Sight
from trainyard.scheduling.snapshot import Workload
from trainyard.workloads.world import World


def sighting(world: World, sight: Sight, workloads: Iterable[Workload], now: datetime) -> Sighting:
    """Of what is seen whole; elsewhere nothing can be said to be wrong."""
    whole = sight.whole
    jobs = tuple(each for each in world.training_jobs() if whole(each.metadata.namespace))
    owners = frozenset(each.metadata.uid for kind in OWNERS for each in world.of_kind(kind))
    owners |= frozenset(world.unreadable.values())
    snapshot = world.snapshot(workloads)
    if sight.namespaces:
        snapshot = replace(snapshot, pods=tuple(each for each in snapshot.pods if whole(each.namespace)))
    pods = {job.metadata.uid: found for job in jobs if (found := world.pods.of(job.metadata.uid))}
    return Sighting(now, snapshot, jobs, pods, owners)
