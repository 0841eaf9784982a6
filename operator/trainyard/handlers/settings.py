"""Settings under which kopf watches and writes nothing: no peering, no progress, no last-seen annotations."""

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import kopf
from kopf._core.reactor.inventory import ResourceMemories

from trainyard.api.names import GROUP


class NoDiffBase(kopf.DiffBaseStorage):
    """Remembers no last-handled configuration: we compare with the cluster, not with the past."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers: there is none, an event is only noted."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


class NoMemories(ResourceMemories):
    """Remembers no object for handlers, timers and indexes, of which there are none: that is a kilobyte for each."""

    async def recall(self, *arguments: Any, **options: Any) -> Any:
        return await super().recall(*arguments, **{**options, "ephemeral": True})


class Patience:
    """Seconds between tries of one request, without end: when they end, kopf gives that watch up for good and nobody hears of it."""

    def __iter__(self) -> Iterator[float]:
        return chain((1, 1, 2, 3, 5, 8, 13, 21), repeat(30))


def settings() -> kopf.OperatorSettings:
    """What kopf runs with."""
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.persistence.finalizer = f"{GROUP}/kopf"
    chosen.persistence.diffbase_storage = NoDiffBase()
    chosen.persistence.progress_storage = NoProgress()
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 5
    chosen.networking.error_backoffs = Patience()
    chosen.watching.chunk_size = 200
    # A task for each object that changed lives so long after its last event, with that event in it.
    chosen.queueing.idle_timeout = 0.5
    return chosen
