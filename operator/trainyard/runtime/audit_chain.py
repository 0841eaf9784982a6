"""Records of which each carries the hash of the one before: what was changed, taken out or put in between is found. Pure.

Whoever may write a file may also write all of it anew, so the newest hash belongs elsewhere too: the log stream, where every
record stands as well, is shipped as it is written. `audit_log` writes the records.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

BEGAN, ENDED, MISSED = "Began", "Ended", "Missed"
"""Actions that matter to the chain itself: a process begins and ends it, and a file has missed a part of it."""
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


@dataclass(frozen=True, slots=True)
class Line:
    """A record as it stands in a file."""

    link: Link
    text: bytes


@dataclass(frozen=True, slots=True)
class Missed:
    """Records, one after the other, that a file did not take: they are in the log alone."""

    first: Link
    last: Link

    @property
    def records(self) -> int:
        return self.last.serial - self.first.serial + 1

    def declared(self, after: Link) -> tuple[Entry, str]:
        """What to put on record right after the last of them, and why. after: the record that the file ends in."""
        facts = {"records": self.records, "first": self.first.hash, "last": self.last.hash, "after": after.hash}
        gap = f"{self.records} record{'' if self.records == 1 else 's'} are in the log only, from {self.first.hash} to {self.last.hash}"
        return Entry(MISSED, "audit file", facts), gap


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
    record, _ = _read(line)
    return None if record is None else (Link(record["serial"], record["hash"]), record["action"])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of looking at lines. Lines are counted from 1."""

    records: int = 0
    head: Link = Link()
    gaps: tuple[tuple[int, str], ...] = ()
    """Places at which a record itself says that others lack, or may lack, before it."""
    broken: tuple[int, str] | None = None
    """The first line that is not as it was written."""


def verify(lines: Iterable[bytes]) -> Verdict:
    """Check a chain: lines of an audit file, or of a log stream that holds other lines too. The first record is taken as it stands."""
    found = Verdict()
    torn: list[tuple[int, bytes]] = []
    """Lines before this one that are no whole record, with their numbers."""
    logged: set[str] = set()
    """Hashes of the records of a log stream."""
    for number, line in enumerate(lines, 1):
        record, of_log = _read(line)
        if record is None:
            if not of_log and line.strip():
                torn.append((number, line.rstrip(b"\r\n")))
            continue
        why = _wrong(found, record, logged if of_log else None)
        if not (why or record["gap"] or all(line.startswith(part) for _, part in torn)):
            why = "it is no whole record"
        if why:
            return replace(found, broken=(torn[0][0] if torn else number, why))
        lacks = record["gap"] and not (record["action"] == MISSED and _follows(found.head, record))
        gaps = (*found.gaps, (number, record["gap"])) if lacks else found.gaps
        found = Verdict(found.records + 1, Link(record["serial"], record["hash"]), gaps)
        torn.clear()
        if of_log:
            logged.add(record["hash"])
    return replace(found, broken=(torn[0][0], "it is no whole record")) if torn else found


def _wrong(before: Verdict, record: Mapping[str, Any], logged: Collection[str] | None) -> str:
    """Why a record cannot follow; empty if it can. logged: hashes of the records of the log stream that it stands in."""
    if record["hash"] != _hash(record):
        return "its content is not what was written"
    if not before.records or _follows(before.head, record):
        return ""
    if record["action"] == MISSED:
        return "" if _declares(before.head, record) else f"the file did not end in record {before.head.serial} then"
    if not record["gap"]:
        if record["previous"] == before.head.hash:
            return f"its serial is not {before.head.serial + 1}"
        return f"it does not follow record {before.head.serial}: lines before it were changed, taken out or put in"
    begins = not record["previous"] and record["serial"] == 1
    # A process that crashed has logged more than its file took, and the next one goes on where the file ends.
    goes_on = logged is not None and record["previous"] in logged
    if begins or goes_on:
        return ""
    return f"it was written when another record than {before.head.serial} was the last: lines before it were changed, taken out or put in"


def _follows(head: Link, record: Mapping[str, Any]) -> bool:
    return (record["previous"], record["serial"]) == (head.hash, head.serial + 1)


def _declares(end: Link, record: Mapping[str, Any]) -> bool:
    """Whether a record says of exactly those that lack between it and the end of the file that they do."""
    facts = record["facts"] if isinstance(record["facts"], dict) else {}
    count = facts.get("records")
    return (
        (facts.get("after"), facts.get("last")) == (end.hash, record["previous"])
        and isinstance(count, int)
        and record["serial"] - 1 - count in (end.serial, 0)  # of a chain that goes on, or of one that began meanwhile
    )


def _hash(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(encoded({name: value for name, value in record.items() if name != "hash"})).hexdigest()


def _read(line: bytes) -> tuple[dict[str, Any] | None, bool]:
    """The record in a line, if there is one, and whether it is a line of the operator's log, which has the record as `audit`."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None, False
    of_log = isinstance(found, dict) and "logger" in found
    if of_log:
        if "audit" not in found:
            return None, True
        found = found["audit"]
    if not isinstance(found, dict) or found.keys() != _FIELDS:
        return None, False
    texts = all(isinstance(found[name], str) for name in _FIELDS - {"serial", "facts"})
    return (found, of_log) if texts and type(found["serial"]) is int else (None, False)
