"""A cluster as a question sees it: the world, the workloads in it, and those that a manifest would add."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trainyard.api.inference_service import InferenceService
from trainyard.api.training_job import TrainingJob
from trainyard.inference import observed as of_service
from trainyard.inference import workload as services
from trainyard.scheduling.snapshot import Snapshot, Workload
from trainyard.training import observed as of_job
from trainyard.training import workload as jobs
from trainyard.training.parent import seen_in
from trainyard.training.pods import claim_name
from trainyard.workloads.keys import Key
from trainyard.workloads.world import World

Asked = TrainingJob | InferenceService
KINDS: Mapping[str, type[TrainingJob | InferenceService]] = {
    "TrainingJob": TrainingJob,
    "InferenceService": InferenceService,
}
PLANNED = "planned"
"""Begins the uid of what is not there."""


class NotPlannedError(ValueError):
    """A manifest that is neither a TrainingJob nor an InferenceService."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One moment."""

    world: World
    snapshot: Snapshot
    now: datetime
    carbon_grams_per_kwh: float | None = None
    """Only the operator is told."""

    def find(self, namespace: str, name: str, kind: str | None = None) -> Asked | None:
        """A job, or else a service, of that name."""
        for each in (kind,) if kind else KINDS:
            found = self.world.get(Key(each, namespace, name))
            if isinstance(found, TrainingJob | InferenceService):
                return found
        return None

    def workloads_of(self, thing: Asked) -> list[Workload]:
        """What it has or wants in the snapshot."""
        uid = thing.metadata.uid
        return [each for each in self.snapshot.workloads if each.uid == uid]

    def names(self, namespace: str) -> list[str]:
        """Names of jobs and services of a namespace."""
        each = (thing.metadata for kind in KINDS for thing in self.world.of_kind(kind))
        return sorted(meta.name for meta in each if meta.namespace == namespace)


def take(world: World, now: datetime) -> Picture:
    """A picture of a world that nobody schedules here. What cannot be understood is left out, as the operator does."""
    return Picture(world, world.snapshot(_workloads(world, now)), now)


def _workloads(world: World, now: datetime) -> Iterator[Workload]:
    for thing in (*world.of_kind("TrainingJob"), *world.of_kind("InferenceService")):
        if isinstance(thing, TrainingJob | InferenceService):
            yield from workloads(world, thing, now)


def workloads(world: World, thing: Asked, now: datetime) -> list[Workload]:
    """What an object has or wants, as the operator would tell the scheduler."""
    if isinstance(thing, TrainingJob):
        found = jobs.workload(_job(world, thing), now)
        return [found] if found else []
    return list(services.workloads(_service(world, thing), now))


def planned(world: World, manifest: Mapping[str, Any], namespace: str, now: datetime) -> tuple[Asked, list[Workload]]:
    """What a manifest would add. Raises NotPlannedError, or pydantic's ValidationError for a field that is wrong."""
    kind = KINDS.get(str(manifest.get("kind")))
    if kind is None:
        raise NotPlannedError(f"kind {manifest.get('kind')!r} is not planned; expected {' or '.join(KINDS)}")
    given = manifest.get("metadata")
    metadata = {"namespace": namespace, **(given if isinstance(given, Mapping) else {})}
    uid = f"{PLANNED}-{metadata['namespace']}-{metadata.get('name')}"
    stated = {**metadata, "uid": uid, "creationTimestamp": now.isoformat()}
    thing = kind.model_validate(
        {**{key: value for key, value in manifest.items() if key != "status"}, "metadata": stated}
    )
    return thing, workloads(world, thing, now)


def _job(world: World, job: TrainingJob) -> of_job.Observed:
    claim = claim_name(job)
    modes = world.claims.get((job.metadata.namespace, claim)) if claim else None
    return of_job.Observed(
        job=job,
        pods=world.pods.of(job.metadata.uid),
        claim=of_job.Claim(claim, modes) if claim and modes is not None else None,
        parent=seen_in(world, job),
        flavors=world.flavors(),
    )


def _service(world: World, service: InferenceService) -> of_service.Observed:
    meta, source = service.metadata, service.spec.model
    job = world.get(Key("TrainingJob", meta.namespace, source.training_job)) if source.training_job else None
    return of_service.Observed(
        service=service,
        pods=world.pods.of(meta.uid),
        source=job if isinstance(job, TrainingJob) else None,
        claim_exists=source.claim_name is None or (meta.namespace, source.claim_name) in world.claims,
        neighbours=world.relations.neighbours(service),
        flavors=world.flavors(),
    )
