"""What a restore will do, given the backup and what there is: decided before the first write. Pure."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from trainyard.api.flavor import Flavor
from trainyard.api.inference_service import InferenceService
from trainyard.api.names import RESTORING
from trainyard.api.queue import Queue, QueueStatus
from trainyard.api.training_job import TrainingJob
from trainyard.cli.backup import needs
from trainyard.cli.backup.document import Backup, Saved
from trainyard.cluster.resources import Object
from trainyard.inference.restoring import come_back as service_comes_back
from trainyard.training.restoring import come_back as job_comes_back
from trainyard.training.workload import finished
from trainyard.workloads.understood import KINDS

Key = tuple[str, str, str]
How = Literal["create", "go on", "replace"]
"""go on: a restore of the same backup that was broken off has created it."""
_ANEW = "a job of that name and spec was created anew, by GitOps perhaps, and does not know its checkpoints: delete it first"
Wave = Literal["at once", "held a place", "waits"]


@dataclass(frozen=True, slots=True)
class There:
    """What the cluster has."""

    objects: Mapping[Key, Object] = field(default_factory=dict)
    namespaces: Collection[str] = ()
    claims: Collection[needs.Claim] = ()
    memory: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One object to be restored."""

    saved: Saved
    how: How
    found: Object = field(default_factory=dict)
    """The one that is there already."""

    @property
    def wave(self) -> Wave:
        """When it may go on: what neither has nor wants a place at once, then who had one, then who waits."""
        thing = self.saved.thing
        if isinstance(thing, TrainingJob) and not finished(thing):
            return "waits" if thing.status.admission is None else "held a place"
        if isinstance(thing, InferenceService):
            return "held a place" if thing.status.admission else "waits"
        return "at once"

    @property
    def turn(self) -> tuple[int, datetime]:
        """Who comes first: higher priority, then age."""
        thing = self.saved.thing
        if not isinstance(thing, TrainingJob | InferenceService):
            return 0, datetime.fromtimestamp(0, UTC)
        return -thing.spec.priority, thing.since() or datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that is there and stays as it is."""

    saved: Saved
    why: str


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """All that will be done, and what stands in the way."""

    backup: Backup
    steps: tuple[Step, ...] = ()
    same: tuple[Saved, ...] = ()
    """There already, just so."""
    kept: tuple[Kept, ...] = ()
    memory: tuple[str, ...] = ()
    """ConfigMaps that are written: the backup knows more than the cluster."""
    missing_namespaces: tuple[str, ...] = ()
    missing_claims: Mapping[needs.Claim, tuple[Saved, ...]] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    def of_kind(self, *kinds: str) -> list[Step]:
        return [each for each in self.steps if each.saved.kind in kinds]


def plan(backup: Backup, there: There, *, overwrite: bool = False) -> RestorePlan:
    """overwrite: what is there and differs is replaced, where it can be."""
    decided = [_decide(each, there.objects.get(each.key), backup.digest, overwrite) for each in backup.saved]
    steps = tuple(each for each in decided if isinstance(each, Step))
    wanted: dict[needs.Claim, list[Saved]] = {}
    for step in steps:
        for claim in needs.claims(step.saved):
            if claim not in there.claims:
                wanted.setdefault(claim, []).append(step.saved)
    spaces = {each.saved.thing.metadata.namespace for each in steps} - {"", *there.namespaces}
    return RestorePlan(
        backup,
        steps,
        tuple(each for each in decided if isinstance(each, Saved)),
        tuple(each for each in decided if isinstance(each, Kept)),
        tuple(
            name for name, kept in backup.memory.items() if _is_news(kept, there.memory.get(name), overwrite=overwrite)
        ),
        tuple(sorted(spaces)),
        {claim: tuple(whose) for claim, whose in sorted(wanted.items())},
        tuple(sorted({name for step in steps for name in needs.secrets(step.saved)})),
    )


def _decide(saved: Saved, found: Object | None, digest: str, overwrite: bool) -> Step | Saved | Kept:
    if found is None:
        return Step(saved, "create")
    meta = found["metadata"]
    if "deletionTimestamp" in meta:
        return Kept(saved, "one of that name is being deleted: restore once more when it is gone")
    mark = meta.get("annotations", {}).get(RESTORING)
    if mark is not None:
        if mark == digest:
            return Step(saved, "go on", found)
        return Kept(saved, "another backup is being restored into it: finish that first, or delete it")
    if same_spec(saved.raw, found):
        return saved if _is_same(saved, found) else Kept(saved, _ANEW)
    if not overwrite:
        return Kept(saved, "another spec is there; --overwrite replaces it")
    if isinstance(saved.thing, TrainingJob):
        return Kept(saved, "another job of that name is there, whose spec cannot be changed: delete it first")
    return Step(saved, "replace", found)


def _is_same(saved: Saved, found: Object) -> bool:
    """A job goes on from checkpoints in a folder that its first uid names; what else is of the same spec is the same."""
    if not isinstance(saved.thing, TrainingJob):
        return True
    restored = found.get("status", {}).get("restored") or {}
    return saved.thing.first_uid() in (found["metadata"].get("uid"), restored.get("uid"))


def same_spec(one: Object, other: Object) -> bool:
    """Whether both ask for the same, whatever of it is written out and whatever is by default."""
    model = KINDS[one["kind"]]
    return _spec(model, one) == _spec(model, other)


def _spec(model: type[Any], obj: Object) -> object:
    return model.model_validate(obj).spec


def _is_news(saved: str, there: str | None, *, overwrite: bool) -> bool:
    """Whether the backup knows of later jobs, or incidents, than the cluster."""
    if saved == there:
        return False
    return overwrite or there is None or _newest(saved) > _newest(there)


def _newest(kept: str) -> str:
    """When the last job ended that was learned from, or the last incident; empty if none did."""
    try:
        found = json.loads(kept)
        return max([str(found.get("newest") or ""), *(str(each["endedAt"]) for each in found.get("incidents", ()))])
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def body(step: Step, digest: str) -> Object:
    """What is created: marked, so that nothing is done with it before its status is there."""
    saved = step.saved.raw
    metadata = {name: saved["metadata"][name] for name in ("name", "namespace", "labels") if name in saved["metadata"]}
    notes = dict(saved["metadata"].get("annotations", {}))
    notes.pop(RESTORING, None)
    if has_past(step.saved):
        notes[RESTORING] = digest
    metadata |= {"annotations": notes} if notes else {}
    return {"apiVersion": saved["apiVersion"], "kind": saved["kind"], "metadata": metadata, "spec": saved["spec"]}


def patch_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object:
    """The merge patch that makes one of the other: what the new one lacks is taken away."""
    gone: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            gone[key] = patch_between(before, value)
        elif before != value:
            gone[key] = value
    return gone


def has_past(saved: Saved) -> bool:
    """Whether it comes back with a status of its own. Of a flavor, and of a queue without accounts, all is found anew."""
    thing = saved.thing
    if isinstance(thing, Queue):
        return thing.status.budget is not None or thing.status.recent_share is not None
    return not isinstance(thing, Flavor)


def status_of(saved: Saved, taken: datetime, now: datetime) -> Object:
    """The status with which it comes back, of one that has a past."""
    match saved.thing:
        case TrainingJob() as job:
            return _dump(job_comes_back(job, taken))
        case InferenceService() as service:
            return _dump(service_comes_back(service, taken, now))
        case Queue() as queue:
            past = QueueStatus(budget=queue.status.budget, recent_share=queue.status.recent_share)
            return past.model_dump(by_alias=True, mode="json", include={"budget", "recent_share"}, exclude_none=True)
        case Flavor():
            return {}


def _dump(status: Any) -> Object:
    found: Object = status.model_dump(by_alias=True, mode="json")
    return found


def in_turn(steps: Iterable[Step], wave: Wave) -> list[Step]:
    """Those of a wave, in the order in which they go on."""
    return sorted((each for each in steps if each.wave == wave), key=lambda each: each.turn)
