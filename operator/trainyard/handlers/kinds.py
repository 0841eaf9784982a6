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
        # kopf keeps the object for itself. Bookkeeping is most of it, and stays behind: ours may have to wait until it is looked at.
        metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
        take(event["type"], {**obj, "metadata": metadata})

    return note
