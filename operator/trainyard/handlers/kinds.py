"""One event handler for each of our kinds. It only takes note: reconciles run from the work queue."""

from collections.abc import Callable, Mapping
from typing import Any

import kopf

from trainyard.api.names import GROUP, VERSION

Take = Callable[[str | None, dict[str, Any]], object]
"""Event type, object -> whether it was news."""


def register(registry: kopf.OperatorRegistry, takers: Mapping[str, Take]) -> None:
    """Feed each plural's events to its taker."""
    for plural, take in takers.items():
        kopf.on.event(GROUP, VERSION, plural, registry=registry, id=f"note-{plural}")(_handler(take))


def _handler(take: Take) -> Any:
    async def note(event: Mapping[str, Any], **_: Any) -> None:
        obj = event["object"]
        # kopf keeps the object for itself; the cache takes bookkeeping out of its metadata.
        take(event["type"], {**obj, "metadata": dict(obj["metadata"])})

    return note
