"""A span as a value, and W3C's header `traceparent`, which names a trace and the span that a request comes from. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

TRACEPARENT = "traceparent"
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_FAILED = 400


@dataclass(frozen=True, slots=True)
class Ids:
    """Of a span: 128 bits of its trace, 64 of its own. Neither is zero."""

    trace: int
    span: int


@dataclass(frozen=True, slots=True)
class Parent:
    """The span that a request comes from, and whether its trace is kept."""

    ids: Ids
    sampled: bool


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time. Times in nanoseconds since 1970; parent: the span's of the same trace; error: "" is none."""

    name: str
    ids: Ids
    began_ns: int
    ended_ns: int
    parent: int | None = None
    of_request: bool = False
    """Whether it is a request as the process that answers it sees it, rather than a part of that."""
    attributes: Mapping[str, str | int | bool] = field(default_factory=dict)
    links: tuple[Ids, ...] = ()
    error: str = ""


def parse_traceparent(header: str | None) -> Parent | None:
    """The parent that the header names; None where it is missing or malformed, which W3C wants treated alike."""
    found = _FORM.fullmatch(header.strip()) if header else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    ids = Ids(int(trace, 16), int(span, 16))
    if not ids.trace or not ids.span or (version == "00" and more):
        return None
    return Parent(ids, bool(int(flags, 16) & 1))


def is_sampled(parent: Parent | None, ratio: float, random: Random) -> bool:
    """Whether a request is traced: as its parent is, else this part of them."""
    return parent.sampled if parent is not None else random.random() < ratio


def new_span(random: Random, trace: int | None = None) -> Ids:
    """Ids of a span in this trace, or in a new one."""
    return Ids(trace or random.randrange(1, 1 << 128), random.randrange(1, 1 << 64))


def error_of(status: int) -> str:
    """What is wrong with an answer: refusals count as well as failures, unlike elsewhere, since refused work is what one looks for."""
    return str(status) if status >= _FAILED else ""
