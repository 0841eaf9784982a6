"""What a yard needs and a backup does not hold: claims with data and checkpoints, Secrets by name, namespaces. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainyard.api.inference_service import InferenceService
from trainyard.api.training_job import TrainingJob
from trainyard.cli.backup.document import Saved
from trainyard.training.pods import claim_name
from trainyard.training.workload import finished

_REFERENCES = ("secretKeyRef", "secretRef")


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """A PersistentVolumeClaim that somebody stores on, or reads."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def claims(saved: Saved) -> Iterator[Claim]:
    """Those without which it would wait, or begin anew. A job that is over needs none."""
    thing = saved.thing
    if isinstance(thing, TrainingJob) and not finished(thing):
        storage, begun = thing.spec.storage, thing.status.checkpoint is not None or thing.status.start_time is not None
        # Of a job that has not begun, the claim is made of the template when it starts.
        if storage is not None and (storage.claim_name or begun):
            yield Claim(thing.metadata.namespace, str(claim_name(thing)))
        if thing.status.parent is not None:
            yield Claim(thing.metadata.namespace, thing.status.parent.claim_name)
    if isinstance(thing, InferenceService):
        for name in {thing.spec.model.claim_name, thing.status.model.claim_name if thing.status.model else None}:
            if name:
                yield Claim(thing.metadata.namespace, name)


def secrets(saved: Saved) -> set[str]:
    """Namespace/name of each Secret that its spec names."""
    namespace = saved.thing.metadata.namespace
    return {f"{namespace}/{name}" for name in _named(saved.raw.get("spec", {}))} if namespace else set()


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _named(each)
    if not isinstance(value, Mapping):
        return
    for key, each in value.items():
        if key in _REFERENCES and isinstance(each, Mapping):
            yield str(each.get("name", ""))
        elif key == "imagePullSecrets" and isinstance(each, list):
            yield from (str(one.get("name", "")) for one in each)
        elif isinstance(each, str) and (key == "secretName" or key.endswith("Secret")):
            yield each
        else:
            yield from _named(each)
