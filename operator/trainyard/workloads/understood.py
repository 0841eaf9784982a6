"""Objects of ours as the API server has them, read into models. What another version left in a status costs no more than the fields it is in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from trainyard.api.flavor import Flavor
from trainyard.api.inference_service import InferenceService, InferenceServiceStatus
from trainyard.api.meta import Pool, problems
from trainyard.api.queue import Queue
from trainyard.api.training_job import TrainingJob, TrainingJobStatus

Ours = TrainingJob | InferenceService | Queue | Flavor
KINDS: Mapping[str, type[Ours]] = {
    "TrainingJob": TrainingJob,
    "InferenceService": InferenceService,
    "Queue": Queue,
    "Flavor": Flavor,
}
_WORKLOADS = ("TrainingJob", "InferenceService")
_TOLD = frozenset({"ledger", "incidents", "stragglers", "eta", "remedies", "tensorboard"})
"""Fields of their status that are told, and on which no pod depends."""
_LASTS = frozenset({"attempt", "parent", "restored"})
"""What no pod tells anew: a claim obeys its newest attempt alone, and who a job was before a restore leads to its folder there."""
_ENDED = ("Complete", "Failed")
_END = frozenset({"conditions", "result"})
"""What says how a job ended: without it the job would run once more."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What of a status cannot be read."""

    fields: tuple[str, ...]
    """Of the status itself, in whose depths something is wrong."""
    why: str


@dataclass(frozen=True, slots=True)
class Understood:
    """An object, without what cannot be read of its status."""

    thing: Ours
    damage: Damage | None = None


def understand(kind: str, obj: Mapping[str, Any], pool: Pool | None = None) -> Understood:
    """pool: where equal parts are kept once. Raises ValidationError for an object whose spec cannot be read, or how it ended: what is not known of that is not guessed."""
    model = KINDS[kind]
    try:
        return Understood(model.model_validate(obj, context=pool))
    except ValidationError as error:
        places = [tuple(map(str, each["loc"])) for each in error.errors()]
        wrong = frozenset(place[1] for place in places if place[0] == "status" and len(place) > 1)
        fields = _taken_out(kind, obj.get("status") or {}, wrong)
        if not fields:
            raise
        rest = {name: value for name, value in obj["status"].items() if name not in fields}
        return Understood(
            model.model_validate({**obj, "status": rest}, context=pool), Damage(tuple(sorted(fields)), problems(error))
        )


def says_nothing(status: TrainingJobStatus | InferenceServiceStatus) -> bool:
    """Somebody emptied it, or it is what was left of one that could not be read: then the pods say where they are."""
    plain = type(status)()
    lasts = {name: getattr(plain, name) for name in _LASTS & type(status).model_fields.keys()}
    return status.model_copy(update=lasts) == plain


def _taken_out(kind: str, status: Mapping[str, Any], wrong: frozenset[str]) -> frozenset[str]:
    """What of the status is made anew; nothing if that would be to guess."""
    if kind not in _WORKLOADS or wrong <= _TOLD:
        return wrong
    if _says_it_ended(status):
        return wrong if not wrong & _END else frozenset()
    # Only of a status that says nothing of its own the place is read back from the pods, which nobody stops.
    return (frozenset(status) - _LASTS) | wrong


def _says_it_ended(status: Mapping[str, Any]) -> bool:
    """In its phase or in a condition: one of the two may be what cannot be read."""
    conditions = status.get("conditions")
    said = [each for each in conditions if isinstance(each, dict)] if isinstance(conditions, list) else []
    return status.get("phase") in _ENDED or any(
        each.get("type") in _ENDED and each.get("status") == "True" for each in said
    )
