"""Places of jobs and services on record: what changed of them, read off their statuses as the API server has them.

So a write whose answer was lost is on record too, and what another hand wrote. One that cannot be read has its place still: when it can
be read again, or is gone, one sees what became of it.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from trainyard.api.inference_service import InferenceService
from trainyard.api.training_job import TrainingJob
from trainyard.runtime.audit_chain import Entry
from trainyard.workloads.audited import TELLS, decided
from trainyard.workloads.keys import Key
from trainyard.workloads.world import World

OWNERS = ("TrainingJob", "InferenceService")
Owner: TypeAlias = TrainingJob | InferenceService


class PlacesOnRecord:
    """Of all jobs and services. Ask it before the world hears of a change, and tell it afterwards."""

    def __init__(self, world: World, record: Callable[[Entry], None]) -> None:
        self._world, self._record = world, record
        self._unread: dict[Key, Owner] = {}
        """Those that cannot be read now, as they were before."""

    def before(self, kind: str, obj: Mapping[str, Any] | None) -> Owner | None:
        """A job or service as it was when it could last be read."""
        if kind not in OWNERS or obj is None:
            return None
        return self._unread.pop(_key(kind, obj), None) or self._now(kind, obj)

    def after(self, was: Owner, kind: str, obj: Mapping[str, Any] | None) -> None:
        """Put on record what changed of its place, whether or not the write that changed it was answered."""
        key, now = Key(was.kind, was.metadata.namespace, was.metadata.name), self._now(kind, obj)
        if key in self._world.unreadable:
            self._unread[key] = was
            return
        if now is not None and all(
            getattr(was.status, each, None) == getattr(now.status, each, None) for each in TELLS
        ):
            return  # mostly it is progress or a count that changed
        for entry in decided(key, _of_place(was), None if now is None else _of_place(now)):
            self._record(entry)

    def _now(self, kind: str, obj: Mapping[str, Any] | None) -> Owner | None:
        """As the world knows it; None for one that is gone."""
        thing = self._world.get(_key(kind, obj)) if obj is not None else None
        assert thing is None or isinstance(thing, TrainingJob | InferenceService)
        return thing


def _key(kind: str, obj: Mapping[str, Any]) -> Key:
    return Key(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def _of_place(thing: Owner) -> dict[str, Any]:
    """What of a status belongs on record when it changes."""
    return thing.status.model_dump(by_alias=True, mode="json", include=TELLS)
