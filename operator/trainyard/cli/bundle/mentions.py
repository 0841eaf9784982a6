"""Names of objects that events and the operator's log tell of: those of objects that are gone stand nowhere else. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from trainyard.cluster.resources import Object

Named = tuple[str, str]
"""Kind and name."""


def in_events(events: Iterable[Object], system: str) -> Iterator[Named]:
    """system: namespace of the operator, whose own objects have names that nobody hides."""
    for each in events:
        about = each.get("involvedObject") or {}
        yield from _object(about, system)


def in_log(text: str, system: str) -> Iterator[Named]:
    """Of lines of JSON, each behind the time that the API server writes before it."""
    for line in text.splitlines():
        try:
            told = orjson.loads(line[line.index("{") :])
        except ValueError:
            continue
        for each in (told, told.get("audit")):
            if isinstance(each, dict):
                yield from _object(each.get("object"), system)
        if isinstance(incident := told.get("incident"), dict):
            yield from _incident(incident)


def _object(about: Any, system: str) -> Iterator[Named]:
    """As a reference, or in words: "Kind namespace/name"."""
    if isinstance(about, str):
        kind, _, place = about.partition(" ")
        namespace, _, name = place.rpartition("/")
    elif isinstance(about, dict):
        kind, namespace, name = (str(about.get(field) or "") for field in ("kind", "namespace", "name"))
    else:
        return
    if namespace and namespace != system:
        yield "Namespace", namespace
    if name and kind.isalpha() and " " not in name and namespace != system:
        yield kind, name


def _incident(incident: dict[str, Any]) -> Iterator[Named]:
    fields = {"Namespace": "namespace", "TrainingJob": "job", "Queue": "queue", "Node": "node"}
    return ((kind, str(incident[field])) for kind, field in fields.items() if incident.get(field))
