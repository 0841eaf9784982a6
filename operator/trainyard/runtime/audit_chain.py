"""Records of which each carries the hash of the one before: what was changed, taken out or put in between is found. Pure.

Whoever may write a file may also write all of it anew, so the newest hash belongs elsewhere too: the log stream, where every
record stands as well, is shipped as it is written. `audit_log` writes the records.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

_FIELDS = frozenset({"serial", "time", "who", "action", "object", "facts", "gap", "previous", "hash"})


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that is to be on record: what was done, to whom, and what matters of it. Nothing of it is a secret."""

    action: str
    about: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """The newest record of a chain; the default is that of one which has none."""

    serial: int = 0
    hash: str = ""


def linked(before: Link, entry: Entry, who: str, time: datetime, gap: str = "") -> tuple[Link, dict[str, Any]]:
    """The record that follows `before`. gap: why records may lack before this one."""
    body: dict[str, Any] = {
        "serial": before.serial + 1,
        "time": time.isoformat(timespec="milliseconds"),
        "who": who,
        "action": entry.action,
        "object": entry.about,
        "facts": dict(entry.facts),
        "gap": gap,
        "previous": before.hash,
    }
    body["hash"] = _hash(body)
    return Link(body["serial"], body["hash"]), body


def encoded(record: Mapping[str, Any]) -> bytes:
    """One line, without its end."""
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)


def link_of(line: bytes) -> tuple[Link, str] | None:
    """The link that a line ends in, and its action; None if it is no record."""
    record = _record(line)
    return None if record is None else (Link(record["serial"], record["hash"]), record["action"])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of looking at lines. Lines are counted from 1."""

    records: int = 0
    head: Link = Link()
    gaps: tuple[tuple[int, str], ...] = ()
    """Places at which a record itself says that others may lack before it."""
    broken: tuple[int, str] | None = None
    """The first line that is not as it was written."""


def verify(lines: Iterable[bytes]) -> Verdict:
    """Check a chain: lines of an audit file, or of a log stream that holds other lines too. The first record is taken as it stands."""
    found, torn = Verdict(), 0
    for number, line in enumerate(lines, 1):
        record = _record(line)
        if record is None:
            torn = torn or (0 if _of_a_log(line) else number)
            continue
        why = _wrong(found, record, torn=bool(torn))
        if why:
            return replace(found, broken=(torn or number, why))
        gaps = (*found.gaps, (number, record["gap"])) if record["gap"] else found.gaps
        found, torn = Verdict(found.records + 1, Link(record["serial"], record["hash"]), gaps), 0
    return replace(found, broken=(torn, "it is no whole record")) if torn else found


def _wrong(before: Verdict, record: Mapping[str, Any], *, torn: bool) -> str:
    """Why a record cannot follow; empty if it can."""
    if record["hash"] != _hash(record):
        return "its content is not what was written"
    if record["gap"] or not (before.records or torn):
        return ""
    if torn:
        return "it is no whole record"
    if record["previous"] != before.head.hash:
        return f"it does not follow record {before.head.serial}: lines before it were changed, taken out or put in"
    return "" if record["serial"] == before.head.serial + 1 else f"its serial is not {before.head.serial + 1}"


def _hash(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(encoded({name: value for name, value in record.items() if name != "hash"})).hexdigest()


def _record(line: bytes) -> dict[str, Any] | None:
    """The record in a line: the line itself, or what a line of the operator's log has as `audit`."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if isinstance(found, dict) and "logger" in found:
        found = found.get("audit")
    if not isinstance(found, dict) or found.keys() != _FIELDS:
        return None
    texts = all(isinstance(found[name], str) for name in _FIELDS - {"serial", "facts"})
    return found if texts and type(found["serial"]) is int else None


def _of_a_log(line: bytes) -> bool:
    """Whether it is another line of a log stream, or empty."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return not line.strip()
    return isinstance(found, dict) and "logger" in found and "audit" not in found
