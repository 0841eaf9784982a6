"""Which model a service serves: resolved from spec.model, pinned in status.model."""

from trainyard.api.inference_service import ServedModel
from trainyard.inference.observed import Observed


def resolve(observed: Observed) -> ServedModel | str:
    """The model that replicas should serve, or why there is none yet: that of the spec, or the old one until a rollout has promoted it."""
    found, old = named(observed), observed.service.status.model
    if isinstance(found, str) or old is None or observed.service.spec.rollout.strategy == "Replace":
        return found
    return old if old.digest and observed.service.status.ready_time else found


def named(observed: Observed) -> ServedModel | str:
    """The model that the spec names, or why there is none yet."""
    service, source = observed.service, observed.service.spec.model
    namespace = service.metadata.namespace
    if source.training_job is None:
        assert source.claim_name is not None
        if not observed.claim_exists:
            return f"spec.model.claimName: there is no PersistentVolumeClaim {source.claim_name!r} in namespace {namespace!r}"
        if source.repository is not None:
            return ServedModel(claim_name=source.claim_name, path=source.repository, repository=True)
        assert source.path is not None
        return ServedModel(claim_name=source.claim_name, path=source.path, digest=source.digest or "")
    pinned = service.status.model
    if (rollout := service.status.rollout) is not None and rollout.phase != "Promoted":
        pinned = ServedModel.model_validate(rollout.canary.model_dump())
    if observed.source is None:
        # What is served goes on being served when its job is deleted, for instance by its time to live.
        return (
            pinned
            or f"spec.model.trainingJob: there is no TrainingJob {source.training_job!r} in namespace {namespace!r}"
        )
    result = observed.source.status.result
    if result is None:
        phase = observed.source.status.phase or "Pending"
        hint = (
            "it has no spec.storage and exports nothing"
            if observed.source.spec.storage is None
            else f"it is {phase} and has exported no model yet"
        )
        return f"spec.model.trainingJob: waits for TrainingJob {source.training_job!r}: {hint}"
    return ServedModel(claim_name=result.claim_name, path=result.path, digest=result.digest)
