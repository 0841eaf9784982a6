"""kopf only watches: event handlers, no finalizer, nothing written, no peering."""

from typing import Any

import kopf
import pytest
from kopf._cogs.structs.bodies import RawBody

from trainyard.app import OURS
from trainyard.handlers.kinds import register
from trainyard.handlers.settings import NoDiffBase, NoMemories, NoProgress, settings


def registry_of(taken: list[Any]) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    register(registry, {each.plural: lambda *event: taken.append(event) for each in OURS.values()})
    return registry


def test_there_is_one_event_handler_for_each_kind_and_nothing_else() -> None:
    registry = registry_of([])
    assert len(registry._watching._handlers) == len(OURS)
    assert not registry._changing._handlers
    assert not registry._spawning._handlers
    assert not registry._indexing._handlers
    assert not registry._webhooks._handlers


async def test_an_event_reaches_its_taker_as_a_copy_without_its_bookkeeping() -> None:
    taken: list[Any] = []
    handler: Any = registry_of(taken)._watching._handlers[0]
    obj: dict[str, Any] = {"metadata": {"name": "a", "managedFields": [{"manager": "kubectl"}]}}
    await handler.fn(event={"type": "ADDED", "object": obj})
    kind, seen = taken[0]
    assert (kind, seen) == ("ADDED", {"metadata": {"name": "a"}})
    seen["metadata"]["name"] = "b"
    assert obj["metadata"] == {"name": "a", "managedFields": [{"manager": "kubectl"}]}


async def test_kopf_remembers_no_object() -> None:
    memories, body = NoMemories(), RawBody(metadata={"name": "a", "uid": "u"})
    await memories.recall(body)
    assert list(memories.iter_all_memories()) == []


@pytest.mark.fault(31)
def test_the_settings_write_nothing() -> None:
    chosen = settings()
    assert chosen.peering.standalone
    assert chosen.scanning.disabled
    assert not chosen.posting.enabled
    assert chosen.networking.request_timeout
    base: Any = chosen.persistence.diffbase_storage
    progress: Any = chosen.persistence.progress_storage
    assert isinstance(chosen.persistence.diffbase_storage, NoDiffBase)
    assert isinstance(chosen.persistence.progress_storage, NoProgress)
    assert base.build(body={}) == {}
    assert base.fetch(body={}) is None
    assert base.store(body={}) is None
    assert progress.fetch(key="k") is None
    assert (progress.store(), progress.purge(), progress.touch()) == (None, None, None)
    assert progress.clear(essence={"a": 1}) == {"a": 1}
