"""What the pods of a job with spec.compression are given: the parent's model, mounted read-only, and what to make of it."""

from typing import Any, Final

from trainyard.api.training_job import TrainingJob
from trainyard.workloads.plan import Object

PARENT: Final = "/trainyard/parent"
_VOLUME: Final = "trainyard-parent"


def parent_mount(job: TrainingJob, claim: str | None, volume: str) -> list[Object]:
    """Where the parent's claim appears. claim, volume: the job's own claim and its volume, of which the parent's may be a second view.

    Of one claim there is one volume: some drivers wait for ever where a pod mounts a claim twice.
    """
    parent = job.status.parent
    if parent is None:
        return []
    name = volume if parent.claim_name == claim else _VOLUME
    return [{"name": name, "mountPath": PARENT, "readOnly": True}]


def parent_volume(job: TrainingJob, claim: str | None) -> list[Object]:
    """The volume for it, unless the job has its claim mounted already."""
    parent = job.status.parent
    if parent is None or parent.claim_name == claim:
        return []
    return [{"name": _VOLUME, "persistentVolumeClaim": {"claimName": parent.claim_name, "readOnly": True}}]


def compression_recipe(job: TrainingJob) -> dict[str, Any] | None:
    """Part of what the built-in program is to do; the parent as the pod sees it, with the digest that was written down."""
    asked, parent = job.spec.compression, job.status.parent
    if asked is None:
        return None
    recipe = asked.model_dump(by_alias=True, exclude_none=True, mode="json", exclude={"parent"})
    if parent is None:
        return recipe
    digest = {"digest": parent.digest} if parent.digest else {}
    return recipe | {"parent": {"path": f"{PARENT}/{parent.path}", **digest}}
