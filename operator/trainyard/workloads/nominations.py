"""Nominations between the statuses, where they are durable, and the scheduler."""

from trainyard.api.inference_service import InferenceService
from trainyard.api.preemption import Nomination, WorkloadReference
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.snapshot import Assignment, Evict, Nominated, WorkloadKey
from trainyard.workloads.keys import Key
from trainyard.workloads.world import World


def nominated(nomination: Nomination) -> Nominated:
    """As the scheduler sees it."""
    assignment = Assignment(nomination.flavor, {role.name: tuple(role.nodes()) for role in nomination.roles})
    victims = tuple((_key(each), each.uid) for each in nomination.victims)
    return Nominated(assignment, victims, nomination.time, nomination.deadline)


def still_asked(world: World, asked: Evict) -> bool:
    """Whether a request to make way still stands in the status of the one it is for. A drained queue asks by itself."""
    if asked.by is None:
        return True
    owner = world.get(Key(asked.by.kind, asked.by.namespace, asked.by.name))
    found: list[Nomination] = []
    if isinstance(owner, TrainingJob) and owner.status.nomination is not None:
        found = [owner.status.nomination]
    elif isinstance(owner, InferenceService):
        found = [each for each in owner.status.nominations if each.serial == asked.by.slot]
    if owner is None or owner.metadata.uid != asked.by_uid:
        return False
    return any((_key(each), each.uid) == (asked.key, asked.uid) for one in found for each in one.victims)


def _key(reference: WorkloadReference) -> WorkloadKey:
    return WorkloadKey(reference.kind, reference.namespace, reference.name, reference.serial)
