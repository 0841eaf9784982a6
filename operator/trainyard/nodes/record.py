"""The record of a node as its annotation holds it: JSON that people can read, too. What cannot be understood counts as no record."""

import json
from datetime import datetime
from typing import Any

from trainyard.api.node_health import NodeState, Remedy
from trainyard.nodes.states import Record
from trainyard.nodes.times import parse, written


def read(text: str) -> Record:
    """Of an annotation."""
    try:
        found = json.loads(text) if text else {}
        return Record(
            state=NodeState(found.get("state", NodeState.HEALTHY)),
            since=parse(found.get("since")),
            event=str(found.get("event", "")),
            words=str(found.get("why", "")),
            remedy=Remedy(found.get("remedy", Remedy.NONE)),
            cordoned=found.get("cordoned") is True,
            boot=str(found.get("boot", "")),
            quiet_since=parse(found.get("quietSince")),
            settled=tuple(str(each) for each in found.get("settled", ())),
            repaired=parse(found.get("repaired")),
        )
    except (ValueError, TypeError, AttributeError):
        return Record()


def write(record: Record) -> str | None:
    """None for one that says nothing: the annotation goes."""
    if record.state is NodeState.HEALTHY and not record.settled and record.repaired is None:
        return None
    found: dict[str, Any] = {
        "state": record.state.value,
        "since": _time(record.since),
        "why": record.words,
        "remedy": record.remedy.value if record.remedy is not Remedy.NONE else None,
        "event": record.event,
        "cordoned": record.cordoned or None,
        "boot": record.boot,
        "quietSince": _time(record.quiet_since),
        "settled": list(record.settled),
        "repaired": _time(record.repaired),
    }
    return json.dumps({key: value for key, value in found.items() if value}, separators=(",", ":"))


def _time(time: datetime | None) -> str | None:
    return written(time) if time is not None else None
