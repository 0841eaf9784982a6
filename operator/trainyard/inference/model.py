"""Which model a service serves: resolved from spec.model, pinned in status.model."""

from trainyard.api.inference_service import InferenceService, ServedModel
from trainyard.api.reasons import ConditionType
from trainyard.api.training_job import Result, TrainingJob
from trainyard.inference.graph import digest_of, problem, wiring
from trainyard.inference.observed import Observed
from trainyard.workloads import conditions

_MOST_WORDS = 400
_FEW_WORDS = 80


def resolve(observed: Observed) -> ServedModel | str:
    """The model that replicas should serve, or why there is none yet.

    That of the spec; or the old one, until a rollout has promoted the new one, or while the spec names one that a job has not made.
    """
    service = observed.service
    found, old = named(observed), service.status.model
    if old is None or not old.digest or not service.status.ready_time:
        return found
    if isinstance(found, str):  # what a job has made goes on being served, and its lost replicas are replaced
        return old if service.spec.model.training_job else found
    return found if service.spec.rollout.strategy == "Replace" else old


def named(observed: Observed) -> ServedModel | str:
    """The model that the spec names, or why there is none yet."""
    service, source = observed.service, observed.service.spec.model
    namespace = service.metadata.namespace
    if source.graph is not None:
        wrong = problem(service, source.graph, observed.neighbours)
        return wrong or ServedModel(claim_name="", path="", digest=digest_of(wiring(source.graph, namespace)))
    if source.training_job is None:
        assert source.claim_name is not None
        if not observed.claim_exists:
            return f"spec.model.claimName: there is no PersistentVolumeClaim {source.claim_name!r} in namespace {namespace!r}"
        if source.repository is not None:
            return ServedModel(claim_name=source.claim_name, path=source.repository, repository=True)
        assert source.path is not None
        return ServedModel(claim_name=source.claim_name, path=source.path, digest=source.digest or "")
    if observed.source is None:
        # What is served goes on being served when its job is deleted, for instance by its time to live.
        return _pinned(service) or (
            f"spec.model.trainingJob: there is no TrainingJob {source.training_job!r} in namespace {namespace!r}"
        )
    result = observed.source.status.result
    if result is None:
        return (
            f"spec.model.trainingJob: waits for TrainingJob {source.training_job!r}: {_without_model(observed.source)}"
        )
    if source.variant is not None:
        return _variant(observed.source, result, source.variant)
    return ServedModel(claim_name=result.claim_name, path=result.path, digest=result.digest)


def _pinned(service: InferenceService) -> ServedModel | None:
    """What is served or rolled out, if it is still what the spec names."""
    pinned, rollout = service.status.model, service.status.rollout
    if rollout is not None and rollout.phase != "Promoted":
        pinned = ServedModel.model_validate(rollout.canary.model_dump())
    return pinned if pinned is not None and pinned.variant == (service.spec.model.variant or "") else None


def _without_model(job: TrainingJob) -> str:
    """Why the job has no result."""
    if job.spec.storage is None:
        return "it has no spec.storage and exports nothing"
    failed = conditions.find(job.status.conditions, ConditionType.FAILED)
    if failed is not None and failed.status == "True":
        return f"it failed and has exported no model: {failed.message[:_MOST_WORDS]}"
    return f"it is {job.status.phase or 'Pending'} and has exported no model yet"


def _variant(job: TrainingJob, result: Result, name: str) -> ServedModel | str:
    """A published variant of the result, or why it cannot be served and which ones can."""
    found = next((each for each in result.variants if each.name == name), None)
    if found is not None and found.verdict == "Published":
        return ServedModel(claim_name=result.claim_name, path=found.path, digest=found.digest, variant=name)
    who = f"spec.model.variant: TrainingJob {job.metadata.name!r}"
    if found is not None:
        return f"{who} refused variant {name!r}: {found.reason[:_MOST_WORDS]}; {_others(result)}"
    if not result.variants and job.spec.compression is not None and not _over(job):
        return f"{who} is {job.status.phase} and still makes its variants"
    return f"{who} has no variant {name!r}; {_others(result)}"


def _over(job: TrainingJob) -> bool:
    return any(conditions.holds(job.status.conditions, kind) for kind in (ConditionType.COMPLETE, ConditionType.FAILED))


def _others(result: Result) -> str:
    """Which variants there are."""
    published = [each.name for each in result.variants if each.verdict == "Published"]
    refused = [f"{each.name} ({each.reason[:_FEW_WORDS]})" for each in result.variants if each.verdict == "Refused"]
    told = f"published are: {', '.join(published) or 'none'}"
    return f"{told}; refused: {', '.join(refused)}" if refused else told
