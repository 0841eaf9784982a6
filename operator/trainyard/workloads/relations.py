"""Which jobs and services look again when another one changes: whoever serves or compresses its result, asks it, or uses its claim."""

from collections.abc import Mapping

from trainyard.api.inference_service import InferenceService
from trainyard.api.training_job import TrainingJob
from trainyard.workloads.keys import Key
from trainyard.workloads.understood import Ours


class Relations:
    """Of all jobs and services that can be read."""

    def __init__(self, jobs: Mapping[Key, Ours], services: Mapping[Key, Ours]) -> None:
        """jobs, services: as they are now, whenever one looks."""
        self._jobs, self._services = jobs, services
        self._using: dict[Key, set[Key]] = {}
        """Services that serve a job's result, and jobs that compress it, by that job."""

    def changed(self, key: Key, old: Ours | None, new: Ours | None) -> set[Key]:
        """Those that look when it came, went or took another step; graphs do when a service of their namespace came, went or changed its spec."""
        self._know_parent(key, old, new)
        if isinstance(new or old, InferenceService):
            return self._graphs_beside(key) if _generation(old) != _generation(new) else set()
        if not isinstance(new or old, TrainingJob) or _stage(old) == _stage(new):
            return set()
        return self._using.get(key, set()).copy()

    def neighbours(self, service: InferenceService) -> dict[str, InferenceService]:
        """Services of the same namespace by name; none for one whose model is no graph, as it asks nobody."""
        if service.spec.model.graph is None:
            return {}
        return {
            key.name: each
            for key, each in self._services.items()
            if isinstance(each, InferenceService) and key.namespace == service.metadata.namespace
        }

    def users_of_claim(self, namespace: str, name: str) -> set[Key]:
        """Jobs and services whose spec tells of it."""
        jobs = (
            (key, each)
            for key, each in self._jobs.items()
            if isinstance(each, TrainingJob) and key.namespace == namespace
        )
        services = {
            key
            for key, each in self._services.items()
            if isinstance(each, InferenceService) and (key.namespace, each.spec.model.claim_name) == (namespace, name)
        }
        return services | {key for key, job in jobs if name in _claims_of(job)}

    def _know_parent(self, key: Key, old: Ours | None, new: Ours | None) -> None:
        """Keep who serves or compresses the result of a job, by that one's key."""
        before, after = _parent_of(key, old), _parent_of(key, new)
        if before == after:
            return
        if before is not None:
            children = self._using.get(before, set())
            children.discard(key)
            if not children:
                self._using.pop(before, None)
        if after is not None:
            self._using.setdefault(after, set()).add(key)

    def _graphs_beside(self, key: Key) -> set[Key]:
        return {
            each
            for each, service in self._services.items()
            if isinstance(service, InferenceService)
            and each.namespace == key.namespace
            and service.spec.model.graph is not None
        }


def _parent_of(key: Key, thing: Ours | None) -> Key | None:
    """The job whose result this one serves or compresses."""
    name = None
    if isinstance(thing, InferenceService):
        name = thing.spec.model.training_job
    elif isinstance(thing, TrainingJob) and thing.spec.compression and thing.spec.compression.parent:
        name = thing.spec.compression.parent.training_job
    return Key("TrainingJob", key.namespace, name) if name else None


def _claims_of(job: TrainingJob) -> set[str | None]:
    """Names of the claims that the job's spec tells of."""
    storage, compression = job.spec.storage, job.spec.compression
    claims: set[str | None] = {storage.claim_name or job.metadata.name} if storage else set()
    return claims | {compression.parent.claim_name} if compression and compression.parent else claims


def _generation(thing: Ours | None) -> tuple[str, int] | None:
    return (thing.metadata.uid, thing.metadata.generation) if thing is not None else None


def _stage(job: Ours | None) -> tuple[object, ...] | None:
    return (job.metadata.uid, job.status.phase, job.status.result) if isinstance(job, TrainingJob) else None
