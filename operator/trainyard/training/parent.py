"""Which model a job compresses: found from spec.compression.parent, and written into status.parent before anything follows from it.

A job whose parent has no model yet waits without a place; what was written down stays, also when the parent is deleted.
"""

from trainyard.api.compression import CompressionParent, ParentModel
from trainyard.api.reasons import ConditionType, Waiting
from trainyard.api.training_job import TrainingJob
from trainyard.scheduling.snapshot import Verdict
from trainyard.training.case import Case
from trainyard.training.observed import Observed, ParentSeen
from trainyard.training.pods import processes
from trainyard.workloads import conditions
from trainyard.workloads.keys import Key
from trainyard.workloads.plan import Plan
from trainyard.workloads.world import World

_FIELD = "spec.compression.parent"
_ANOTHER = "delete this job and create it with another parent"
_MOST_WORDS = 400


def seen_in(world: World, job: TrainingJob) -> ParentSeen:
    """What there is of the parent."""
    asked = parent_asked(job)
    if asked is None:
        return ParentSeen()
    namespace = job.metadata.namespace
    found = world.get(Key("TrainingJob", namespace, asked.training_job)) if asked.training_job else None
    return ParentSeen(
        found if isinstance(found, TrainingJob) else None,
        asked.claim_name is None or (namespace, asked.claim_name) in world.claims,
    )


def parent_asked(job: TrainingJob) -> CompressionParent | None:
    """The parent that the spec names."""
    return job.spec.compression.parent if job.spec.compression else None


def find_parent(observed: Observed) -> ParentModel | Verdict | None:
    """The model that is compressed, or why there is none yet; None for a job that compresses nothing, or what it trains itself."""
    asked, known = parent_asked(observed.job), observed.job.status.parent
    if asked is None or known is not None:
        return known
    if asked.training_job is not None:
        return _of_job(asked.training_job, observed)
    if asked.claim_name is None or asked.path is None:  # the CRD's rules forbid it, and an older CRD may not have them
        return Verdict(
            Waiting.MISCONFIGURED,
            f"{_FIELD} names no model, expected trainingJob, or claimName with path: delete the job and create it anew",
        )
    if not observed.parent.claim_exists:
        return Verdict(
            Waiting.MODEL_NOT_READY,
            f"{_FIELD}.claimName: there is no PersistentVolumeClaim {asked.claim_name!r} in namespace"
            f" {observed.job.metadata.namespace!r}; create it and the job goes on",
        )
    return ParentModel(claim_name=asked.claim_name, path=asked.path, digest=asked.digest or "")


def _of_job(name: str, observed: Observed) -> ParentModel | Verdict:
    field, parent = f"{_FIELD}.trainingJob", observed.parent.job
    if parent is None:
        namespace = observed.job.metadata.namespace
        words = f"there is no TrainingJob {name!r} in namespace {namespace!r}; create it and this job goes on"
        return Verdict(Waiting.MODEL_NOT_READY, f"{field}: {words}")
    if (result := parent.status.result) is not None:
        return ParentModel(claim_name=result.claim_name, path=result.path, digest=result.digest)
    if (never := _never(parent)) is not None:
        return Verdict(Waiting.MISCONFIGURED, f"{field}: TrainingJob {name!r} {never}; {_ANOTHER}")
    helps = "set its spec.suspend to false" if parent.spec.suspend else "this job goes on as soon as it has"
    phase = parent.status.phase or "Pending"
    words = f"waits for TrainingJob {name!r}: it is {phase} and has exported no model yet; {helps}"
    return Verdict(Waiting.MODEL_NOT_READY, f"{field}: {words}")


def _never(parent: TrainingJob) -> str | None:
    """Why the job will export nothing any more."""
    if parent.spec.storage is None:
        return "has no spec.storage and exports nothing"
    failed = conditions.find(parent.status.conditions, ConditionType.FAILED)
    if failed is not None and failed.status == "True":
        return f"failed before it exported a model ({failed.message[:_MOST_WORDS]})"
    if conditions.holds(parent.status.conditions, ConditionType.COMPLETE):
        return "is complete and has exported no model"
    return None


def parent_missing(observed: Observed) -> Verdict | None:
    """Nothing to compress yet."""
    found = find_parent(observed)
    return found if isinstance(found, Verdict) else None


def several_processes(observed: Observed) -> Verdict | None:
    """Variants are measured by one process; a pod has one for each GPU."""
    resources = observed.job.spec.workers.resources
    if observed.job.spec.compression is None or processes(resources) == 1:
        return None
    return Verdict(
        Waiting.MISCONFIGURED,
        f"spec.workers.resources.limits[nvidia.com/gpu]: {processes(resources)} is too many with spec.compression, expected at most 1:"
        " one process measures; train with more in a job of its own and name that as spec.compression.parent",
    )


def pin_parent(case: Case) -> Plan | None:
    """What is compressed is written down when it is found, with its digest, and only then is a place asked for."""
    found = find_parent(case.observed)
    if case.status.parent is not None or not isinstance(found, ParentModel):
        return None
    case.draft.set(parent=found)
    return case.plan(again=0.0)
